"""The one front of all solvers: choose, refuse, solve."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from qnn.errors import InputError
from qnn.numerics.arguments import check_limits
from qnn.numerics.memory import available_memory
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.best_points import BestPoints
from qnn.training.relaxation.registry import SOLVERS, candidates, last_resorts
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.scaling import check_scale
from qnn.training.relaxation.solver import Callback, Solver, require_memory

# Bytes not worth asking the system about.
_ALWAYS_THERE = 2.0**25


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
        too large for memory (estimated before any allocation), data of a scale beyond doubles.
    """
    check_limits(tol, time_limit, max_iterations)
    check_scale(problem)
    started = time.perf_counter()
    chosen, why = _choose(problem, solver, tol)
    zero = _zero_network(problem, tol, chosen[0].name, callback)
    if zero is not None:
        return zero
    best: Relaxation | None = None
    if solver == "auto":
        chosen = [*chosen, *last_resorts(problem, problem.n, problem.lift.size, tol)]
    cut: list[Solver] = []
    while chosen or cut:
        # What was cut goes on from the best point, where no fallback has got there either.
        last = not chosen
        candidate = chosen.pop(0) if chosen else cut.pop(0)
        if best is not None and not _fits(candidate, problem.n, problem.lift.size):
            continue
        spent = 0.0 if best is None else time.perf_counter() - started
        left = None if time_limit is None else time_limit - spent
        if left is not None and left <= 0.0:
            break
        start = warm_start if best is None else best
        limit = max_iterations
        if limit is None and chosen:
            limit = candidate.turn
        found = candidate.solve(problem, tol, left, limit, start, callback)
        if best is not None:
            why = f"after solver {best.solver} had stalled at a gap of {best.gap:.1e}"
        found = replace(found, message=f"{found.message} ({why})")
        best = found if best is None else _joined(best, found, tol)
        given_up = found.outcome == "iteration_limit" and max_iterations is None and not last
        if best.outcome == "solved" or not (found.outcome == "stalled" or given_up):
            break
        if given_up and limit is not None:
            cut.append(candidate)
    assert best is not None
    return best


def _joined(best: Relaxation, found: Relaxation, tol: float) -> Relaxation:
    """The better primal point with the better dual one, under the name of the closer of the two."""
    closer = found if found.gap < best.gap else best
    primal = min(best, found, key=lambda r: r.upper_bound)
    dual = max(best, found, key=lambda r: r.lower_bound)
    joined = replace(
        closer,
        P=primal.P,
        N=primal.N,
        rho=primal.rho,
        predictions=primal.predictions,
        upper_bound=primal.upper_bound,
        nu=dual.nu,
        diagonals=dual.diagonals,
        certificate=dual.certificate,
    )
    return replace(joined, outcome="solved") if joined.gap <= tol else joined


def _choose(problem: Problem, name: str, tol: float) -> tuple[list[Solver], str]:
    """Solvers in the order of their use, and why the first one is."""
    n, size = problem.n, problem.lift.size
    if name != "auto":
        solver = SOLVERS.find(name)
        refusal = solver.supports(problem)
        if refusal is not None:
            raise InputError(f"solver {name!r} cannot take this problem: {refusal}")
        require_memory(solver, n, size)
        return [solver], f"solver {name} as asked"
    ordered = candidates(problem, n, size, tol)
    works = {solver.name: solver.work(n, size, tol) for solver in ordered}
    fitting = [candidate for candidate in ordered if _fits(candidate, n, size)]
    if not fitting:
        require_memory(min(ordered, key=lambda s: s.memory_estimate(n, size)), n, size)
    first = fitting[0]
    reason = first.summary
    for other in ordered:
        if other is first:
            continue
        if other in fitting:
            reason += (
                f"; some {_giga(works[first.name])} Gflop, {other.name} {_giga(works[other.name])}"
            )
        else:
            reason += f"; {other.name} needs {other.memory_estimate(n, size) / 2**30:.1f} GiB"
    return fitting, f"solver {first.name} chosen: {reason}"


def _fits(solver: Solver, n: int, size: int) -> bool:
    needed = solver.memory_estimate(n, size)
    return needed <= _ALWAYS_THERE or needed <= available_memory()


def _giga(work: float) -> str:
    return f"{work / 1e9:.2g}"


def _zero_network(
    problem: Problem, tol: float, solver: str, callback: Callback | None
) -> Relaxation | None:
    """The zero network with its certificate, where beta is at least beta_max."""
    known = "beta_max" in vars(problem)
    if (not known and problem.beta < problem.beta_max_estimate) or problem.beta < problem.beta_max:
        return None
    best = BestPoints(problem, solver, None, callback)
    best.offer_dual(-problem.loss.gradient(np.zeros(problem.n), problem.y), None)
    if best.gap > tol:
        return None
    message = f"beta {problem.beta:g} is at least beta_max {problem.beta_max:g}: the zero network"
    return best.relaxation("solved", message, {"iterations": 0.0})
