"""Ours and the general-purpose solvers on the same relaxation, each timed as a user waits for it.

Run as ``python -m tests.benchmarks.methods METHOD INSTANCE``: one method in its own process, which
prints a line of JSON: seconds (the least disturbed of the repeats), the value, the peak memory
above that of the imports and the data, and ours with its verified gap.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.training.problems.problem import Problem
from tests.benchmarks.instances import make
from tests.benchmarks.measure import recent_peak_bytes, restart_peak

Array = np.ndarray
Result = dict[str, Any]

EPS = 1e-6
TOL = 1e-4
#: seconds of repeats in all, and at most this many
PATIENCE, REPEATS = 3.0, 100


def ours(problem: Problem) -> Result:
    """From the arrays to a verified gap: checking them, hashing, solving, certifying."""
    from qnn.training.relaxation import solve

    fresh = Problem(problem.X, problem.y, problem.beta)
    found = solve(fresh, TOL)
    return {
        "value": found.upper_bound,
        "gap": found.gap,
        "iterations": found.statistics["iterations"],
        "solver": found.solver,
        "outcome": found.outcome,
    }


def _paper(problem: Problem, solver: str, options: dict[str, Any]) -> Result:
    """The 2d x 2d program as the paper prints it."""
    import cvxpy as cp

    X, y, (n, d) = problem.X, problem.y, problem.X.shape
    Q, rho = cp.Variable((2 * d, 2 * d), PSD=True), cp.Variable()
    design = (X[:, :, None] * X[:, None, :]).reshape(n, d * d)
    fitted = design @ cp.vec(Q[:d, d:], order="C")
    objective = 0.5 * cp.sum_squares(fitted - y) + problem.budget * rho
    program = cp.Problem(cp.Minimize(objective), [cp.diag(Q) == rho])
    program.solve(solver=solver, **options)
    return _reported(program)


def paper_scs(problem: Problem) -> Result:
    """cvxpy and SCS on the paper's form."""
    return _paper(problem, "SCS", {"eps": EPS})


def paper_clarabel(problem: Problem) -> Result:
    """cvxpy and Clarabel on the paper's form, at Clarabel's own tolerances."""
    return _paper(problem, "CLARABEL", {})


def reduced_scs(problem: Problem) -> Result:
    """cvxpy and SCS on our symmetric reduction."""
    import cvxpy as cp

    X, y, (n, d) = problem.X, problem.y, problem.X.shape
    P, N, rho = cp.Variable((d, d), PSD=True), cp.Variable((d, d), PSD=True), cp.Variable()
    design = (X[:, :, None] * X[:, None, :]).reshape(n, d * d)
    fitted = design @ cp.vec(P - N, order="C")
    objective = 0.5 * cp.sum_squares(fitted - y) + problem.budget * rho
    program = cp.Problem(cp.Minimize(objective), [cp.diag(P) + cp.diag(N) == rho])
    program.solve(solver="SCS", eps=EPS)
    return _reported(program)


def _reported(program: Any) -> Result:
    return {
        "value": float(program.value),
        "outcome": program.status,
        "iterations": float(program.solver_stats.num_iters),
        "solve_seconds": float(program.solver_stats.solve_time),
    }


def direct_scs(problem: Problem) -> Result:
    """SCS itself on prepared sparse data of the reduction; only its set-up and solve are timed.

    Variables rho, r (n), svec(P), svec(N): ``min r'r/2 + B rho``, ``A(P - N) - r = y``,
    ``diag(P) + diag(N) = rho``, P and N in their cones.
    """
    import scs
    from scipy import sparse

    X, y, (n, d) = problem.X, problem.y, problem.X.shape
    column, row = np.triu_indices(d)
    triangle = len(row)
    weights = np.where(row == column, 1.0, np.sqrt(2.0))
    design = sparse.csc_matrix(X[:, row] * X[:, column] * weights)
    position = np.flatnonzero(row == column)
    pick = sparse.csc_matrix((np.ones(d), (np.arange(d), position)), shape=(d, triangle))
    eye = sparse.identity(triangle, format="csc")
    A = sparse.bmat(
        [
            [sparse.csc_matrix((n, 1)), -sparse.identity(n), design, -design],
            [-np.ones((d, 1)), None, pick, pick],
            [None, None, -eye, None],
            [None, None, None, -eye],
        ],
        format="csc",
    )
    quadratic = np.zeros(A.shape[1])
    quadratic[1 : 1 + n] = 1.0
    data = {
        "P": sparse.diags(quadratic, format="csc"),
        "A": A,
        "b": np.concatenate([y, np.zeros(d + 2 * triangle)]),
        "c": np.concatenate([[problem.budget], np.zeros(n + 2 * triangle)]),
    }
    start = time.perf_counter()
    solver = scs.SCS(data, {"z": n + d, "s": [d, d]}, eps_abs=EPS, eps_rel=EPS, verbose=False)
    found = solver.solve()
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "value": float(found["info"]["pobj"]),
        "outcome": found["info"]["status"],
        "iterations": float(found["info"]["iter"]),
    }


METHODS: dict[str, Callable[[Problem], Result]] = {
    "ours": ours,
    "paper+SCS": paper_scs,
    "paper+Clarabel": paper_clarabel,
    "reduced+SCS": reduced_scs,
    "SCS alone": direct_scs,
}


def main(method: str, name: str) -> None:
    """Warm up on a tiny problem, then repeat; print the least disturbed time."""
    with threadpool_limits(1):
        run = METHODS[method]
        run(make("3,10"))
        problem = make(name)
        baseline = restart_peak()
        started, seconds, result = time.perf_counter(), [], {}
        while len(seconds) < REPEATS and time.perf_counter() - started < PATIENCE:
            begin = time.perf_counter()
            result = run(problem)
            seconds.append(result.get("seconds", time.perf_counter() - begin))
        result |= {"seconds": min(seconds), "bytes": recent_peak_bytes() - baseline}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
