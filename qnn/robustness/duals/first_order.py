"""The dual of a large ReLU network by steps along eigenvectors, in memory linear in its neurons.

The bound of `qnn.certificates.robustness.structured` needs P semidefinite; with one more number,
kappa_0, ``Z = [kappa_0, g'; g, P]``, and any positive d,

    margin >= c - (kappa_0 + sum(kappa)) / 2 + sum(d) / 2 min(0, lambda_min(D^-1/2 Z D^-1/2)),

for Z may be shifted by multiples of D = Diag(d) at their price (R. Dathathri et al., Enabling
certification of verification-agnostic networks via memory-efficient semidefinite programming, 2020,
with D = I). The largest of these is looked for by Adam, with products of the layers alone. Three
things make the steps count:

- It begins at the multipliers of linear bounds (H. Zhang et al., CROWN, 2018), with the best lines
  that some gradient steps find, whose bound is the first one; with d their sizes the matrix is the
  identity but for its first row.
- Each multiplier is measured in what its neuron weighs in these linear bounds.
- Not one eigenvector is followed but the lowest few, kept from step to step (A. Knyazev, SIAM J.
  Sci. Comput. 23, 2001) and weighted as the smoothed minimum of their eigenvalues and 0 is
  (Y. Nesterov, Math. Program. 110, 2007).

What Lanczos-like methods say of the least eigenvalue is no proof: in the end P is shifted into the
cone, q solved for, and the checker's factorization decides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg, lobpcg

from qnn.certificates.robustness.structured.form import Multipliers, Stack, proven_value
from qnn.certificates.robustness.structured.fronts import prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.adam import Adam

Array = np.ndarray

STEPS = 500
_RATE, _VECTORS, _SMOOTHING, _SOLVES = 0.8, 6, 1e-2, 2
# Every so many steps the eigenvectors are followed so far that the value can be believed.
_LOOK, _FOLLOWED = 20, 40
# The lines alone are chosen first, by so many steps.
_LINE_STEPS, _LINE_RATE = 80, 0.1
# Of how many undecided neurons on the steps are shorter, and how much so after a failure.
# (a step that loses more than a part of kappa_0, of networks with many undecided neurons).
_MANY, _SHORTER, _LONGER, _LARGE, _WORSE = 150.0, 0.2, 1.3, 1_000, 0.25
# How far inside the cone P is moved in the end, in parts of D, tried in this order.
_INSIDE = (1e-3, 1e-2, 1e-1, 1.0)
# Who makes a certificate asks for more allowance than who checks it.
_MARGIN = 8.0


@dataclass(frozen=True)
class Ascended:
    """Multipliers in the checker's order, the bound that they give, the point they suggest."""

    multipliers: Array
    value: float
    z: Array
    steps: int


def linear_multipliers(stack: Stack) -> tuple[Multipliers, list[Array]]:
    """Those of linear bounds, and the weight |a| of each layer's neurons in them."""
    h, N = stack.h, stack.N
    above, positive, triangle = np.zeros(h), np.zeros(h), np.zeros(h)
    weights: list[Array] = []
    a = stack.w
    for index in range(len(stack.layers) - 1, -1, -1):
        own = slice(stack.at[index + 1] - stack.d, stack.at[index + 2] - stack.d)
        on, either, slope = stack.on[index], stack.either[index], stack.slope[index]
        lo, u = stack.bounds[index]
        weights.insert(0, np.abs(a))
        steep = np.where(u > -lo, 1.0, 0.0)
        rising = np.where(either & (a >= 0.0), a, 0.0)
        above[own] = np.where(on, a, rising * steep)
        positive[own] = rising * (1.0 - steep)
        triangle[own] = np.where(either & (a < 0.0), -a, 0.0)
        a = stack.layers[index][0].T @ (above[own] - triangle[own] * slope)
    zero = np.zeros(h)
    bare = Multipliers(np.zeros(N), zero, above, positive, triangle, 0.0, np.zeros(N))
    g = stack.linear(bare)[1]
    if not stack.inputs.ball:
        return replace(bare, kappa=np.abs(g)), weights
    kappa = np.concatenate([np.zeros(stack.d), np.abs(g[stack.d :])])
    return replace(bare, kappa=kappa, ball=float(np.linalg.norm(g[: stack.d]))), weights


