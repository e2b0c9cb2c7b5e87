"""ADMM on the symmetric reduction: any loss, both lifts, stopped by the certified gap.

The problem ``min loss(A(P - N), y) + B sum(rho)`` is split into a step with the loss and the
diagonals, a linear solve with ``K + s I``, and the projection of P and N to the semidefinite cone,
two eigendecompositions. The scaled multipliers of the projections are the dual slacks, so a
certificate is at hand at every iteration. (S. Boyd et al., Distributed optimization and statistical
learning via the alternating direction method of multipliers, 2011; penalty adapted by residual
balancing, section 3.4.1.)
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from qnn.problem import Problem
from qnn.solvers.base import Callback, Solver, everything
from qnn.solvers.incumbent import Incumbent
from qnn.solvers.result import Outcome, Relaxation
from qnn.solvers.ridge import Ridge
from qnn.solvers.scaling import ScaledProblem, scale_problem

Array = np.ndarray

_RELAX = 1.7
_LIMIT = 20_000
_PATIENCE = 1000


def solve(
    problem: Problem,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """ADMM until the verified relative gap is at most ``tol``; see `qnn.solvers.solve`."""
    scaled = scale_problem(problem)
    incumbent = Incumbent(problem, SOLVER.name, time_limit, callback)
    incumbent.offer_dual(-problem.loss.gradient(np.zeros(problem.n), problem.y), None)
    if incumbent.gap <= tol:
        return incumbent.relaxation("solved", "the zero network is optimal", {"iterations": 0})
    state = _start(scaled, warm_start)
    limit = _LIMIT if max_iterations is None else max_iterations
    outcome: Outcome = "iteration_limit"
    best = _Best()
    check = 5
    for iteration in range(1, limit + 1):
        state.step()
        if iteration == check:
            best.consider(state, iteration)
            if best.gap <= tol:
                _offer(incumbent, scaled, best, iteration)
                if incumbent.gap <= tol:
                    outcome = "solved"
                    break
            if iteration - best.improved_at > _PATIENCE:
                outcome = "stalled"
                break
            state.balance(iteration)
            check += max(5, min(iteration // 10, 50))
        if incumbent.out_of_time():
            outcome = "time_limit"
            break
    if outcome != "solved":
        best.consider(state, iteration)
        _offer(incumbent, scaled, best, iteration)
        if incumbent.gap > tol and best.nu is not None and outcome != "time_limit":
            incumbent.offer_dual(scaled.nu_unit * best.nu, None, iteration)
        if incumbent.gap <= tol:
            outcome = "solved"
    message = f"ADMM: {outcome.replace('_', ' ')} after {iteration} iterations"
    return incumbent.relaxation(
        outcome,
        message,
        {
            "iterations": float(iteration),
            "factorizations": float(state.ridge.factorizations),
        },
    )


def _memory_estimate(n: int, size: int) -> float:
    p = size * (size + 1) // 2
    return 8.0 * (4.0 * min(n, p) ** 2 + 4.0 * n * size + 20.0 * size**2 + 2.0 * 512 * p)


SOLVER = Solver(
    name="admm",
    solve=solve,
    supports=everything,
    memory_estimate=_memory_estimate,
    summary="ADMM on the symmetric reduction: every loss, both activations",
)


class _State:
    """The iterates, in scaled units: cone copies P, N with multipliers, and the loss's copy r."""

    def __init__(self, scaled: ScaledProblem, sigma: float) -> None:
        D = scaled.size
        self.scaled, self.sigma = scaled, sigma
        self.ridge = Ridge(scaled.lift)
        self.direct = scaled.loss.name == "squared"
        self.P, self.N = np.zeros((D, D)), np.zeros((D, D))
        self.U, self.W = np.zeros((D, D)), np.zeros((D, D))
        self.r, self.w = np.zeros(scaled.n), np.zeros(scaled.n)
        self.nu = np.zeros(scaled.n)
        self.primal_residual = self.dual_residual = np.inf

    def step(self) -> None:
        """One sweep: loss and diagonals, relaxation, projections."""
        a, b = self.P - self.U, self.N - self.W
        Z, rho = self._loss_step(a, b)
        V = a + b
        if self.scaled.lift.joint:
            V.flat[:: len(V) + 1] = rho[0]
        else:
            V.flat[:: len(V) + 1] = rho[0] + rho[1]
        P, N = 0.5 * (V + Z), 0.5 * (V - Z)
        relaxed_P = _RELAX * P + (1.0 - _RELAX) * self.P + self.U
        relaxed_N = _RELAX * N + (1.0 - _RELAX) * self.N + self.W
        new_P, self.U = split_cone(relaxed_P)
        new_N, self.W = split_cone(relaxed_N)
        self.primal_residual = float(np.hypot(_norm(P - new_P), _norm(N - new_N)))
        moved = float(np.hypot(_norm(new_P - self.P), _norm(new_N - self.N)))
        self.dual_residual = self.sigma * moved
        self.P, self.N = new_P, new_N

    def _loss_step(self, a: Array, b: Array) -> tuple[Array, tuple[float, ...]]:
        lift, sigma, budget = self.scaled.lift, self.sigma, self.scaled.budget
        D = lift.size
        base = a - b
        if not lift.joint:
            base.flat[:: D + 1] = np.trace(base) / D
        predictions = lift.apply(base)
        if self.direct:
            self.ridge.set_shift(0.5 * sigma)
            target = self.scaled.y
        else:
            self.ridge.set_shift(0.5)
            target = self.r + self.w
        nu = self.ridge.solve(0.5 * sigma * (target - predictions))
        M = lift.adjoint(nu)
        if self.direct:
            self.nu = nu
        else:
            moved = target - nu / sigma
            relaxed = _RELAX * moved + (1.0 - _RELAX) * self.r
            self.r = self.scaled.loss.prox(relaxed - self.w, self.scaled.y, 1.0 / sigma)
            self.w = self.w + self.r - relaxed
            self.nu = self.scaled.loss.clip_dual(sigma * self.w, self.scaled.y)
        if lift.joint:
            rho = max((np.trace(a) + np.trace(b)) / D - 2.0 * budget / (sigma * D), 0.0)
            return base + (2.0 / sigma) * M, (rho,)
        trace = float(np.trace(M))
        rho_plus = (np.trace(a) + (trace - budget) / sigma) / D
        rho_minus = (np.trace(b) - (trace + budget) / sigma) / D
        Z = base + (2.0 / sigma) * M
        Z.flat[:: D + 1] = rho_plus - rho_minus
        return Z, (rho_plus, rho_minus)

    def balance(self, iteration: int) -> None:
        """Move sigma where one residual dominates; ever more rarely, as each move costs a solve."""
        if iteration > 50 and iteration % 4:
            return
        primal_scale = max(_norm(self.P), _norm(self.N), 1e-300)
        dual_scale = self.sigma * max(_norm(self.U), _norm(self.W), 1e-300)
        ratio = np.sqrt(
            (self.primal_residual / primal_scale) / max(self.dual_residual / dual_scale, 1e-300)
        )
        limit = 1.6 if iteration < 100 else 3.0
        if 1.0 / limit < ratio < limit or not np.isfinite(ratio):
            return
        ratio = float(np.clip(ratio, 0.1, 10.0))
        self.rescale(self.sigma * ratio)

    def rescale(self, sigma: float) -> None:
        """Change the penalty; the unscaled multipliers stay."""
        factor = self.sigma / sigma
        self.U, self.W, self.w = self.U * factor, self.W * factor, self.w * factor
        self.sigma = sigma

    def diagonals(self, M: Array) -> tuple[Array, ...]:
        """The dual's diagonals that the slacks ``-sigma U``, ``-sigma W`` stand for."""
        slack_P, slack_N = -self.sigma * np.diag(self.U), -self.sigma * np.diag(self.W)
        if self.scaled.lift.joint:
            return (0.5 * (slack_P + slack_N),)
        return slack_P + np.diag(M), slack_N - np.diag(M)


