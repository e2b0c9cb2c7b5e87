"""Repairs and estimates of both bounds in scaled units; the truth is left to certificates."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from qnn.networks.activations.lift import Lift
from qnn.training.relaxation.scaling import ScaledProblem

Array = np.ndarray

_NEWTON_STEPS = 6


def balance_diagonals(lift: Lift, P: Array, N: Array) -> tuple[Array, Array, tuple[float, ...]]:
    """Feasible P, N near these positive semidefinite ones, and their rho.

    The congruence ``D P D``, ``D N D`` makes the diagonal constant at its mean. Near an optimum it
    costs only the square of what the diagonal missed, where raising the diagonal to its largest
    entry would cost that itself; rows of less than half the mean are first raised, for they would
    be multiplied by too much.
    """
    blocks: list[Array] = []
    rhos = []
    for group in lift.groups(P, N):
        diagonal = np.sum([np.diag(block) for block in group], axis=0)
        rho = float(diagonal.mean())
        missing = np.maximum(0.5 * rho - diagonal, 0.0) / len(group)
        blocks += _congruence(group, missing, rho)
        rhos.append(rho)
    return blocks[0], blocks[1], tuple(rhos)


def _congruence(blocks: tuple[Array, ...], missing: Array, rho: float) -> list[Array]:
    if rho <= 0.0:
        return [np.zeros_like(block) for block in blocks]
    if missing.any():
        blocks = tuple(block + np.diag(missing) for block in blocks)
    root = np.sqrt(rho / np.sum([np.diag(block) for block in blocks], axis=0))
    scale = root[:, None] * root[None, :]
    return [block * scale for block in blocks]


def feasible_value(
    scaled: ScaledProblem, P: Array, N: Array
) -> tuple[float, Array, Array, tuple[float, ...]]:
    """Repair positive semidefinite P, N and scale them well: ``(value, P, N, rho)``."""
    P, N, rho = balance_diagonals(scaled.lift, P, N)
    predictions = scaled.lift.apply(P - N)
    price = scaled.budget * sum(rho)
    t = 1.0
    if scaled.loss.quadratic:
        square = float(predictions @ predictions)
        t = max((float(predictions @ scaled.y) - price) / square, 0.0) if square > 0.0 else 0.0
        P, N, rho = t * P, t * N, tuple(t * value for value in rho)
    return scaled.loss.value(t * predictions, scaled.y) + t * price, P, N, rho


def dual_estimate(
    scaled: ScaledProblem, nu: Array, M: Array, diagonals: tuple[Array, ...]
) -> tuple[float, tuple[Array, ...]]:
    """The dual value after an even shift of the diagonals makes them feasible, and these."""
    lowest = scaled.lift.groups(_lowest(diagonals[0], M), _lowest(diagonals[-1], -M))
    shifted = tuple(a + max(0.0, -min(own)) for a, own in zip(diagonals, lowest, strict=True))
    return dual_value(scaled, nu, shifted), shifted


def dual_value(scaled: ScaledProblem, nu: Array, diagonals: tuple[Array, ...]) -> float:
    """The dual value of nu with feasible diagonals, both scaled by the best factor."""
    spent = max(float(a.sum()) for a in diagonals)
    limit = scaled.budget / spent if spent > 0.0 else np.inf
    t = scaled.loss.best_dual_scale(nu, scaled.y, limit)
    return scaled.loss.dual_value(t * nu, scaled.y)


def refine_diagonals(
    scaled: ScaledProblem, M: Array, diagonals: tuple[Array, ...], shifted: tuple[Array, ...]
) -> tuple[Array, ...]:
    """Spend less than the even shift from diagonals to shifted does, by a few Newton steps.

    Log barrier for ``min sum(a)`` with ``Diag(a) - B >= 0``, at one parameter that leaves a tenth
    of what the shift added; the Hessian is the sum of the entrywise squares of the inverses.
    """
    sides = scaled.lift.groups(M, -M)
    return tuple(_descend(own, a, b) for own, a, b in zip(sides, diagonals, shifted, strict=True))


def _descend(blocks: tuple[Array, ...], a: Array, shifted: Array) -> Array:
    size = len(a)
    excess = float((shifted - a).sum())
    if excess <= 0.0:
        return shifted
    mu = 0.1 * excess / (size * len(blocks))
    best, least = shifted, float(shifted.sum())
    a = shifted + 0.1 * excess / size
    inverses = _inverses(blocks, a)
    for _ in range(_NEWTON_STEPS):
        if inverses is None:
            break
        gradient = np.full(size, 1.0 / mu)
        hessian = np.zeros((size, size))
        for W in inverses:
            gradient -= W.diagonal()
            hessian += W * W
        _, step, info = lapack.dposv(hessian, -gradient, lower=1, overwrite_a=1)
        decrement = np.sqrt(max(-float(gradient @ step), 0.0))
        if info != 0 or decrement < 0.3:
            break
        length = min(1.0, 2.0 / (1.0 + decrement))
        start, inverses = a, None
        while inverses is None and length > 1e-9:
            a = start + length * step
            inverses = _inverses(blocks, a)
            length *= 0.6
        spent = float(a.sum())
        if inverses is None or spent >= least:
            break
        progress = least - spent
        best, least = a, spent
        if progress < 0.02 * excess:
            break
    return best


def _inverses(blocks: tuple[Array, ...], a: Array) -> list[Array] | None:
    """``(Diag(a) - B)^-1`` of each block, or None where one is not positive definite."""
    factors = []
    for B in blocks:
        S = -B
        S.flat[:: len(a) + 1] += a
        factor, info = lapack.dpotrf(S.T, lower=1, clean=1, overwrite_a=1)
        if info != 0:
            return None
        factors.append(factor)
    found = []
    for factor in factors:
        lower, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        W = lower + lower.T
        W.flat[:: len(a) + 1] *= 0.5
        found.append(W)
    return found


def _lowest(a: Array, B: Array) -> float:
    """The lowest eigenvalue of ``Diag(a) - B``."""
    S = -B
    S.flat[:: len(a) + 1] += a
    return float(lapack.dsyevd(S.T, compute_v=0, overwrite_a=1)[0][0])