def ascend(
    stack: Stack,
    target: float = np.inf,
    steps: int = STEPS,
    expired: Callable[[], bool] = lambda: False,
) -> Ascended:
    """The best proven bound of some steps; earlier once one exceeds ``target``."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return _Ascent(stack).run(target, steps, expired)


class _Ascent:
    """The iterate: multipliers in their units, and the lowest eigenvectors of Z."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.N, self.d = stack, stack.N, stack.d
        self.first, weights = linear_multipliers(stack)
        pairs = zip(stack.layers, stack.r[:-1], stack.r[1:], strict=True)
        self.scaled = [_scaled(M, before, own) for (M, _), before, own in pairs]
        self._units(weights)
        units, k = self.units, self.first
        head = self.D[0] if not stack.inputs.ball else k.ball + float(k.kappa.sum())
        values = [np.array([head]), k.kappa, np.array([k.ball])]
        values += [k.product, k.above, k.positive, k.triangle]
        self.x = [value / unit for value, unit in zip(values, units, strict=True)]
        rng = np.random.default_rng(0)
        self.V = rng.normal(size=(self.N + 1, min(_VECTORS, int(self.moves.sum()))))
        self.V *= self.moves[:, None]
        self.least = self.value = -np.inf

    def _units(self, weights: list[Array]) -> None:
        """What each multiplier is measured in; D (N + 1,), of a ball one price for all inputs."""
        stack, ball = self.stack, self.stack.inputs.ball
        weights = [a + 0.1 * float(a.mean()) + 1e-12 * float(a.max()) for a in weights]
        d = self.first.kappa.copy()
        if ball:
            d[: self.d] = self.first.ball
        for index, weight in enumerate(weights):
            own = slice(stack.at[index + 1], stack.at[index + 2])
            d[own] = np.maximum(d[own], 0.3 * weight * stack.r[index + 1])
        moves = np.concatenate(stack.r) > 0.0
        mean = float(d[moves].mean()) if moves.any() else 1.0
        d = np.maximum(d, 1e-3 * mean + 1e-290)
        if ball:
            d[: self.d] = d[: self.d].max()
        prices = np.concatenate([[d[0]], d[self.d :]]) if ball else d
        moving = np.concatenate([[True], moves[self.d :]]) if ball else moves
        head = max(float(np.abs(self.first.kappa).sum()) + self.first.ball, mean, 1e-290)
        self.D, self.moves = np.concatenate([[head], d]), np.concatenate([[True], moves])
        self.total = head + float(prices[moving].sum())
        weight = np.concatenate([np.zeros(0), *weights])
        reach = [np.maximum(np.abs(lo), np.abs(u)) for lo, u in stack.bounds]
        product = 0.5 * weight / np.maximum(np.concatenate([np.zeros(0), *reach]), 1e-290)
        lines = np.maximum(weight, 1e-290)
        # The price of a ball is shared by all of its inputs.
        self.units = [
            self.D[:1], d, np.array([d[: self.d].max(initial=1e-290)]),
            np.maximum(product, 1e-290), lines, lines, lines,
        ]  # fmt: skip

    def run(self, target: float, steps: int, expired: Callable[[], bool]) -> Ascended:
        """See `ascend`."""
        best, proven, done = -np.inf, self._by_lines(target, expired), 0
        if proven.value > target:
            return proven
        kept = [x.copy() for x in self.x]
        either = float(sum(k.sum() for k in self.stack.either))
        adam = Adam(self.x, _RATE * min(1.0, (_MANY / max(either, 1.0)) ** 1.5))
        for step in range(steps):
            if expired():
                break
            look = step % _LOOK == 0 or step == steps - 1
            gradients = self._gradients(self._multipliers(), _FOLLOWED if look else _SOLVES)
            done = step + 1
            if not np.isfinite(self.value):
                break
            if look and self.value > best:
                best, kept = self.value, [x.copy() for x in self.x]
                adam.rate = min(_RATE, _LONGER * adam.rate)
                proven = self._finished(kept, done) if best > target else proven
                if proven.value > target:
                    return proven
            elif look and either > _LARGE and best - self.value > _WORSE * float(self.D[0]):
                adam = self._restart(kept, _SHORTER * adam.rate)
                continue
            adam.step([-g for g in gradients], 0.5 * (1.0 + np.cos(np.pi * step / steps)) + 1e-3)
            self._project()
        return max(proven, self._finished(kept, done), key=lambda one: one.value)

    def _by_lines(self, target: float, expired: Callable[[], bool]) -> Ascended:
        """The best bound without products: of given lines kappa is |g|, and no matrix is needed.

        The iterate is left at the best lines.
        """
        stack, lines = self.stack, self.x[4:]
        best, kept, adam = -np.inf, [x.copy() for x in lines], Adam(lines, _LINE_RATE)
        for step in range(_LINE_STEPS):
            k = self._multipliers()
            c, g = stack.linear(k)
            most, z = float(np.abs(g).sum()), -np.sign(g)
            if stack.inputs.ball:
                length = float(np.linalg.norm(g[: self.d]))
                most += length - float(np.abs(g[: self.d]).sum())
                z[: self.d] = -g[: self.d] / max(length, 1e-290)
            if c - most > best:
                best, kept = c - most, [x.copy() for x in lines]
            if best > target or expired() or not np.isfinite(most):
                break
            slopes = self._slopes(np.concatenate([[1.0], z])[:, None])[4:]
            share = (self.N + 1.0) / self.total
            steps = [-share * a * unit for a, unit in zip(slopes, self.units[4:], strict=True)]
            adam.step(steps, 1.0 - step / _LINE_STEPS)
            self._project()
        for array, old in zip(lines, kept, strict=True):
            array[:] = old
        return self._of_lines()

    def _of_lines(self) -> Ascended:
        stack, k = self.stack, self._multipliers()
        g = stack.linear(k)[1]
        kappa, q, ball = np.abs(g), np.sign(g), 0.0
        if stack.inputs.ball:
            ball, kappa[: self.d] = float(np.linalg.norm(g[: self.d])), 0.0
            q[: self.d] = g[: self.d] / max(ball, 1e-290)
        k = replace(k, kappa=kappa, ball=ball, q=q)
        self.x[1][:], self.x[2][:] = kappa / self.units[1], ball / self.units[2]
        self.x[0][:] = (float(kappa.sum()) + ball) / self.units[0]
        try:
            value = proven_value(stack.form(k), k, self.d, _MARGIN)
        except CertificateError:
            value = -np.inf
        sure = value if np.isfinite(value) else -np.inf
        return Ascended(stack.write(k), sure, np.clip(-q, -1.0, 1.0), 0)

    def _restart(self, kept: list[Array], rate: float) -> Adam:
        """Back to the best multipliers, with shorter steps and eigenvectors of no memory."""
        for array, old in zip(self.x, kept, strict=True):
            array[:] = old
        self.V = np.random.default_rng(len(kept)).normal(size=self.V.shape) * self.moves[:, None]
        self._gradients(self._multipliers(), _FOLLOWED)
        return Adam(self.x, rate)

    def _multipliers(self, x: list[Array] | None = None) -> Multipliers:
        values = [a * unit for a, unit in zip(self.x if x is None else x, self.units, strict=True)]
        head, kappa, ball, product, above, positive, triangle = values
        self.head, q = float(head[0]), np.zeros(self.N)
        return Multipliers(kappa, product, above, positive, triangle, float(ball[0]), q)

    def _project(self) -> None:
        on, either = (
            np.concatenate([np.zeros(0, bool), *k]) for k in (self.stack.on, self.stack.either)
        )
        head, kappa, ball, product, above, positive, triangle = self.x
        for array in (head, kappa, ball, positive):
            np.maximum(array, 0.0, out=array)
        if self.stack.inputs.ball:
            kappa[: self.d] = 0.0
        else:
            ball[:] = 0.0
        either_or_on = on | either
        product *= either_or_on
        positive *= either_or_on
        above[:] = np.where(on, above, np.maximum(above, 0.0))
        triangle[:] = np.where(either, np.maximum(triangle, 0.0), 0.0)

    def _diagonal(self, k: Multipliers) -> Array:
        diagonal = self.stack.diagonal(k) + k.kappa
        diagonal[: self.d] += k.ball
        return diagonal

    def _couple(self, product: Array, V: Array) -> Array:
        """The couplings of H times V (N, q)."""
        done = np.zeros_like(V)
        for index, R in enumerate(self.scaled):
            before = slice(self.stack.at[index], self.stack.at[index + 1])
            own = slice(self.stack.at[index + 1], self.stack.at[index + 2])
            p = product[own.start - self.d : own.stop - self.d, None]
            done[own] -= p * (R @ V[before])
            done[before] -= R.T @ (p * V[own])
        return done

    def _operator(self, k: Multipliers, g: Array | None) -> LinearOperator:
        """``D^-1/2 Z D^-1/2``; without g of P alone."""
        diagonal, skip = self._diagonal(k), 1 if g is None else 0
        root = 1.0 / np.sqrt(self.D[skip:])

        def product(V: Array) -> Array:
            U = root[:, None] * V.reshape(len(root), -1)
            if g is None:
                done = diagonal[:, None] * U + self._couple(k.product, U)
            else:
                done = np.empty_like(U)
                done[0] = self.head * U[0] + g @ U[1:]
                done[1:] = diagonal[:, None] * U[1:] + self._couple(k.product, U[1:])
                done[1:] += g[:, None] * U[0]
            return np.asarray(root[:, None] * done)

        size = len(root)
        return LinearOperator((size, size), matvec=product, matmat=product, dtype=np.float64)

    def _gradients(self, k: Multipliers, solves: int) -> list[Array]:
        """Of the smoothed bound in the scaled multipliers; sets `value` to the bound's estimate."""
        c, g = self.stack.linear(k)
        values, V = _lowest(self._operator(k, g), self.V, solves, 1e-10)
        self.V = V
        self.least = float(values.min())
        spent = self.head + float(k.kappa.sum()) + k.ball
        self.value = c - 0.5 * spent + 0.5 * self.total * min(0.0, self.least)
        weights = np.exp(np.minimum(-(values - min(self.least, 0.0)) / _SMOOTHING, 0.0))
        weights /= weights.sum() + np.exp(min(self.least, 0.0) / _SMOOTHING)
        U = V / np.sqrt(self.D)[:, None] * np.sqrt(weights * self.total)
        share = (self.N + 1.0) / self.total
        pairs = zip(self._slopes(U), self.units, strict=True)
        return [share * slope * unit for slope, unit in pairs]

    def _slopes(self, U: Array) -> list[Array]:
        """Of the bound in each multiplier, where ``U U'`` is the matrix of moments of [1; z]."""
        stack, one, Z = self.stack, U[0], U[1:]
        corner = float(one @ one)
        own = 0.5 * np.sum(Z * Z, axis=1)
        X = [
            m[:, None] * one + r[:, None] * Z[stack.at[i] : stack.at[i + 1]]
            for i, (m, r) in enumerate(zip(stack.m, stack.r, strict=True))
        ]
        slopes: list[list[Array]] = [[np.zeros(0)] for _ in range(4)]
        for i, (M, b) in enumerate(stack.layers):
            m, x, line, lo = stack.m[i + 1], X[i + 1], stack.slope[i], stack.corner[i]
            Y, y0 = M @ X[i] + b[:, None] * one, M @ stack.m[i] + b
            # The moment of 1 is 1, whatever the eigenvectors say.
            left = 1.0 - corner
            product = np.sum(x * (Y - x), axis=1) + left * m * (y0 - m)
            x1, y1 = x @ one + left * m, Y @ one + left * y0
            for part, value in zip(
                slopes, (product, x1 - y1, x1, line * (y1 - lo) - x1), strict=True
            ):
                part.append(-value)
        first = [np.array([0.5 * corner - 0.5]), own - 0.5, np.array([own[: self.d].sum() - 0.5])]
        return first + [np.concatenate(part) for part in slopes]

    def _finished(self, x: list[Array], done: int) -> Ascended:
        """P shifted into the cone, q, and what is proven."""
        k = self._multipliers(x)
        least = self._least(k)
        best = Ascended(np.zeros(0), -np.inf, np.zeros(self.N), done)
        if not np.isfinite(least):
            return best
        tried = sorted((self._inside(k, max(0.0, -least) + part) for part in _INSIDE), key=_value)
        for value, shifted, (diagonal, couplings) in reversed(tried):
            try:
                prove_semidefinite(diagonal, couplings, _MARGIN)
            except CertificateError:
                continue
            numbers = self.stack.write(shifted)
            return Ascended(numbers, value, np.clip(-shifted.q, -1.0, 1.0), done)
        return best

    def _least(self, k: Multipliers) -> float:
        V = self.V[1:]
        if not np.isfinite(V).all():
            V = np.random.default_rng(1).normal(size=V.shape)
        V = V[:, : max(1, min(V.shape[1], self.N))]
        values, _ = _lowest(self._operator(k, None), V, 100, 1e-6)
        return float(values.min())

    def _inside(self, k: Multipliers, shift: float) -> tuple[float, Multipliers, tuple[Array, Any]]:
        """The bound with kappa (and the ball's) raised by a multiple of D, unless P is not >= 0."""
        more = shift * self.D[1:]
        kappa, ball = k.kappa + more, 0.0
        if self.stack.inputs.ball:
            kappa[: self.d], ball = 0.0, k.ball + shift * float(self.D[1])
        shifted = replace(k, kappa=kappa * self.moves[1:], ball=ball)
        form = self.stack.form(shifted)
        root = 1.0 / np.sqrt(self.D[1:])
        u, _ = cg(self._operator(shifted, None), root * form.g, rtol=1e-9, maxiter=600)
        shifted = replace(shifted, q=root * u)
        try:
            value = proven_value(form, shifted, self.d, _MARGIN)
        except CertificateError:
            value = -np.inf
        P = self._diagonal(shifted), form.couplings
        return value if np.isfinite(value) else -np.inf, shifted, P


def _lowest(operator: LinearOperator, V: Array, steps: int, tol: float) -> tuple[Array, Array]:
    """The lowest eigenvalues and vectors from the vectors V on; NaN where numbers fail."""
    try:
        values, found = lobpcg(operator, V, largest=False, maxiter=steps, tol=tol)
    except Exception:  # it raises no narrower one where its small eigenproblem fails
        values, found = np.zeros(0), V
    if found.shape != V.shape or values.shape != V.shape[1:]:
        return np.full(V.shape[1], np.nan), V
    return values, found


def _scaled(M: Any, before: Array, own: Array) -> Any:
    scaled = M.copy()
    rows = np.repeat(np.arange(M.shape[0]), np.diff(M.indptr))
    scaled.data = M.data * before[M.indices] * own[rows]
    return scaled


def _value(tried: tuple[float, Multipliers, tuple[Array, Any]]) -> float:
    return tried[0]
