"""The benchmark of the fallback: ADMM alone against the interior point, processor time, one thread.

It shows where 'auto' is right to begin with ADMM, and what the interior point saves where ADMM
stalls or takes its 20,000 iterations.
"""

from __future__ import annotations

import time

import numpy as np

from qnn.losses import LOSSES, MarginLoss
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from tests.benchmarks.instances import make

SHAPES = ("8,400", "20,200", "20,1000", "40,400")
FRACTIONS = (0.3, 0.01, 1e-4)


def fallbacks() -> None:
    """One row a shape and loss: milliseconds of ADMM, of the interior point, of 'auto'."""
    print(
        "processor milliseconds to a verified gap of 1e-4: ADMM / interior point / auto; * if not"
    )
    print(f"{'d,n':10} {'loss':14} " + " ".join(f"{fraction:>24g}" for fraction in FRACTIONS))
    for shape in SHAPES:
        for loss in LOSSES:
            cells = " ".join(_cell(_problem(shape, loss), fraction) for fraction in FRACTIONS)
            print(f"{shape:10} {loss:14} {cells}", flush=True)


def _problem(shape: str, loss: str) -> Problem:
    planted = make(shape)
    margin = issubclass(LOSSES[loss], MarginLoss)
    y = np.where(planted.y > 0.0, 1.0, -1.0) if margin else planted.y
    return Problem(planted.X, y, 1.0, loss=loss)


def _cell(problem: Problem, fraction: float) -> str:
    problem = problem.with_beta(fraction * problem.beta_max)
    shown = []
    for solver in ("admm", "interior-point", "auto"):
        start = time.process_time()
        found = solve(problem, 1e-4, solver=solver)
        open_ = "" if found.outcome == "solved" else "*"
        shown.append(f"{1e3 * (time.process_time() - start):.0f}{open_}")
    return f"{' / '.join(shown):>24}"
