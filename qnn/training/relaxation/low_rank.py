"""Low-rank factors and L-BFGS, float32 where X is large, certified in float64: for image size.

``P = F F'``, ``N = G G'`` with rows of ``[F G]`` of one norm ``sqrt(rho)``: rows are normalized, so
the problem is smooth and unconstrained in them and in ``sqrt(rho)``. A gradient costs two products
with X, for all factors at once (S. Burer, R. Monteiro, A nonlinear programming algorithm for
solving semidefinite programs via low-rank factorization, 2003). Between rounds the best diagonal
for the dual point ``nu = -grad loss`` is found; eigenvectors that the dual slack misses enter the
factors (the rank staircase: N. Boumal, A Riemannian low-rank method for optimization over
semidefinite matrices with block-diagonal constraints, 2015). It stops on a verified gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from qnn.numerics.gaps import relative_gap
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.best_points import BestPoints
from qnn.training.relaxation.blocks.factors import (
    Factors,
    descend,
    of_solution,
    staircase,
    vertex,
)
from qnn.training.relaxation.costs import ROUND
from qnn.training.relaxation.iteration import Method, iterate
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.solver import Callback

Array = np.ndarray

_BLOCK = 4096
#: entries of X from which its products are taken in float32
_SINGLE_FROM = 4_000_000
_LIMIT = 5000
#: rounds without progress in the estimated gap before the solve gives up
_PATIENCE = 8


def solve(
    problem: Problem,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """Low-rank L-BFGS until the verified gap is at most ``tol``; see `qnn.solve`.

    ``max_iterations`` counts steps of L-BFGS. Where X is large, float32 products limit the gap that
    can be reached to about 1e-5; a solve that gets no further ends as "stalled", its gap honest.
    """
    best = BestPoints(problem, "low-rank", time_limit, callback)
    work = _Work.of(problem)
    factors = _warm(work, warm_start) or _first_factors(work)
    if factors is None:
        best.offer_dual(-problem.loss.gradient(np.zeros(problem.n), problem.y), None)
        return best.relaxation(
            "solved" if best.gap <= tol else "stalled",
            "low rank: the zero network",
            {"iterations": 0.0, "rounds": 0.0, "rank": 0.0},
        )
    run = _Run(best, work, factors, tol)
    limit = _LIMIT if max_iterations is None else max_iterations
    outcome, steps = iterate(run, limit, best.out_of_time)
    if outcome != "solved":
        run.offer_last()
        outcome = "solved" if best.gap <= tol else outcome
    message = f"low-rank L-BFGS: {outcome.replace('_', ' ')} after {steps} steps at rank {run.rank}"
    statistics = {"iterations": steps, "rounds": run.rounds, "rank": run.rank}
    numbers = {key: float(value) for key, value in statistics.items()}
    return best.relaxation(outcome, message, numbers)


class _Run(Method):
    """Rounds of L-BFGS with the best diagonal of the dual point after each."""

    def __init__(self, best: BestPoints, work: _Work, factors: Factors, tol: float) -> None:
        self.best, self.work, self.factors, self.tol = best, work, factors, tol
        self.rank = self.rounds = 0
        self._dual: _Dual | None = None
        self._best, self._since = np.inf, 0

    def step(self, left: int) -> int:
        """A round, longer where the last ones have not helped."""
        steps = min(ROUND * (1 + self._since), left)
        self.factors, done = _descend(self.work, self.factors, steps, self.best)
        self.rounds += 1
        self.rank = self.factors.R.shape[1]
        return max(done, 1)

    def check(self, iteration: int) -> Literal["solved", "stalled"] | None:
        """Estimate the gap; a proof where it is small enough."""
        self._dual = dual = _dual(self.work, self.factors, 0.1 * self.tol)
        if dual.gap <= 0.9 * self.tol:
            _certify(self.best, self.work, self.factors, dual, self.tol)
            if self.best.gap <= self.tol:
                return "solved"
        self._since = 0 if dual.gap < 0.9 * self._best else self._since + 1
        self._best = min(self._best, dual.gap)
        return "stalled" if self._since >= _PATIENCE else None

    def prepare(self, iteration: int) -> None:
        """The next rank."""
        assert self._dual is not None
        self.factors = staircase(self.factors, self._dual.M, self._dual.diagonal, self.work.budget)

    def offer_last(self) -> None:
        """Certify where the solve ended."""
        dual = _dual(self.work, self.factors, 0.1 * self.tol)
        _certify(self.best, self.work, self.factors, dual, self.tol)


@dataclass(frozen=True, eq=False)
class _Work:
    """The problem with X divided by its largest entry: ``rho`` and M are in its units.

    With ``X = c X~`` the objective is that of X~ at ``rho~ = c^2 rho`` and budget ``B / c^2``.
    """

    problem: Problem
    X: Array
    unit: float
    budget: float

    @classmethod
    def of(cls, problem: Problem) -> _Work:
        largest = max(float(problem.X.max()), -float(problem.X.min()))
        unit = largest if largest > 0.0 else 1.0
        large = problem.X.size > _SINGLE_FROM
        X = np.empty(problem.X.shape, dtype=np.float32 if large else np.float64)
        for start in range(0, problem.n, _BLOCK):
            X[start : start + _BLOCK] = problem.X[start : start + _BLOCK] / unit
        return cls(problem, X, unit, problem.budget / unit**2)

    def blocks(self) -> list[slice]:
        """Rows that stay in the cache together with their products."""
        return [slice(start, start + _BLOCK) for start in range(0, len(self.X), _BLOCK)]

    def predictions(self, R: Array, signs: Array) -> Array:
        """``sum_k s_k (X r_k)^2``, (n,) in float64."""
        R, weights = R.astype(self.X.dtype), signs.astype(self.X.dtype)
        out = np.empty(len(self.X))
        for rows in self.blocks():
            H = self.X[rows] @ R
            out[rows] = (H * H) @ weights
        return out

    def loss_and_gradient(self, R: Array, signs: Array) -> tuple[float, Array]:
        """The loss, and its gradient in R: ``2 X' diag(l') X R diag(s)``, in one pass over X."""
        loss, y = self.problem.loss, self.problem.y
        R, weights = R.astype(self.X.dtype), signs.astype(self.X.dtype)
        G, value = np.zeros(R.shape), 0.0
        for rows in self.blocks():
            H = self.X[rows] @ R
            predictions = ((H * H) @ weights).astype(np.float64)
            own = loss.of_rows(rows)
            value += own.value(predictions, y[rows])
            H *= own.gradient(predictions, y[rows]).astype(self.X.dtype)[:, None]
            G += self.X[rows].T @ H
        return value, 2.0 * G * signs

    def adjoint(self, nu: Array) -> Array:
        """``M(nu)`` (d, d) float64."""
        M = np.zeros((self.X.shape[1],) * 2)
        for rows in self.blocks():
            block = self.X[rows]
            M += (block * nu[rows].astype(self.X.dtype)[:, None]).T @ block
        return 0.5 * (M + M.T)


@dataclass(frozen=True, eq=False)
class _Dual:
    """A dual point with its diagonal, and the gap that it leaves, estimated without proof."""

    nu: Array
    M: Array
    diagonal: Array
    gap: float


def _first_factors(work: _Work) -> Factors | None:
    """The Frank-Wolfe vertex at zero with the best step, spread by noise; None at beta_max.

    The origin is a stationary point of the factors, so they may not start near it.
    """
    problem = work.problem
    M = work.adjoint(-problem.loss.gradient(np.zeros(problem.n), problem.y))
    if not M.any():
        return None
    factors = vertex(M)
    rho = _best_scale(work, work.predictions(factors.R, factors.signs))
    return factors.of_length(rho) if rho > 0.0 else None


def _best_scale(work: _Work, predictions: Array) -> float:
    """The rho >= 0 of least ``loss(rho predictions) + B rho``, by bisection on its slope."""
    loss, y = work.problem.loss, work.problem.y

    def slope(rho: float) -> float:
        return float(loss.gradient(rho * predictions, y) @ predictions) + work.budget

    if slope(0.0) >= 0.0:
        return 0.0
    high = 1.0 / max(float(np.abs(predictions).max()), 1e-300)
    for _ in range(200):
        if slope(high) > 0.0:
            break
        high *= 2.0
    low = 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)


def _warm(work: _Work, relaxation: Relaxation | None) -> Factors | None:
    """The factors of a solution at another beta, rescaled; None where it is of no use."""
    if relaxation is None or relaxation.P.shape != (work.X.shape[1],) * 2:
        return None
    factors = of_solution(relaxation.P, relaxation.N)
    if factors is None:
        return None
    rho = _best_scale(work, work.predictions(factors.R, factors.signs))
    return factors.of_length(rho) if rho > 0.0 else None


def _descend(work: _Work, factors: Factors, steps: int, best: BestPoints) -> tuple[Factors, int]:
    """A round of L-BFGS."""
    zero = np.zeros(work.problem.n)
    unit = max(work.problem.loss.value(zero, work.problem.y), 1e-300)

    def evaluate(R: Array) -> tuple[float, Array]:
        return work.loss_and_gradient(R, factors.signs)

    return descend(evaluate, factors, work.budget, unit, steps, best.out_of_time)


def _dual(work: _Work, factors: Factors, tol: float) -> _Dual:
    """``nu = -grad loss`` with its best diagonal, and the gap left after the best scaling."""
    loss, y = work.problem.loss, work.problem.y
    predictions = work.predictions(factors.R, factors.signs)
    nu = loss.clip_dual(-loss.gradient(predictions, y), y)
    M = work.adjoint(nu)
    (diagonal,) = optimal_diagonals(M, 1, max(tol, 1e-6))
    spent = float(diagonal.sum())
    t = loss.best_dual_scale(nu, y, work.budget / spent if spent > 0.0 else np.inf)
    upper = loss.value(predictions, y) + work.budget * factors.rho
    return _Dual(nu, M, diagonal, relative_gap(upper, loss.dual_value(t * nu, y)))


def _certify(best: BestPoints, work: _Work, factors: Factors, dual: _Dual, tol: float) -> None:
    """Offer the point and the dual point, in float64 and in the problem's own units."""
    F = factors.R[:, factors.signs > 0] / work.unit
    G = factors.R[:, factors.signs < 0] / work.unit
    best.offer_primal(F @ F.T, G @ G.T)
    # Each try at a proof reads all of X; what tol leaves has room for a margin found at once.
    best.offer_dual(dual.nu, (dual.diagonal * work.unit**2,), margin=min(1e-3 * tol, 1e-6))
