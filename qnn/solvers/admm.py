"""ADMM on the symmetric reduction: any loss, both lifts, stopped by the certified gap.

The problem ``min loss(A(P - N), y) + B sum(rho)`` is split into a step with the loss and the
diagonals, a linear solve with the lifted rows' kernel, and the projection of P and N to the
semidefinite cone, two eigendecompositions (S. Boyd et al., Distributed optimization and statistical
learning via the alternating direction method of multipliers, 2011). Anderson acceleration; the
penalty follows the ratio of the dual and the primal point.
"""

from __future__ import annotations

import numpy as np

from qnn.problem import Problem
from qnn.solvers.base import Callback, Solver, everything
from qnn.solvers.bounds import dual_estimate, dual_value, feasible_value, refine_diagonals
from qnn.solvers.incumbent import Incumbent
from qnn.solvers.result import Outcome, Relaxation
from qnn.solvers.ridge import Ridge
from qnn.solvers.scaling import ScaledProblem, scale_problem
from qnn.solvers.splitting import Splitting

Array = np.ndarray

_LIMIT = 20_000
_PATIENCE = 1000
_FIRST_CHECK = 11
#: what refined diagonals leave of the gap, before it is known
_LEFT = 0.25
#: gaps from which single precision is tried first, and its iterations without progress
_SINGLE_FROM, _SINGLE_PATIENCE = 1e-5, 40
# The best penalty was found near this multiple of the natural one (docs/solvers.md).
_SIGMA = 0.5


