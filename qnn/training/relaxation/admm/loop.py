"""ADMM on the symmetric reduction: any loss, both lifts, stopped by the certified gap.

The problem ``min loss(A(P - N), y) + B sum(rho)`` is split into a step with the loss and the
diagonals, a linear solve with the lifted rows' kernel, and the projection of P and N to the
semidefinite cone, two eigendecompositions (S. Boyd et al., Distributed optimization and statistical
learning via the alternating direction method of multipliers, 2011). Anderson acceleration; the
penalty follows the ratio of the dual and the primal point.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from qnn.training.problems.problem import Problem
from qnn.training.relaxation.admm.search import Search
from qnn.training.relaxation.admm.splitting import Splitting
from qnn.training.relaxation.admm.starts import (
    SIGMA,
    Trail,
    point_of,
    scaled_problem,
    start,
    trail_of,
)
from qnn.training.relaxation.best_points import BestPoints
from qnn.training.relaxation.iteration import Method, iterate
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.solver import Callback

_LIMIT = 20_000
_PATIENCE = 1000
#: gaps from which single precision is tried first, and its iterations without progress
_SINGLE_FROM, _SINGLE_PATIENCE = 1e-5, 40
#: when the penalty is reconsidered: early after a cold start, whose first penalty is a guess
_COLD, _WARM, _LATER = (4, 8, 14, 22, 35, 60), (10, 20, 35, 60), 50


def solve(
    problem: Problem,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """ADMM until the verified relative gap is at most ``tol``; see `qnn.solve`."""
    best = BestPoints(problem, "admm", time_limit, callback)
    if best.upper == 0.0:
        best.certify_trivial()
        return best.relaxation("solved", "the zero network is perfect", {"iterations": 0.0})
    run = _Run(best, tol, warm_start)
    limit = _LIMIT if max_iterations is None else max_iterations
    outcome, iterations = iterate(run, limit, best.out_of_time)
    if outcome != "solved":
        run.offer_last(iterations, refine=outcome != "time_limit")
        outcome = "solved" if best.gap <= tol else outcome
    message = (
        f"ADMM: {outcome.replace('_', ' ')} after {iterations} iterations, "
        f"{'single' if run.single else 'double'} precision, {_space(run.state)}"
    )
    statistics = {
        "iterations": float(iterations),
        "factorizations": float(run.factorizations),
    }
    return best.relaxation(outcome, message, statistics, run.onward())


class _Run(Method):
    """The state of a solve, single precision first where the gap allows, and its search."""

    def __init__(self, best: BestPoints, tol: float, warm_start: Relaxation | None) -> None:
        problem = best.problem
        self.best, self.tol = best, tol
        self.trail = trail = trail_of(problem, warm_start)
        self.scaled = scaled_problem(problem, trail)
        self.single = tol >= _SINGLE_FROM
        dtype = "float32" if self.single else "float64"
        self.state = start(problem, self.scaled, trail, warm_start, dtype)
        self.warm = bool(trail.points)
        self.search = Search(self.scaled, tol, self.warm, trail.promise)
        self._counted = -self.state.ridge.factorizations
        self._residual, self._turned = 0.0, 0

    @property
    def factorizations(self) -> int:
        """How many this solve has paid for, in both precisions."""
        return self._counted + self.state.ridge.factorizations

    def step(self, left: int) -> int:
        """One."""
        self._residual = _try_step(self.state)
        return 1

    def check(self, iteration: int) -> Literal["solved", "stalled"] | None:
        """Look at the bounds where it is time; a proof where they are near enough."""
        search, best = self.search, self.best
        finite = math.isfinite(self._residual)
        if finite and search.due(self.state, iteration, self._residual):
            search.check(self.state, iteration, self._residual)
            if search.gap <= 0.9 * self.tol:
                search.offer(best, iteration)
                if best.gap <= self.tol:
                    return "solved"
                search.forget_dual()
        patience = _SINGLE_PATIENCE if self.single else _PATIENCE
        if finite and iteration - search.improved_at <= patience:
            return None
        if not self.single:
            return "stalled"
        self._turn_to_double(iteration)
        return None

    def _turn_to_double(self, iteration: int) -> None:
        self.single, self._turned = False, iteration
        self._counted = self.factorizations
        # Cold: what misled single precision may be in its points.
        self.state = start(self.best.problem, self.scaled, Trail(), None, "float64")
        self.search.restart(iteration)

    def prepare(self, iteration: int) -> None:
        """Reconsider the penalties."""
        _adapt(
            self.state,
            iteration - self._turned,
            _WARM if self.warm and not self._turned else _COLD,
        )

    def offer_last(self, iteration: int, refine: bool) -> None:
        """Certify where the solve ended, with the best diagonal if the gap is still open."""
        search, best = self.search, self.best
        search.check(self.state, iteration, self._residual)
        search.offer(best, iteration)
        if refine and best.gap > self.tol:
            best.offer_dual(self.scaled.nu_unit * search.nu, None, iteration)

    def onward(self) -> Trail:
        """What the next solve of a path starts from."""
        state = self.state
        points = (*self.trail.points[-1:], point_of(state))
        return Trail(self.scaled, state.ridge, points, state, self.search.promise)


def _try_step(state: Splitting) -> float:
    """A step; its residual, not finite where the precision was not enough for it."""
    try:
        return math.sqrt(state.step())
    except np.linalg.LinAlgError:
        return math.inf


def _adapt(state: Splitting, iteration: int, schedule: tuple[int, ...]) -> None:
    """Bring the penalties near their natural values, where that is worth a factorization."""
    if iteration not in schedule and (iteration < 100 or iteration % _LATER):
        return
    sigma, loss_sigma = state.natural_sigmas()
    sigma = _within(SIGMA * sigma, state.sigma)
    loss_sigma = _within(loss_sigma, state.loss_sigma)
    if sigma != state.sigma or loss_sigma != state.loss_sigma:
        state.rescale(sigma, loss_sigma)


def _within(wanted: float, present: float) -> float:
    """The wanted penalty, unless it is no number or not worth a factorization."""
    usable = np.isfinite(wanted) and wanted > 0.0
    return wanted if usable and not 0.6 < wanted / present < 1.7 else present


def _space(state: Splitting) -> str:
    n, order = state.scaled.n, state.ridge.order
    if state.ridge.in_rows:
        return f"{n} x {n} kernel"
    return f"{n} rows compressed to {order} x {order}"