class _Best:
    """The best pair of points by estimates in scaled units; the truth is left to certificates."""

    def __init__(self) -> None:
        self.upper, self.lower = np.inf, -np.inf
        self.P = self.N = np.empty((0, 0))
        self.nu: Array | None = None
        self.diagonals: tuple[Array, ...] = ()
        self.improved_at = 0
        self._mark = np.inf

    @property
    def gap(self) -> float:
        """Estimated relative gap."""
        if not np.isfinite(self.upper) or self.nu is None:
            return np.inf
        return (self.upper - self.lower) / max(abs(self.upper), 1e-300)

    def consider(self, state: _State, iteration: int) -> None:
        """Estimate both bounds at the current iterates."""
        scaled = state.scaled
        upper = estimate_upper(scaled, state.P, state.N)
        if upper < self.upper:
            self.upper, self.P, self.N = upper, state.P, state.N
        nu = scaled.loss.clip_dual(state.nu, scaled.y)
        M = scaled.lift.adjoint(nu)
        diagonals = state.diagonals(M)
        lower = estimate_lower(scaled, nu, M, diagonals)
        if lower > self.lower or self.nu is None:
            self.lower, self.nu, self.diagonals = lower, nu, diagonals
        if self.gap < 0.9 * self._mark:
            self._mark, self.improved_at = self.gap, iteration


