"""A path of betas and the reachable accuracy, ours alone.

Run as ``python -m tests.benchmarks.paths``. The path: 30 betas, log-spaced over 3 decades below
beta_max, warm-started along, each to a verified gap of 1e-3, against one cold solve in its middle.
"""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.problem import Problem
from qnn.solvers import Relaxation, solve
from tests.benchmarks.instances import make

PATHS = ("20,200", "60,1000", "wdbc")
ACCURACY = ("20,200", "40,400", "60,1000", "wdbc")


def path_seconds(problem: Problem, betas: np.ndarray, tol: float) -> tuple[float, float]:
    """Seconds of the warm-started path, and its largest verified gap."""
    begin, previous, worst = time.perf_counter(), None, 0.0
    for beta in betas:
        found: Relaxation = solve(problem.with_beta(beta), tol, warm_start=previous)
        previous, worst = found, max(worst, found.gap)
    return time.perf_counter() - begin, worst


def main() -> None:
    """Print a line for each path and for each accuracy."""
    with threadpool_limits(1):
        solve(make("3,10"))
        for name in PATHS:
            problem = make(name)
            betas = problem.beta_max * np.geomspace(0.999, 0.001, 30)
            begin = time.perf_counter()
            solve(problem.with_beta(betas[15]), 1e-3)
            cold = time.perf_counter() - begin
            seconds, worst = path_seconds(problem, betas, 1e-3)
            print(
                f"path of 30 betas  {name:>8}  {seconds:7.3f} s, largest gap {worst:.1e}; one cold "
                f"solve in the middle {cold:.3f} s: ratio {seconds / cold:.1f}"
            )
        for name in ACCURACY:
            problem = make(name)
            begin = time.perf_counter()
            found = solve(problem, 1e-8, time_limit=30.0)
            seconds = time.perf_counter() - begin
            print(f"verified gap 1e-8  {name:>8}  {seconds:7.3f} s, gap {found.gap:.1e}")


if __name__ == "__main__":
    main()