def solve(
    problem: Problem,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """ADMM until the verified relative gap is at most ``tol``; see `qnn.solvers.solve`."""
    incumbent = Incumbent(problem, SOLVER.name, time_limit, callback)
    if incumbent.upper == 0.0:
        incumbent.certify_trivial()
        return incumbent.relaxation("solved", "the zero network is perfect", {"iterations": 0.0})
    scaled = scale_problem(problem)
    search = _Search(scaled, tol)
    single = tol >= _SINGLE_FROM
    state = _start(problem, scaled, warm_start, "float32" if single else "float64")
    limit = _LIMIT if max_iterations is None else max_iterations
    outcome: Outcome = "iteration_limit"
    iteration = factorizations = 0
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
            factorizations = state.ridge.factorizations
            state = _in_double(problem, scaled, search)
            search.restart(iteration)
        if incumbent.out_of_time():
            outcome = "time_limit"
            break
        _adapt(state, iteration)
    if outcome != "solved":
        search.check(state, iteration)
        search.offer(incumbent, iteration)
        if incumbent.gap > tol and outcome != "time_limit":
            incumbent.offer_dual(scaled.nu_unit * search.nu, None, iteration)
        if incumbent.gap <= tol:
            outcome = "solved"
    precision = "single" if single else "double"
    message = (
        f"ADMM: {outcome.replace('_', ' ')} after {iteration} iterations, {precision} precision"
    )
    statistics = {
        "iterations": float(iteration),
        "factorizations": float(factorizations + state.ridge.factorizations),
    }
    return incumbent.relaxation(outcome, message, statistics)


def _try_step(state: Splitting) -> bool:
    """A step; False where the precision was not enough for it."""
    try:
        state.step()
    except np.linalg.LinAlgError:
        return False
    return bool(np.isfinite(state.P.trace() + state.N.trace()))


def _memory_estimate(n: int, size: int) -> float:
    p = size * (size + 1) // 2
    return 8.0 * (2.2 * min(n, p) ** 2 + 8.0 * n * size + 40.0 * (2 * size**2 + n) + 512.0 * p)


SOLVER = Solver(
    name="admm",
    solve=solve,
    supports=everything,
    memory_estimate=_memory_estimate,
    summary="ADMM on the symmetric reduction: every loss, both activations",
)


class _Search:
    """The best pair of points by estimates, and when to look again."""

    def __init__(self, scaled: ScaledProblem, tol: float) -> None:
        self.scaled, self.tol = scaled, tol
        self.upper, self.lower = np.inf, -np.inf
        self.P = self.N = np.empty((0, 0))
        self.nu = np.zeros(scaled.n)
        self.diagonals: tuple[Array, ...] = (np.zeros(scaled.size),)
        self.next_check = _FIRST_CHECK
        self.improved_at, self._mark = 0, np.inf
        self._last: tuple[int, float] | None = None
        # What refined diagonals leave of the gap, and when that was last found out.
        self._left, self._refined_at = _LEFT, 0

    @property
    def gap(self) -> float:
        """Estimated relative gap."""
        return self._gap(self.lower)

    def _gap(self, lower: float) -> float:
        if not np.isfinite(self.upper - lower):
            return np.inf
        return (self.upper - lower) / max(abs(self.upper), 1e-300)

    def check(self, state: Splitting, iteration: int) -> None:
        """Estimate both bounds at the current iterates, and choose the next iteration to do so."""
        upper, P, N, _ = feasible_value(self.scaled, state.P, state.N)
        if upper < self.upper:
            self.upper, self.P, self.N = upper, P, N
        nu, M, diagonals = state.dual()
        lower, shifted = dual_estimate(self.scaled, nu, M, diagonals)
        gap = self._gap(lower)
        if self._worth_refining(gap, iteration):
            refined = refine_diagonals(self.scaled, M, diagonals, shifted)
            better = dual_value(self.scaled, nu, refined)
            if better > lower:
                lower, shifted = better, refined
            self._left, self._refined_at = self._gap(lower) / gap, iteration
        if lower > self.lower:
            self.lower, self.nu, self.diagonals = lower, nu, shifted
        if self.gap < 0.9 * self._mark:
            self._mark, self.improved_at = self.gap, iteration
        self.next_check = iteration + self._wait(iteration, gap)
        self._last = (iteration, gap)

    def _worth_refining(self, gap: float, iteration: int) -> bool:
        """Refining costs a few iterations: where it should end the solve, or was not tried long."""
        if not 0.8 * self.tol < gap < np.inf:
            return False
        return self._left * gap < 0.8 * self.tol or iteration >= max(24, 2 * self._refined_at)

    def _wait(self, iteration: int, gap: float) -> int:
        """A fraction of the iterations that are left at the rate seen since the last look."""
        if self._last is None or not 0.0 < gap < self._last[1]:
            return 3
        rate = np.log(self._last[1] / gap) / (iteration - self._last[0])
        left = np.log(max(self._left * gap / (0.8 * self.tol), 1.0)) / rate
        return int(np.clip(0.8 * left, 2, min(15, 3 + iteration // 4)))

    def restart(self, iteration: int) -> None:
        """Count patience anew, after a change of precision."""
        self.improved_at, self.next_check = iteration, iteration + 2

    def offer(self, incumbent: Incumbent, iteration: int) -> None:
        """Let the best points be certified, in the problem's own units."""
        unit = self.scaled.z_unit
        if len(self.P):
            incumbent.offer_primal(unit * self.P, unit * self.N)
        incumbent.offer_dual(
            self.scaled.nu_unit * self.nu,
            [self.scaled.diagonal_unit * a for a in self.diagonals],
            iteration,
            max(1e-4 * self.tol, 1e-13),
        )


def _adapt(state: Splitting, iteration: int) -> None:
    if iteration not in (4, 8, 14, 22, 35, 60) and (iteration < 100 or iteration % 50):
        return
    sigma, loss_sigma = state.natural_sigmas()
    sigma = _within(_SIGMA * sigma, state.sigma)
    loss_sigma = _within(loss_sigma, state.loss_sigma)
    if sigma != state.sigma or loss_sigma != state.loss_sigma:
        state.rescale(sigma, loss_sigma)


def _within(wanted: float, present: float) -> float:
    """The wanted penalty, unless it is no number or not worth a factorization."""
    usable = np.isfinite(wanted) and wanted > 0.0
    return wanted if usable and not 0.6 < wanted / present < 1.7 else present


def _start(
    problem: Problem, scaled: ScaledProblem, warm_start: Relaxation | None, dtype: str
) -> Splitting:
    ridge, D, budget = Ridge(scaled.lift, dtype), scaled.size, scaled.budget
    if warm_start is not None and len(warm_start.P) == D and len(warm_start.nu) == scaled.n:
        return _warm(scaled, ridge, warm_start)
    fraction = min(problem.beta / max(problem.beta_max_estimate, 1e-300), 1.0)
    sigma = 0.7 * fraction**-0.7 * budget**2 / (D * max(scaled.zero_value, 1e-300))
    return Splitting(scaled, ridge, sigma, _slope(scaled))


def _slope(scaled: ScaledProblem) -> float:
    """A first penalty of the loss: predictions are of order one, and nu of this order."""
    gradient = scaled.loss.gradient(np.zeros(scaled.n), scaled.y)
    return max(float(np.sqrt(np.mean(gradient**2))), 1e-300)


def _warm(scaled: ScaledProblem, ridge: Ridge, previous: Relaxation) -> Splitting:
    """Primal as it was, dual scaled with the budget."""
    ratio = scaled.budget * scaled.diagonal_unit / previous.problem.budget
    nu = scaled.loss.clip_dual(ratio * previous.nu / scaled.nu_unit, scaled.y)
    diagonals = tuple(ratio * a / scaled.diagonal_unit for a in previous.diagonals)
    P, N = previous.P / scaled.z_unit, previous.N / scaled.z_unit
    return _from_points(scaled, ridge, P, N, nu, diagonals)


def _in_double(problem: Problem, scaled: ScaledProblem, search: _Search) -> Splitting:
    """Go on from the best points that single precision has found."""
    if not np.isfinite(search.gap) or not search.P.any():
        return _start(problem, scaled, None, "float64")
    ridge = Ridge(scaled.lift)
    return _from_points(scaled, ridge, search.P, search.N, search.nu, search.diagonals)


def _from_points(
    scaled: ScaledProblem,
    ridge: Ridge,
    P: Array,
    N: Array,
    nu: Array,
    diagonals: tuple[Array, ...],
) -> Splitting:
    M = scaled.lift.adjoint(nu)
    slack_P, slack_N = np.diag(diagonals[0]) - M, np.diag(diagonals[-1]) + M
    primal = float(np.hypot(np.linalg.norm(P), np.linalg.norm(N)))
    dual = float(np.hypot(np.linalg.norm(slack_P), np.linalg.norm(slack_N)))
    sigma = _SIGMA * dual / primal if min(primal, dual) > 0.0 else 1.0
    predictions = scaled.lift.apply(P - N)
    size, slope = float(np.linalg.norm(predictions)), float(np.linalg.norm(nu))
    loss_sigma = slope / size if min(size, slope) > 0.0 else _slope(scaled)
    state = Splitting(scaled, ridge, sigma, loss_sigma)
    state.set_state(P, N, slack_P, slack_N, nu, predictions)
    return state
