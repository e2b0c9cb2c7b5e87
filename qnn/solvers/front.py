"""The one front of all solvers: choose, refuse, solve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qnn.errors import InputError
from qnn.problem import Problem
from qnn.solvers import admm, low_rank, reference
from qnn.solvers.base import Callback, Solver, available_memory, require_memory
from qnn.solvers.incumbent import Incumbent
from qnn.solvers.result import Relaxation

SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (admm.SOLVER, low_rank.SOLVER, reference.SCS, reference.CLARABEL)
}

# Bytes not worth asking the system about.
_ALWAYS_THERE = 2.0**25

#: what "auto" tries, in order: the first that supports the problem and fits into memory
PREFERENCE = ("admm", "low-rank")


def solve(
    problem: Problem,
    tol: float = 1e-4,
    solver: str = "auto",
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """Solve the semidefinite relaxation of a problem to a verified relative gap.

    Parameters
    ----------
    problem : the training problem.
    tol : wanted ``(upper - lower) / |upper|``, lower verified.
    solver : "auto" or a name of the registry (`SOLVERS`).
    time_limit : seconds; the best point so far is returned with its certificate and honest gap.
    max_iterations : of the solver's own kind.
    warm_start : a relaxation of the same data at another beta.
    callback : called with a `Progress` after each certificate.

    Returns
    -------
    A `Relaxation`; ``outcome`` is "solved" only where the verified gap is at most tol.

    Raises
    ------
    InputError : an unknown solver, one that does not support the problem, bad limits, or a problem
        too large for memory (estimated before any allocation).
    """
    _check_limits(tol, time_limit, max_iterations)
    chosen, why = _choose(problem, solver)
    zero = _zero_network(problem, tol, chosen.name, callback)
    if zero is not None:
        return zero
    relaxation = chosen.solve(problem, tol, time_limit, max_iterations, warm_start, callback)
    return replace(relaxation, message=f"{relaxation.message} ({why})")


def _check_limits(tol: float, time_limit: float | None, max_iterations: int | None) -> None:
    if not tol > 0.0:
        raise InputError(f"tol must be positive (got {tol})")
    if time_limit is not None and not time_limit > 0.0:
        raise InputError(f"time_limit must be positive seconds (got {time_limit})")
    if max_iterations is not None and max_iterations < 1:
        raise InputError(f"max_iterations must be at least 1 (got {max_iterations})")


def _choose(problem: Problem, name: str) -> tuple[Solver, str]:
    n, size = problem.n, problem.lift.size
    if name != "auto":
        if name not in SOLVERS:
            raise InputError(
                f"solver {name!r} is not known: choose one of auto, {', '.join(SOLVERS)}"
            )
        solver = SOLVERS[name]
        refusal = solver.supports(problem)
        if refusal is not None:
            raise InputError(f"solver {name!r} cannot take this problem: {refusal}")
        require_memory(solver, n, size)
        return solver, f"solver {name} as asked"
    candidates = [SOLVERS[key] for key in PREFERENCE if SOLVERS[key].supports(problem) is None]
    for candidate in candidates:
        needed = candidate.memory_estimate(n, size)
        if needed <= _ALWAYS_THERE or needed <= available_memory():
            return candidate, f"solver {candidate.name} chosen: {candidate.summary}"
    require_memory(min(candidates, key=lambda s: s.memory_estimate(n, size)), n, size)
    raise AssertionError("unreachable: the cheapest candidate was refused above")


def _zero_network(
    problem: Problem, tol: float, solver: str, callback: Callback | None
) -> Relaxation | None:
    """The zero network with its certificate, where beta is at least beta_max."""
    if problem.beta < problem.beta_max_estimate or problem.beta < problem.beta_max:
        return None
    incumbent = Incumbent(problem, solver, None, callback)
    incumbent.offer_dual(-problem.loss.gradient(np.zeros(problem.n), problem.y), None)
    if incumbent.gap > tol:
        return None
    message = f"beta {problem.beta:g} is at least beta_max {problem.beta_max:g}: the zero network"
    return incumbent.relaxation("solved", message, {"iterations": 0.0})


__all__ = ["PREFERENCE", "SOLVERS", "solve"]
