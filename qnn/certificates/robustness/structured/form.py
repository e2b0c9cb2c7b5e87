"""The dual's quadratic form of a network, layer by layer, and the proof of its bound.

The variables are the inputs and all neurons, ``x = m + r z`` with ``|z| <= 1``; y is no variable
but ``M x + b`` of the layer before. Of a neuron with ``l <= y <= u`` these hold, each with its
multiplier:

    x (y - x) = 0,   x - y >= 0 (= 0 where l >= 0),   x >= 0,   u (y - l) / (u - l) - x >= 0,

and ``1 - z^2 >= 0`` of all, ``1 - z'z >= 0`` of the inputs together where they are of a ball. The
margin minus multiples of these is ``c + g'z + z'Hz / 2``, where H has a diagonal and, between each
layer and the next, the pattern of M: it is never more than the network's weights. With multipliers
kappa and s, ``P = H + Diag(kappa) + s I`` (on the inputs), any vector q, and P semidefinite,
``(z + q)'P(z + q) >= 0``, so

    margin >= c - (sum(kappa) + s + q'Pq) / 2 - |g - Pq|_1,

which is best near ``q = P^-1 g``. All roundings of coefficients become one number, as in `forms`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from qnn.certificates.robustness.forms import middle_and_radius
from qnn.certificates.robustness.relu import Bounds, slope_above
from qnn.certificates.robustness.structured.bounds import Inputs, SparseLayer, lost
from qnn.certificates.robustness.structured.fronts import prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray


@dataclass(frozen=True)
class Multipliers:
    """Of ``1 - z^2`` (N,), of each neuron (h,) four kinds, of the ball; and q (N,)."""

    kappa: Array
    product: Array
    above: Array
    positive: Array
    triangle: Array
    ball: float
    q: Array


@dataclass(frozen=True)
class Form:
    """``c + g'z + z'(Diag(diagonal) + couplings) z / 2``, off by at most error in ``|z| <= 1``."""

    c: float
    g: Array
    diagonal: Array
    couplings: Any
    error: float


class Stack:
    """A network on its inputs with bounds of its neurons, margin ``w'x + constant`` of the last.

    m, r: of the inputs and each layer; slope, corner: the upper line of a neuron that may be
    either, ``slope (y - corner)``. ``at``: where each part begins among all N variables.
    """

    def __init__(
        self,
        layers: list[SparseLayer],
        bounds: list[Bounds],
        inputs: Inputs,
        w: Array,
        constant: float,
    ) -> None:
        self.layers, self.bounds, self.inputs = layers, bounds, inputs
        self.w, self.constant = w, constant
        ends = [(np.maximum(lo, 0.0), np.maximum(u, 0.0)) for lo, u in bounds]
        parts = [(inputs.m, inputs.r), *(middle_and_radius(*pair) for pair in ends)]
        self.m, self.r = [part[0] for part in parts], [part[1] for part in parts]
        self.at = np.cumsum([0, *(len(m) for m in self.m)])
        self.N, self.d = int(self.at[-1]), len(inputs.m)
        self.h = self.N - self.d
        self.on = [lo >= 0.0 for lo, _ in bounds]
        self.either = [(lo < 0.0) & (u > 0.0) for lo, u in bounds]
        self.slope = [slope_above(lo, u) for lo, u in bounds]
        self.corner = [np.where(k, lo, 0.0) for k, (lo, _) in zip(self.either, bounds, strict=True)]

    @property
    def count(self) -> int:
        """How many numbers a proof has."""
        return 2 * self.N + 4 * self.h + 1

    def read(self, numbers: Array) -> Multipliers:
        """Multipliers out of one array (count,); CertificateError where one has a wrong sign."""
        N, h = self.N, self.h
        kappa, product, above, positive, triangle, ball, q = np.split(
            numbers, np.cumsum([N, h, h, h, h, 1])
        )
        on, either = (np.concatenate([np.zeros(0, bool), *k]) for k in (self.on, self.either))
        signed = [kappa, above[~on], positive, triangle, ball]
        if not np.isfinite(numbers).all() or any(np.any(part < 0.0) for part in signed):
            raise CertificateError("a multiplier is negative or not finite")
        if np.any(triangle[~either] != 0.0) or (ball[0] != 0.0 and not self.inputs.ball):
            raise CertificateError("there is a multiplier of an inequality that does not hold")
        return Multipliers(kappa, product, above, positive, triangle, float(ball[0]), q)

    def write(self, multipliers: Multipliers) -> Array:
        """The one array of multipliers."""
        k = multipliers
        neurons = [k.product, k.above, k.positive, k.triangle]
        return np.concatenate([k.kappa, *neurons, [k.ball], k.q])

    def linear(self, k: Multipliers) -> tuple[float, Array]:
        """C and g (N,) of the form."""
        c = self.constant + float(self.w @ self.m[-1])
        g = [np.zeros(len(m)) for m in self.m]
        g[-1] += self.w * self.r[-1]
        for index, (M, b) in enumerate(self.layers):
            p, above, positive, t = self._of_layer(k, index)
            m, r, slope = self.m[index + 1], self.r[index + 1], self.slope[index]
            y0 = M @ self.m[index] + b
            c -= float(p @ (m * (y0 - m)) + above @ (m - y0) + positive @ m)
            c -= float(t @ (slope * (y0 - self.corner[index]) - m))
            g[index + 1] -= r * (p * (y0 - 2.0 * m) + above + positive - t)
            g[index] += self.r[index] * (M.T @ (above - p * m - t * slope))
        return c, np.concatenate(g)

    def diagonal(self, k: Multipliers) -> Array:
        """The diagonal of H (N,)."""
        r = np.concatenate([np.zeros(0), *self.r[1:]])
        return np.concatenate([np.zeros(self.d), 2.0 * k.product * r * r])

    def couplings(self, k: Multipliers) -> Any:
        """The rest of H, symmetric, in compressed rows."""
        rows, columns, values = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
        for index, (M, _) in enumerate(self.layers):
            p = self._of_layer(k, index)[0]
            entries = M.tocoo()
            i, j = entries.row, entries.col
            rows.append(i + self.at[index + 1])
            columns.append(j + self.at[index])
            values.append(-(p * self.r[index + 1])[i] * entries.data * self.r[index][j])
        i, j, v = np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
        pair = np.concatenate([v, v]), (np.concatenate([i, j]), np.concatenate([j, i]))
        return sparse.csr_array(pair, shape=(self.N, self.N))

    def form(self, k: Multipliers) -> Form:
        """The form with a bound of all its errors."""
        c, g = self.linear(k)
        return Form(c, g, self.diagonal(k), self.couplings(k), self._error(k))

    def _error(self, k: Multipliers) -> float:
        size = abs(self.constant) + float(np.abs(self.w) @ (np.abs(self.m[-1]) + self.r[-1]))
        small = 16.0 * (self.N + 2.0) * TINY * (1.0 + float(np.abs(self.w).max(initial=0.0)))
        for index, (M, b) in enumerate(self.layers):
            p, above, positive, t = map(np.abs, self._of_layer(k, index))
            before = np.abs(self.m[index]) + self.r[index]
            x, y = np.abs(self.m[index + 1]) + self.r[index + 1], abs(M) @ before + np.abs(b)
            line = self.slope[index] * (y + np.abs(self.corner[index])) + x
            size += float(p @ (x * (y + 2.0 * x)) + above @ (x + y) + positive @ x + t @ line)
            top = 1.0 + float(np.concatenate([p, above, positive, t, x]).max(initial=0.0))
            small += (1.0 + top) * (1.0 + top) * (lost(M, before) + 64.0 * (len(b) + 1.0) * TINY)
        return gamma(8 * self.N + 80) * size + small

    def _of_layer(self, k: Multipliers, index: int) -> tuple[Array, Array, Array, Array]:
        own = slice(self.at[index + 1] - self.d, self.at[index + 2] - self.d)
        return k.product[own], k.above[own], k.positive[own], k.triangle[own]

    def prove_at_least(
        self, bound: float, multipliers: Array, error: float = 0.0, margin: float = 1.0
    ) -> None:
        """Prove that the margin is at least ``bound``; ``error``: what w and constant are off.

        Raises CertificateError where it is not proven. ``margin`` multiplies the allowances.
        """
        k = self.read(multipliers)
        form = self.form(k)
        value = proven_value(form, k, self.d, margin)
        if not math.nextafter(value - margin * error, -math.inf) >= bound:
            raise CertificateError(f"its multipliers prove {float(value - error)!r} only")
        diagonal = form.diagonal + k.kappa
        diagonal[: self.d] += k.ball
        prove_semidefinite(diagonal, form.couplings, margin)


def proven_value(form: Form, k: Multipliers, inputs: int, margin: float = 1.0) -> float:
    """The bound that the multipliers give if their matrix P is semidefinite, rounded down."""
    diagonal = form.diagonal + k.kappa
    diagonal[:inputs] += k.ball
    size = np.abs(form.diagonal) + k.kappa
    size[:inputs] += k.ball
    q, n = np.abs(k.q), len(k.q)
    t, t_size = diagonal * k.q + form.couplings @ k.q, size * q + abs(form.couplings) @ q
    rest, square = _total(np.abs(form.g - t)), _total(k.q * t)
    spent = _total(k.kappa) + k.ball
    off = gamma(n + 20) * t_size + 4.0 * UNIT * (np.abs(form.g) + t_size)
    error = form.error + 4.0 * UNIT * float(size.sum()) + float(off @ (1.0 + q))
    error += 16.0 * UNIT * (abs(form.c) + spent + rest + float(q @ t_size))
    top = 1.0 + float(q.max(initial=0.0))
    error += 16.0 * (n + 2.0) ** 2 * TINY * top * top
    return form.c - 0.5 * (spent + square) - rest - margin * error * (1.0 + gamma(2 * n + 20))


def _total(values: Array) -> float:
    """The sum, rounded once; CertificateError where it overflows."""
    if not np.isfinite(np.abs(values).sum()):
        raise CertificateError("the dual's numbers overflow")
    return math.fsum(values.tolist())
