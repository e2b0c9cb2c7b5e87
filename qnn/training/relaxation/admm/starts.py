"""Where ADMM starts: cold, from another relaxation, or along the trail of a path of betas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.training.problems.problem import Problem
from qnn.training.relaxation.admm.ridge import Ridge
from qnn.training.relaxation.admm.search import PROMISE
from qnn.training.relaxation.admm.splitting import Splitting
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.scaling import ScaledProblem, scale_problem

Array = np.ndarray

#: the best penalty was found near this multiple of the natural one (docs/solvers.md)
SIGMA = 0.5


@dataclass(frozen=True, eq=False)
class Point:
    """A primal and a dual point at one budget, scaled units, double precision."""

    budget: float
    P: Array
    N: Array
    slack_P: Array
    slack_N: Array
    nu: Array
    predictions: Array


@dataclass(frozen=True, eq=False)
class Trail:
    """What a solve hands on to the next of its path: the kernel with its factor, the last points.

    It is left behind when a relaxation is copied or sent elsewhere: a warm start works without.
    """

    scaled: ScaledProblem | None = None
    ridge: Ridge | None = None
    points: tuple[Point, ...] = ()
    last: Splitting | None = None
    promise: float = PROMISE

    def __reduce__(self) -> tuple[type[Trail], tuple[()]]:
        return Trail, ()


def trail_of(problem: Problem, warm_start: Relaxation | None) -> Trail:
    """The trail that a warm start carries, if it is of the same data; else an empty one."""
    if warm_start is None or not isinstance(warm_start.trail, Trail):
        return Trail()
    other = warm_start.problem
    same = (
        problem.X is other.X
        and problem.y is other.y
        and problem.loss is other.loss
        and problem.activation is other.activation
        and problem.alphabet is other.alphabet
    )
    return warm_start.trail if same else Trail()


def scaled_problem(problem: Problem, trail: Trail) -> ScaledProblem:
    """The problem in scaled units; of another beta on the same data only the budget changes."""
    if trail.scaled is not None:
        return trail.scaled.with_budget(problem.budget)
    return scale_problem(problem)


def start(
    problem: Problem,
    scaled: ScaledProblem,
    trail: Trail,
    warm_start: Relaxation | None,
    dtype: str,
) -> Splitting:
    """The first state, in this precision."""
    ridge = trail.ridge
    if ridge is None or ridge.dtype != dtype:
        ridge = Ridge(scaled.lift, dtype)
    if trail.points:
        state = _at_point(scaled, ridge, _predict(scaled, trail.points))
        if trail.last is not None:
            state.continue_from(trail.last)
        return state
    if warm_start is not None and warm_start.P.shape == (scaled.size, scaled.size):
        point = _carried_over(scaled, warm_start)
        if point is not None:
            return _at_point(scaled, ridge, point)
    fraction = min(problem.beta / max(problem.beta_max_estimate, 1e-300), 1.0)
    natural = scaled.budget**2 / (scaled.size * max(scaled.zero_value, 1e-300))
    return Splitting(scaled, ridge, 0.7 * fraction**-0.7 * natural, _slope(scaled))


def _at_point(scaled: ScaledProblem, ridge: Ridge, point: Point) -> Splitting:
    """A state at a primal and a dual point, its penalty natural, or near it if that saves work."""
    primal = float(np.hypot(np.linalg.norm(point.P), np.linalg.norm(point.N)))
    dual = float(np.hypot(np.linalg.norm(point.slack_P), np.linalg.norm(point.slack_N)))
    sigma = SIGMA * dual / primal if min(primal, dual) > 0.0 else 1.0
    size, slope = float(np.linalg.norm(point.predictions)), float(np.linalg.norm(point.nu))
    loss_sigma = slope / size if min(size, slope) > 0.0 else _slope(scaled)
    if scaled.loss.quadratic:
        if 0.5 < 0.5 * sigma / ridge.shift < 2.0:
            sigma = 2.0 * ridge.shift
    elif 0.5 < 0.5 * sigma / loss_sigma / ridge.shift < 2.0:
        loss_sigma = 0.5 * sigma / ridge.shift
    state = Splitting(scaled, ridge, sigma, loss_sigma)
    state.set_state(point.P, point.N, point.slack_P, point.slack_N, point.nu, point.predictions)
    return state


def point_of(state: Splitting) -> Point:
    """The present primal and dual point of a state."""
    slack_P, slack_N = state.slacks()
    return Point(
        budget=state.scaled.budget,
        P=state.P.astype(np.float64),
        N=state.N.astype(np.float64),
        slack_P=slack_P,
        slack_N=slack_N,
        nu=state.nu(),
        predictions=state.predictions(),
    )


def _carried_over(scaled: ScaledProblem, previous: Relaxation) -> Point | None:
    """Primal as it was, dual scaled with the budget."""
    if previous.nu.shape != (scaled.n,):
        return None
    ratio = scaled.budget * scaled.diagonal_unit / previous.problem.budget
    nu = scaled.loss.clip_dual(ratio * previous.nu / scaled.nu_unit, scaled.y)
    diagonals = tuple(ratio * a / scaled.diagonal_unit for a in previous.diagonals)
    P, N = previous.P / scaled.z_unit, previous.N / scaled.z_unit
    M = scaled.lift.adjoint(nu)
    slack_P, slack_N = np.diag(diagonals[0]) - M, np.diag(diagonals[-1]) + M
    return Point(scaled.budget, P, N, slack_P, slack_N, nu, scaled.lift.apply(P - N))


def _predict(scaled: ScaledProblem, points: tuple[Point, ...]) -> Point:
    """Along the path: the last point, or the line through the last two in the budget's logarithm.

    Slacks are taken per unit of the budget, to which they are nearly proportional. The line leaves
    the cone; the first projection sorts out what became primal and what dual.
    """
    last = points[-1]
    ratio = scaled.budget / last.budget
    t, before = 0.0, points[0]
    if len(points) > 1:
        t = float(np.log(ratio) / np.log(last.budget / before.budget))
        t = t if 0.0 < t < 2.0 else 0.0
    earlier = ratio * last.budget / before.budget
    nu = last.nu + t * (last.nu - before.nu)
    return Point(
        budget=scaled.budget,
        P=last.P + t * (last.P - before.P),
        N=last.N + t * (last.N - before.N),
        slack_P=(1.0 + t) * ratio * last.slack_P - t * earlier * before.slack_P,
        slack_N=(1.0 + t) * ratio * last.slack_N - t * earlier * before.slack_N,
        nu=scaled.loss.clip_dual(nu, scaled.y),
        predictions=last.predictions + t * (last.predictions - before.predictions),
    )


def _slope(scaled: ScaledProblem) -> float:
    """A first penalty of the loss: predictions are of order one, and nu of this order."""
    gradient = scaled.loss.gradient(np.zeros(scaled.n), scaled.y)
    return max(float(np.sqrt(np.mean(gradient**2))), 1e-300)
