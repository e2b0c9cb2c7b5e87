"""Rounding at speed: ``python -m tests.benchmarks.rounding``, one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.training.problems.problem import Problem
from qnn.training.relaxation import Relaxation, solve
from qnn.training.rounding import round_relaxation
from tests.benchmarks.instances import make

WIDTHS = (8, 32, 128)


def main() -> None:
    with threadpool_limits(1):
        krivine()
        refined()


def krivine(neurons: int = 100_000) -> None:
    """Neurons drawn from the relaxation of (100, 1000)."""
    relaxation = solve(make("100,1000"), 1e-3)
    rng = np.random.default_rng(0)
    seconds = _best(lambda: round_relaxation(relaxation, neurons, rng, "krivine"), 3)
    print(f"Krivine: {neurons} neurons at d = 100: {seconds:.2f} s", flush=True)


def refined() -> None:
    """Column generation, refits and local search, against one cold solve of the relaxation."""
    print("refined rounding (columns, refits, local search) against one cold solve to 1e-4")
    print(f"{'instance':14} {'solve s':>8} " + " ".join(f"{f'{w} neurons':>12}" for w in WIDTHS))
    for instance in ("20,200", "40,400", "60,1000", "wdbc", "ionosphere"):
        problem = make(instance)
        fresh = Problem(problem.X, problem.y, problem.beta)
        cold = _best(partial(solve, fresh, 1e-4), 5)
        relaxation = solve(problem, 1e-4)
        parts = [_best(partial(_refine, relaxation, width), 3) for width in WIDTHS]
        print(f"{instance:14} {cold:8.4f} " + " ".join(f"{s:12.4f}" for s in parts), flush=True)


def _refine(relaxation: Relaxation, width: int) -> None:
    round_relaxation(relaxation, width, np.random.default_rng(0), "refined")


def _best(run: Callable[[], object], repeats: int) -> float:
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return float(best)


if __name__ == "__main__":
    main()
