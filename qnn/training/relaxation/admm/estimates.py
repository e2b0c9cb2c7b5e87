"""Repairs and estimates of both bounds in scaled units; the truth is left to certificates."""

from __future__ import annotations

import numpy as np

from qnn.networks.activations.lift import Lift
from qnn.semidefinite.descent import lesser_diagonal
from qnn.semidefinite.positive import lowest_eigenvalue
from qnn.training.relaxation.scaling import ScaledProblem

Array = np.ndarray


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
    value, t = _best_multiple(scaled, scaled.lift.apply(P - N), sum(rho))
    return value, t * P, t * N, tuple(t * own for own in rho)


def factored_value(scaled: ScaledProblem, left: Array, right: Array) -> tuple[float, Array, Array]:
    """The same of ``P = L L'``, ``N = R R'`` by their factors, for less work: ``(value, P, N)``."""
    lift, rank = scaled.lift, left.shape[1]
    factor = np.hstack([left, right])
    diagonal = np.einsum("ij,ij->i", factor, factor)
    rho = float(diagonal.mean())
    if lift.template is not None or not lift.pairs or not 2.0 * diagonal.min() > rho:
        return feasible_value(scaled, left @ left.T, right @ right.T)[:3]
    factor *= np.sqrt(rho / diagonal)[:, None]
    hidden = lift.features @ factor
    hidden *= hidden
    predictions = hidden[:, :rank].sum(axis=1) - hidden[:, rank:].sum(axis=1)
    value, t = _best_multiple(scaled, predictions, rho)
    left, right = factor[:, :rank], factor[:, rank:]
    return value, t * (left @ left.T), t * (right @ right.T)


def _best_multiple(scaled: ScaledProblem, predictions: Array, rho: float) -> tuple[float, float]:
    """The primal value of a feasible point's best multiple, and the multiple (squared loss)."""
    price, t = scaled.budget * rho, 1.0
    if scaled.loss.quadratic:
        square = float(predictions @ predictions)
        t = max((float(predictions @ scaled.y) - price) / square, 0.0) if square > 0.0 else 0.0
    return scaled.loss.value(t * predictions, scaled.y) + t * price, t


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
    """Spend less than the even shift from diagonals to shifted does, by a few Newton steps."""
    sides = scaled.lift.groups(M, -M)
    return tuple(
        lesser_diagonal(np.stack(own), a, b)
        for own, a, b in zip(sides, diagonals, shifted, strict=True)
    )


def _lowest(a: Array, B: Array) -> float:
    """The lowest eigenvalue of ``Diag(a) - B``."""
    S = -B
    S.flat[:: len(a) + 1] += a
    return lowest_eigenvalue(S)
