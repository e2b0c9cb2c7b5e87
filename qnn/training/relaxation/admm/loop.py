"""ADMM on the symmetric reduction: any loss, both lifts, stopped by the certified gap.

The problem ``min loss(A(P - N), y) + B sum(rho)`` is split into a step with the loss and the
diagonals, a linear solve with the lifted rows' kernel, and the projection of P and N to the
semidefinite cone, two eigendecompositions (S. Boyd et al., Distributed optimization and statistical
learning via the alternating direction method of multipliers, 2011). Anderson acceleration; the
penalty follows the ratio of the dual and the primal point.
"""

from __future__ import annotations

import math

import numpy as np

from qnn.training.problems.problem import Problem
from qnn.training.relaxation.admm.ridge import rows_pay, step_work
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
from qnn.training.relaxation.best_points import Incumbent
from qnn.training.relaxation.result import Outcome, Relaxation
from qnn.training.relaxation.solver import Callback, Solver, everything

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
    incumbent = Incumbent(problem, SOLVER.name, time_limit, callback)
    if incumbent.upper == 0.0:
        incumbent.certify_trivial()
        return incumbent.relaxation("solved", "the zero network is perfect", {"iterations": 0.0})
    trail = trail_of(problem, warm_start)
    scaled = scaled_problem(problem, trail)
    single = tol >= _SINGLE_FROM
    state = start(problem, scaled, trail, warm_start, "float32" if single else "float64")
    warm = bool(trail.points)
    search = Search(scaled, tol, _first_check(trail)) if warm else Search(scaled, tol)
    before = state.ridge.factorizations
    limit = _LIMIT if max_iterations is None else max_iterations
    outcome: Outcome = "iteration_limit"
    iteration = factorizations = turned = 0
    while iteration < limit:
        iteration += 1
        finite = _try_step(state)
        if finite and iteration == search.next_check:
            search.check(state, iteration)
            if search.gap <= 0.9 * tol:
                search.offer(incumbent, iteration)
                if incumbent.gap <= tol:
                    outcome = "solved"
                    break
        patience = _SINGLE_PATIENCE if single else _PATIENCE
        if not finite or iteration - search.improved_at > patience:
            if not single:
                outcome = "stalled"
                break
            single = False
            factorizations = state.ridge.factorizations - before
            # Cold: what misled single precision may be in its points.
            state, before = start(problem, scaled, Trail(), None, "float64"), 0
            turned = iteration
            search.restart(iteration)
        if incumbent.out_of_time():
            outcome = "time_limit"
            break
        _adapt(state, iteration - turned, _WARM if warm and not turned else _COLD)
    if outcome != "solved":
        search.check(state, iteration)
        search.offer(incumbent, iteration)
        if incumbent.gap > tol and outcome != "time_limit":
            incumbent.offer_dual(scaled.nu_unit * search.nu, None, iteration)
        if incumbent.gap <= tol:
            outcome = "solved"
    message = (
        f"ADMM: {outcome.replace('_', ' ')} after {iteration} iterations, "
        f"{'single' if single else 'double'} precision, {_space(state)}"
    )
    statistics = {
        "iterations": float(iteration),
        "factorizations": float(factorizations + state.ridge.factorizations - before),
    }
    onward = Trail(scaled, state.ridge, (*trail.points[-1:], point_of(state)), state, iteration)
    return incumbent.relaxation(outcome, message, statistics, onward)


def _first_check(trail: Trail) -> int:
    """A little before the last solve of the path ended."""
    return min(max(3, trail.iterations - 2), 8)


def _try_step(state: Splitting) -> bool:
    """A step; False where the precision was not enough for it."""
    try:
        return math.isfinite(state.step())
    except np.linalg.LinAlgError:
        return False


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
    n, order = state.scaled.n, len(state.ridge.matrix)
    if state.ridge.in_rows:
        return f"{n} x {n} kernel"
    return f"{n} rows compressed to {order} x {order}"


def _work(n: int, size: int, tol: float) -> float:
    """Two factorizations, some ten iterations for each digit, eigendecompositions of 10 D^3."""
    steps = 10.0 * max(-math.log10(tol), 1.0)
    in_rows = rows_pay(n, size * (size + 1) // 2, size)
    return step_work(n, size, in_rows, steps) + 20.0 * steps * size**3


def _memory_estimate(n: int, size: int) -> float:
    p = size * (size + 1) // 2
    order = n if rows_pay(n, p, size) else p
    return 8.0 * (2.2 * order**2 + 8.0 * n * size + 40.0 * (2 * size**2 + n) + 256.0 * p)


SOLVER = Solver(
    name="admm",
    solve=solve,
    supports=everything,
    memory_estimate=_memory_estimate,
    summary="ADMM on the symmetric reduction: every loss, both activations",
    work=_work,
)
