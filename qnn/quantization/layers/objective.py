"""A layer's objective from rows of its inputs: one quadratic form, shared by its neurons or not.

A neuron with float weights w0 on inputs x gives ``a = w0'x``; with weights v on the inputs x^ of
the quantized network it gives ``v'x^ + b``. The weighted mean square of the difference, with the
best bias b and a damping ``rho ||v - w0||^2``, is ``const + (v - w)' H (v - w)`` where

    H = cov(x^) + rho I,    w = H^-1 (cov(x^, a) + rho w0),    b = E a - v'E x^.

It is exactly a sum over neurons. ``rho`` is a fraction of the mean of cov's diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from qnn.errors import InputError
from qnn.quantization.layers.grids import Codes
from qnn.quantization.layers.lattice import descent, kbest_at

Array = np.ndarray

# A greedy method profits from damping for another reason: it makes its task easier.
_BEAM = 32
# Rows that differ by less are the same rows with other rounding errors.
_NOISE = 1e-12
_SINGULAR = (
    "the Gram matrix of its inputs is singular (inputs that never vary, or fewer rows than "
    "inputs): give more and more varied calibration rows, or a damping above 0"
)
# The damping of inputs that never vary, in units of their largest square.
_STILL = 1e-6
DAMPS = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)


@dataclass(frozen=True, eq=False)
class Objective:
    """H (d, d), targets W (m, d), rho; means of inputs (d,) and outputs (m,); the constants (m,).

    ``row_weights`` (n,) are those that the means were taken with, None where all count alike.
    """

    H: Array
    W: Array
    rho: float
    input_mean: Array
    output_mean: Array
    constant: Array
    row_weights: Array | None = None

    def biases(self, codes: Codes) -> Array:
        """The best biases (m,) of the codes."""
        values: Array = self.output_mean - codes.weights @ self.input_mean
        return values


def layer_objective(
    X: Array,
    A: Array,
    W0: Array,
    damp: float,
    row_weights: Array | None = None,
    still: bool = False,
) -> Objective:
    """The objective on inputs X (n, d), outputs without bias A (n, m), float weights W0 (m, d).

    Raises InputError where H is singular: too few rows without damping, or inputs that never vary;
    where these are allowed (``still``) H is a small multiple of the unit matrix.
    """
    size = float(np.abs(X).max(initial=0.0))
    varies = np.ptp(X, axis=0).max(initial=0.0) > _NOISE * size
    if not (varies or still):
        raise InputError(_SINGULAR)
    share = np.full(len(X), 1.0 / len(X)) if row_weights is None else row_weights
    share = share / share.sum()
    input_mean, output_mean = share @ X, share @ A
    centred, outputs = X - input_mean, A - output_mean
    weighted = share[:, None] * centred
    covariance = weighted.T @ centred
    covariance = 0.5 * (covariance + covariance.T)
    rho = damp * float(np.trace(covariance)) / len(covariance)
    rho = rho if varies else _STILL * (size * size or 1.0)
    H = covariance + rho * np.eye(len(covariance))
    factor = _factor(H)
    cross = weighted.T @ outputs
    W = cho_solve(factor, cross + rho * W0.T, check_finite=False).T
    explained = np.einsum("ij,ij->i", W @ H, W)
    total = share @ outputs**2 + rho * (W0**2).sum(axis=1)
    constant = np.maximum(total - explained, 0.0)
    return Objective(H, W, rho, input_mean, output_mean, constant, row_weights)


def _factor(H: Array) -> tuple[Array, bool]:
    size = np.diag(H).max(initial=0.0)
    try:
        factor = cho_factor(H, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        factor = None
    if factor is None or not np.diag(factor[0]).min() ** 2 > 1e-14 * size:
        raise InputError(_SINGULAR)
    return factor


def choose_damp(
    X: Array,
    A: Array,
    W0: Array,
    bits: int,
    share: float,
    seed: int,
    progress: Callable[[float], None] = lambda share: None,
    still: bool = False,
) -> float:
    """The damping, of seven, whose K-best codes err least on rows that they were not made from.

    ``share`` of the rows are held out. Without damping a good optimizer fits the rows' noise.
    progress is told the share of the seven that is tried.
    """
    order = np.random.default_rng(seed).permutation(len(X))
    cut = max(1, round(share * len(X)))
    out, kept = order[:cut], order[cut:]
    if len(kept) < 2:
        return DAMPS[-1]
    scores = []
    for damp in DAMPS:
        scores.append(_held_out(X, A, W0, bits, damp, kept, out, still))
        progress(len(scores) / len(DAMPS))
    return DAMPS[int(np.argmin(scores))]


def _held_out(
    X: Array, A: Array, W0: Array, bits: int, damp: float, kept: Array, out: Array, still: bool
) -> float:
    part = layer_objective(X[kept], A[kept], W0, damp, still=still)
    start = descent(part.H, part.W, bits)
    codes = start.better(kbest_at(part.H, part.W, start.s, bits, _BEAM), part.H, part.W)
    wrong = X[out] @ codes.weights.T + part.biases(codes) - A[out]
    return float((wrong**2).mean())
