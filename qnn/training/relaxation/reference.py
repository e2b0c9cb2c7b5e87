"""The reference: the paper's own semidefinite programs through cvxpy, with SCS or Clarabel.

Bilinear (B. Bartan, M. Pilanci, ICML 2021): ``min loss(yhat, y) + beta d rho`` with
``yhat_i = x_i' Z x_i``, ``[V Z; Z' W] >= 0`` and its whole diagonal equal to rho. Polynomial: two
blocks, each of constant diagonal. It is slow and large on purpose: written as it is printed, to
compare with. Data are scaled to order one first, which such solvers need.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.best_points import BestPoints
from qnn.training.relaxation.registry import SOLVERS
from qnn.training.relaxation.result import Outcome, Relaxation
from qnn.training.relaxation.scaling import ScaledProblem, scale_problem
from qnn.training.relaxation.solver import Callback, require_memory

Array = np.ndarray


def solve_scs(
    problem: Problem,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """The paper's SDP with SCS at eps = tol / 100; cold always."""
    options: dict[str, Any] = {"eps": min(max(0.01 * tol, 1e-9), 1e-4)}
    options["max_iters"] = 200_000 if max_iterations is None else max_iterations
    if time_limit is not None:
        options["time_limit_secs"] = time_limit
    return _solve(problem, tol, "SCS", "cvxpy-scs", options, time_limit, callback)


def solve_clarabel(
    problem: Problem,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """The paper's SDP with Clarabel, an interior point method, at its own tolerances."""
    options: dict[str, Any] = {"max_iter": 200 if max_iterations is None else max_iterations}
    if time_limit is not None:
        options["time_limit"] = time_limit
    return _solve(problem, tol, "CLARABEL", "cvxpy-clarabel", options, time_limit, callback)


def _solve(
    problem: Problem,
    tol: float,
    backend: str,
    name: str,
    options: dict[str, Any],
    time_limit: float | None,
    callback: Callback | None,
) -> Relaxation:
    require_memory(SOLVERS[name], problem.n, problem.lift.size)
    try:
        import cvxpy
    except ImportError:
        raise InputError(f"solver {name!r} needs cvxpy: install it, or choose 'auto'") from None
    best = BestPoints(problem, name, time_limit, callback)
    scaled = scale_problem(problem)
    model = _Bilinear(cvxpy, scaled) if scaled.lift.pairs else _Polynomial(cvxpy, scaled)
    program = cvxpy.Problem(cvxpy.Minimize(model.objective), model.constraints)
    try:
        with warnings.catch_warnings():
            # What it warns of, an inaccurate solution, is in the status and in the verified gap.
            warnings.simplefilter("ignore", UserWarning)
            program.solve(solver=backend, **options)
        status = str(program.status)
    except cvxpy.error.SolverError as error:
        status = f"failed: {str(error).splitlines()[0]}"
    if model.predictions.value is not None:
        P, N = (scaled.z_unit * _positive_part(block) for block in model.primal())
        best.offer_primal(P, N)
        nu, diagonals = model.dual()
        scaled_back = [scaled.diagonal_unit * a for a in diagonals]
        best.offer_dual(scaled.nu_unit * nu, scaled_back)
        if best.gap > tol:
            best.offer_dual(scaled.nu_unit * nu, None)
    stats = program.solver_stats
    iterations = float(stats.num_iters or 0) if stats is not None else 0.0
    best.certify_trivial()
    outcome: Outcome = "stalled"
    if best.gap <= tol:
        outcome = "solved"
    elif best.out_of_time():
        outcome = "time_limit"
    elif "inaccurate" in status or "limit" in status:
        outcome = "iteration_limit"
    message = f"{backend} says {status}; verified gap {best.gap:.2e}"
    return best.relaxation(outcome, message, {"iterations": iterations})


class _Bilinear:
    """The 2D x 2D program of the paper."""

    def __init__(self, cp: Any, scaled: ScaledProblem) -> None:
        D = scaled.size
        self.size, self.cp = D, cp
        self.Q = cp.Variable((2 * D, 2 * D), PSD=True)
        self.rho = cp.Variable()
        self.predictions = cp.Variable(scaled.n)
        F = scaled.lift.features
        design = (F[:, :, None] * F[:, None, :]).reshape(scaled.n, D * D)
        lifted = design @ cp.vec(self.Q[:D, D:], order="C")
        self.tie = self.predictions == lifted
        self.diagonal = cp.diag(self.Q) == self.rho
        self.constraints = [self.tie, self.diagonal]
        loss = scaled.loss.expression(cp, self.predictions, scaled.y)
        self.objective = loss + scaled.budget * self.rho

    def primal(self) -> tuple[Array, Array]:
        """P and N from the symmetric parts of the blocks."""
        D, Q = self.size, self.Q.value
        V = 0.5 * (Q[:D, :D] + Q[D:, D:])
        Z = 0.5 * (Q[:D, D:] + Q[:D, D:].T)
        return 0.5 * (V + Z), 0.5 * (V - Z)

    def dual(self) -> tuple[Array, tuple[Array, ...]]:
        """Nu from the tie of the predictions, and the diagonal, averaged over the two blocks."""
        h = -np.asarray(self.diagonal.dual_value)
        if h.sum() < 0.0:
            h = -h
        return np.asarray(self.tie.dual_value), (h[: self.size] + h[self.size :],)


class _Polynomial:
    """The two-block program with its own diagonal for each sign."""

    def __init__(self, cp: Any, scaled: ScaledProblem) -> None:
        D = scaled.size
        assert scaled.lift.template is not None
        self.plus, self.minus = (cp.Variable((D, D), PSD=True) for _ in range(2))
        self.rho = cp.Variable(2)
        self.predictions = cp.Variable(scaled.n)
        F = scaled.lift.features
        design = (F[:, :, None] * F[:, None, :] * scaled.lift.template).reshape(scaled.n, D * D)
        lifted = design @ cp.vec(self.plus - self.minus, order="C")
        self.tie = self.predictions == lifted
        self.diagonals = [cp.diag(self.plus) == self.rho[0], cp.diag(self.minus) == self.rho[1]]
        self.constraints = [self.tie, *self.diagonals]
        loss = scaled.loss.expression(cp, self.predictions, scaled.y)
        self.objective = loss + scaled.budget * cp.sum(self.rho)

    def primal(self) -> tuple[Array, Array]:
        """The two blocks."""
        return self.plus.value, self.minus.value

    def dual(self) -> tuple[Array, tuple[Array, ...]]:
        """Nu and the two diagonals."""
        found = [-np.asarray(diagonal.dual_value) for diagonal in self.diagonals]
        found = [a if a.sum() >= 0.0 else -a for a in found]
        return np.asarray(self.tie.dual_value), tuple(found)


def _positive_part(S: Array) -> Array:
    values, vectors = np.linalg.eigh(0.5 * (S + S.T))
    return (vectors * np.maximum(values, 0.0)) @ vectors.T
