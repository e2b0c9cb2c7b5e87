"""Low-rank factors of a point of the relaxation: where they start, how they descend and grow.

What they are good for is said in `qnn.training.relaxation.low_rank`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from qnn.training.relaxation.costs import START_RANK

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

Array = np.ndarray

#: from R (d, k) to the loss and its gradient (d, k)
Evaluation = Callable[[Array], tuple[float, Array]]

_NEW_COLUMNS = 4


@dataclass(frozen=True, eq=False)
class Factors:
    """``R = [F G]`` (d, k), rows of norm ``sqrt(rho)``; signs +1 for F and -1 for G."""

    R: Array
    signs: Array

    @property
    def rho(self) -> float:
        """The rows' squared norm."""
        return float((self.R**2).sum(axis=1).mean())

    def of_length(self, rho: float) -> Factors:
        """Rows of norm 1 at this rho > 0."""
        return Factors(np.sqrt(rho) * self.R, self.signs)


def normalize(R: Array) -> Array:
    """Rows of norm 1; a row of zeros becomes the first unit vector."""
    norms = np.linalg.norm(R, axis=1)
    unit = R / np.where(norms > 0.0, norms, 1.0)[:, None]
    unit[norms == 0.0, 0] = 1.0
    return unit


def vertex(M: Array) -> Factors:
    """The Frank-Wolfe vertex for M (d, d), spread by noise: rows of norm 1."""
    rng = np.random.default_rng(0)
    rank = min(START_RANK, len(M))
    V = normalize(rng.standard_normal((len(M), rank)))
    for _ in range(30):
        U = normalize(M @ V)
        V = normalize(M @ U)
    R = np.hstack([0.5 * (U + V), 0.5 * (U - V)])
    R = normalize(R + 0.02 * rng.standard_normal(R.shape))
    return Factors(R, np.repeat([1.0, -1.0], rank))


def of_solution(P: Array, N: Array) -> Factors | None:
    """The factors of a solution at another beta, rows of norm 1; None where it is of no use."""
    columns, signs = [], []
    for block, sign in ((P, 1.0), (N, -1.0)):
        values, vectors = eigh(block, check_finite=False)
        # What primal repair added to the diagonal is no direction: only the largest are kept.
        kept = np.argsort(values)[::-1][: 2 * START_RANK]
        kept = kept[values[kept] > 1e-9 * max(float(values[-1]), 0.0)]
        columns.append(vectors[:, kept] * np.sqrt(values[kept]))
        signs.append(np.full(len(kept), sign))
    R = np.hstack(columns)
    if R.shape[1] == 0:
        return None
    size = float(np.sqrt((R**2).mean()))
    R = normalize(R + 1e-3 * size * np.random.default_rng(0).standard_normal(R.shape))
    return Factors(R, np.concatenate(signs))


def descend(
    evaluate: Evaluation,
    factors: Factors,
    budget: float,
    unit: float,
    steps: int,
    expired: Callable[[], bool],
) -> tuple[Factors, int]:
    """A round of L-BFGS in the rows' directions and ``sqrt(rho)``, both of the order of 1.

    ``unit``: an objective's size, such as the zero network's. Returns how many steps were done.
    """
    shape, root = factors.R.shape, np.sqrt(factors.rho)

    # Half a second in each process that holds blocks, which needs the factors alone.
    from scipy.optimize import minimize

    def objective(point: Array) -> tuple[float, Array]:
        W, length = point[:-1].reshape(shape), float(point[-1]) * root
        norms = np.linalg.norm(W, axis=1)[:, None]
        directions = W / norms
        value, G = evaluate(length * directions)
        radial = (G * directions).sum(axis=1)
        tangential = length * (G - radial[:, None] * directions) / norms
        slope = root * (float(radial.sum()) + 2.0 * budget * length)
        value += budget * length**2
        return value / unit, np.append(tangential.ravel(), slope) / unit

    def stop(intermediate_result: OptimizeResult) -> None:
        if expired():
            raise StopIteration

    found = minimize(
        objective,
        np.append((factors.R / root).ravel(), 1.0),
        jac=True,
        method="L-BFGS-B",
        callback=stop,
        options={"maxiter": steps, "maxcor": 20, "ftol": 0.0, "gtol": 0.0},
    )
    length = float(found.x[-1]) * root
    R = length * normalize(found.x[:-1].reshape(shape))
    return Factors(R, factors.signs), int(found.nit)


def staircase(factors: Factors, M: Array, diagonal: Array, budget: float) -> Factors:
    """Drop directions that died out; add those that the budget does not cover, at a small size.

    ``a`` scaled to the budget leaves ``Diag(a) - M`` and ``Diag(a) + M`` with negative eigenvectors
    where the dual point is not feasible: directions in which F (the first) or G descend.
    """
    columns, signs = [], []
    for sign in (1.0, -1.0):
        block = factors.R[:, factors.signs == sign]
        if block.shape[1]:
            left, values, _ = np.linalg.svd(block, full_matrices=False)
            kept = values > 1e-4 * np.sqrt(factors.rho)
            columns.append(left[:, kept] * values[kept])
            signs.append(np.full(int(kept.sum()), sign))
    a = np.maximum(diagonal, 1e-6 * float(diagonal.mean()))
    root = np.sqrt(a.sum() / (budget * a))
    values, vectors = eigh(root[:, None] * M * root[None, :], check_finite=False)
    for sign, picked in ((1.0, slice(-_NEW_COLUMNS, None)), (-1.0, slice(0, _NEW_COLUMNS))):
        fresh = vectors[:, picked][:, sign * values[picked] > 1.0]
        # A column of 3 per cent of a row's length in the mean.
        fresh = root[:, None] * fresh
        size = np.sqrt((fresh**2).mean(axis=0, keepdims=True))
        columns.append(0.03 * np.sqrt(factors.rho) * fresh / np.where(size > 0.0, size, 1.0))
        signs.append(np.full(fresh.shape[1], sign))
    R = np.sqrt(factors.rho) * normalize(np.hstack(columns))
    return Factors(R, np.concatenate(signs))