def estimate_upper(scaled: ScaledProblem, P: Array, N: Array) -> float:
    """The value of P, N after their repair, scaled units."""
    p, q = np.diag(P), np.diag(N)
    Z = P - N
    if scaled.lift.joint:
        rho = float((p + q).max())
    else:
        rho = float(p.max()) + float(q.max())
        Z = Z.copy()
        Z.flat[:: len(Z) + 1] = float(p.max()) - float(q.max())
    return scaled.loss.value(scaled.lift.apply(Z), scaled.y) + scaled.budget * rho


def estimate_lower(
    scaled: ScaledProblem, nu: Array, M: Array, diagonals: tuple[Array, ...]
) -> float:
    """The dual value after the repair by an even shift, scaled units."""
    slacks = [np.diag(diagonals[0]) - M, np.diag(diagonals[-1]) + M]
    lowest = [float(lapack.dsyevd(S, compute_v=0)[0][0]) for S in slacks]
    if scaled.lift.joint:
        spent = float((diagonals[0] + max(0.0, -min(lowest))).sum())
    else:
        spent = max(
            float((a + max(0.0, -low)).sum()) for a, low in zip(diagonals, lowest, strict=True)
        )
    limit = scaled.budget / spent if spent > 0.0 else np.inf
    t = scaled.loss.best_dual_scale(nu, scaled.y, limit)
    return scaled.loss.dual_value(t * nu, scaled.y)


def split_cone(Y: Array) -> tuple[Array, Array]:
    """The projection of Y (D, D) to the semidefinite cone, and what is left of Y."""
    values, vectors, _ = lapack.dsyevd(Y)
    negative = int(np.searchsorted(values, 0.0))
    if 2 * negative >= len(values):
        part = vectors[:, negative:]
        positive = (part * values[negative:]) @ part.T
        return positive, Y - positive
    part = vectors[:, :negative]
    rest = (part * values[:negative]) @ part.T
    return Y - rest, rest


def _norm(A: Array) -> float:
    return float(np.linalg.norm(A))


def _start(scaled: ScaledProblem, warm_start: Relaxation | None) -> _State:
    D, budget = scaled.size, scaled.budget
    sigma = budget**2 / (D * max(scaled.zero_value, 1e-300))
    state = _State(scaled, sigma)
    if warm_start is None or len(warm_start.P) != D or len(warm_start.nu) != scaled.n:
        return state
    ratio = budget / max(warm_start.problem.budget / scaled.diagonal_unit, 1e-300)
    nu = scaled.loss.clip_dual(ratio * warm_start.nu / scaled.nu_unit, scaled.y)
    M = scaled.lift.adjoint(nu)
    diagonals = [ratio * a / scaled.diagonal_unit for a in warm_start.diagonals]
    state.P, state.N = warm_start.P / scaled.z_unit, warm_start.N / scaled.z_unit
    top = max(_norm(state.P), _norm(state.N))
    if top > 0.0:
        slack = np.diag(diagonals[0]) - M
        state.rescale(max(_norm(slack), 1e-300) / top)
    state.U = -(np.diag(diagonals[0]) - M) / state.sigma
    state.W = -(np.diag(diagonals[-1]) + M) / state.sigma
    state.r = scaled.lift.apply(state.P - state.N)
    state.w = nu / state.sigma
    return state


def _offer(incumbent: Incumbent, scaled: ScaledProblem, best: _Best, iteration: int) -> None:
    if len(best.P):
        incumbent.offer_primal(scaled.z_unit * best.P, scaled.z_unit * best.N)
    if best.nu is not None:
        incumbent.offer_dual(
            scaled.nu_unit * best.nu,
            [scaled.diagonal_unit * a for a in best.diagonals],
            iteration,
        )


__all__ = ["SOLVER", "solve"]
