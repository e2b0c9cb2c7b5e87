"""Learned bounds against the solver on the same cells: quality, processor time, proofs.

``python -m tests.benchmarks --sections learned``. Cells are bootstrap shards of real or planted
rows times 12 β from 0.5 to 0.03 of beta_max; the four shards that maps are learned on are others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer

from qnn.certificates.record import Certificate
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import Relaxation, solve
from qnn.training.relaxation.learned import BoundMap, Bounds, learn
from tests.benchmarks.measure import recent_peak_bytes, restart_peak

Array = np.ndarray

FRACTIONS = np.geomspace(0.5, 0.03, 12)
TRAINING = 4
# Name, columns of the problem with its constant one, rows of a shard, shards measured.
CASES = (("wdbc", 11, 128, 16), ("wdbc", 11, 600, 8), ("planted", 16, 256, 6), ("wdbc", 24, 400, 3))


def shards(name: str, columns: int, rows: int, count: int) -> list[Problem]:
    """Bootstrap shards, standardized each, with a constant column."""
    rng = np.random.default_rng(0)
    if name == "wdbc":
        X, target = load_breast_cancer(return_X_y=True)
        X, y = X[:, : columns - 1], 2.0 * target - 1.0
    else:
        X = rng.standard_normal((2000, columns - 1))
        y = np.sign(X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * rng.standard_normal(len(X)))
    problems = []
    for _ in range(count):
        drawn = rng.integers(0, len(X), rows)
        part = (X[drawn] - X[drawn].mean(axis=0)) / X[drawn].std(axis=0)
        problems.append(Problem(np.column_stack([part, np.ones(rows)]), y[drawn], 1.0))
    return problems


def timed(work: Callable[[], Any], repeats: int = 2) -> tuple[float, Any]:
    """The least processor time of a few runs, and what came out."""
    least = np.inf
    for _ in range(repeats):
        started = time.process_time()
        found = work()
        least = min(least, time.process_time() - started)
    return least, found


def solved(problem: Problem, betas: Array, tol: float) -> list[Relaxation]:
    """The path, each β from the one before."""
    path: list[Relaxation] = []
    for beta in betas:
        start = path[-1] if path else None
        path.append(solve(problem.with_beta(beta), tol=tol, warm_start=start))
    return path


def learned() -> None:
    """A row a case: µs a cell of bounds, with proofs, with records, of the solver; gaps in %."""
    print("learned bounds: microseconds of processor time a cell; gap below the solver's bound")
    print(
        f"{'cells':22} {'central':>7} {'bounds':>7} {'proven':>7} {'records':>7} "
        f"{'1e-2':>7} {'1e-4':>7} {'ratio':>6} {'median':>7} {'p90':>7} {'most':>7} {'MiB':>6}"
    )
    for name, columns, rows, count in CASES:
        problems = shards(name, columns, rows, TRAINING + count)
        betas = [FRACTIONS * problem.beta_max for problem in problems]
        one = learn(problems[:TRAINING], betas[:TRAINING])
        _row(
            f"{name} ({columns}, {rows}) x {count * 12}", one, problems[TRAINING:], betas[TRAINING:]
        )


def _row(title: str, one: BoundMap, problems: list[Problem], betas: list[Array]) -> None:
    cells = len(problems) * len(FRACTIONS)
    pairs = list(zip(problems, betas, strict=True))
    resident = restart_peak()
    quick, _ = timed(lambda: [one(*pair) for pair in pairs], 5)
    memory = (recent_peak_bytes() - resident) / 2**20
    proving, lower = timed(lambda: np.array([one(*pair).lower_bounds for pair in pairs]), 5)
    recording, proofs = timed(lambda: [_certificates(one(*pair)) for pair in pairs], 5)
    coarse, _ = timed(lambda: [solved(*pair, 1e-2) for pair in pairs])
    fine, truth = timed(lambda: [solved(*pair, 1e-4) for pair in pairs])
    assert np.array_equal(lower, [[proof.lower_bound for proof in row] for row in proofs])
    best = np.array([[relaxation.lower_bound for relaxation in row] for row in truth])
    upper = np.array([[relaxation.upper_bound for relaxation in row] for row in truth])
    assert np.all(lower <= upper), "a bound above the relaxation's own value"
    gaps = 100.0 * (1.0 - lower / best)
    microseconds = [1e6 * spent / cells for spent in (quick, proving, recording, coarse, fine)]
    print(
        f"{title:22} {one.centrality:7.2f} "
        + " ".join(f"{value:7.0f}" for value in microseconds)
        + f" {coarse / proving:6.1f} {np.median(gaps):7.2f} "
        f"{np.percentile(gaps, 90):7.2f} {gaps.max():7.2f} {memory:6.1f}",
        flush=True,
    )


def _certificates(bounds: Bounds) -> list[Certificate]:
    return [bounds.certificate(cell) for cell in range(len(bounds.betas))]


if __name__ == "__main__":
    learned()
