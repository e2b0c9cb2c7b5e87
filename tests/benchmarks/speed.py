"""Speed against what a user would run: ``python -m tests.benchmarks.speed``, one thread.

Processor seconds without imports (both solve a tiny problem before), each of ours the first call
on its instance. Theirs is cvxpy with SCS on the paper's program, at the loosest tolerance whose
value lies within 1e-4 of our verified interval. ``--large`` adds the sizes on which SCS takes
minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import cvxpy as cp
import numpy as np
from threadpoolctl import threadpool_limits

from qnn.networks.atoms.maxima import signs
from qnn.training.fit import train
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.rounding.refit.second_layer import refit

Array = np.ndarray

SMALL, LARGE = ((20, 200), (40, 400)), ((60, 1000), (100, 1000))
FRACTIONS = (0.3, 0.1, 0.03, 0.01)
FIXED = 50.0
TOL, TOLERANCES = 1e-4, (1e-3, 1e-4, 1e-5, 1e-6)
DRAWS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    with threadpool_limits(1):
        tiny = dict(_problems(8, 60))["0.1"]
        _trained(tiny)
        _paper(tiny, *_solved(tiny))
        for part in arguments.parts:
            PARTS[part](SMALL + LARGE if arguments.large else SMALL)


def relaxations(sizes: tuple[tuple[int, int], ...]) -> None:
    """The relaxation to a verified gap of 1e-4, and the geometric mean of the ratios."""
    print("relaxation: ours (first call) and cvxpy+SCS, processor seconds")
    ratios = []
    for d, n in sizes:
        for name, problem in _problems(d, n):
            ours, found = _timed(_solved, problem)
            eps, theirs, _ = _paper(problem, *found)
            ratios.append(theirs / ours)
            print(
                f"  ({d}, {n}) {name:6} {ours:8.4f} {theirs:8.3f}  ratio {ratios[-1]:7.1f}  "
                f"SCS at {eps:.0e}",
                flush=True,
            )
    print(f"  geometric mean {_mean(ratios):.1f} over {len(ratios)}")


def networks(sizes: tuple[tuple[int, int], ...]) -> None:
    """`qnn.train`, and SCS's solution rounded by its eigenvectors and refitted, at 0.1."""
    print("network: qnn.train whole, and cvxpy+SCS with signs of its vectors and a refit")
    ratios = []
    for d, n in sizes:
        problem = dict(_problems(d, n))["0.1"]
        ours, objective = _timed(_trained, problem)
        _, found = _timed(_solved, problem)
        _, theirs, other = _paper(problem, *found, rounded=True)
        ratios.append(theirs / ours)
        print(
            f"  ({d}, {n}) {ours:8.3f} {theirs:8.3f}  ratio {ratios[-1]:6.1f}  objectives "
            f"{objective:.2f} {other:.2f}",
            flush=True,
        )
    print(f"  geometric mean {_mean(ratios):.1f} over {len(ratios)}")


def heavy_tails(sizes: tuple[tuple[int, int], ...]) -> None:
    """Spiky columns: `qnn.train` whole at 0.1, 0.03, 0.01 of beta_max."""
    print("heavy tails: qnn.train on standardized columns of zeros and log-normal numbers")
    for rows in (1000, 4601) if len(sizes) > len(SMALL) else (1000,):
        for fraction in (0.1, 0.03, 0.01):
            problem = spiky(rows)
            problem = problem.with_beta(fraction * problem.beta_max)
            started = time.process_time()
            trained = train(problem, seed=0)
            print(
                f"  ({rows}, 58) {fraction:5} {time.process_time() - started:7.2f} s  objective "
                f"{trained.objective:.3f}, gap {trained.gap:.4f}, {trained.network.neurons} "
                f"neurons, {trained.statistics['rounds']:.0f} rounds",
                flush=True,
            )


PARTS: dict[str, Callable[[tuple[tuple[int, int], ...]], None]] = {
    "relaxations": relaxations,
    "networks": networks,
    "heavy_tails": heavy_tails,
}


def spiky(rows: int, columns: int = 57, seed: int = 0) -> Problem:
    """Two classes; columns that are 0 in most rows and log-normal in the others; a constant one."""
    rng = np.random.default_rng(seed)
    target = rng.random(rows) < 0.4
    rate, shift = rng.uniform(0.03, 0.35, columns), rng.normal(0.0, 0.8, columns)
    odds = np.exp(np.where(target[:, None], shift, -shift))
    present = rng.random((rows, columns)) < np.clip(rate * odds, 0.01, 0.9)
    X = present * np.exp(rng.normal(0.0, 1.3, present.shape) + 0.3 * shift * target[:, None])
    X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(rows)])
    return Problem(X, np.where(target, 1.0, -1.0), 1.0)


def _problems(d: int, n: int) -> list[tuple[str, Problem]]:
    """A planted instance of this size at each beta."""
    rng = np.random.default_rng((d, n))
    X = rng.standard_normal((n, d))
    U, V = (signs(rng.standard_normal((d, 5))) for _ in range(2))
    y = ((X @ U) * (X @ V)) @ rng.standard_normal(5)
    y += 0.5 * y.std() * rng.standard_normal(n)
    problem = Problem(X, y, FIXED)
    betas = [(str(part), part * problem.beta_max) for part in FRACTIONS] + [("fixed", FIXED)]
    # Anew, so that nothing which one of them has found serves another.
    return [(name, Problem(X, y, beta)) for name, beta in betas]


def _solved(problem: Problem) -> tuple[float, float]:
    found = solve(problem, TOL)
    assert found.gap <= TOL
    return found.lower_bound, found.upper_bound


def _trained(problem: Problem) -> float:
    return train(problem, seed=0).objective


def _paper(
    problem: Problem, lower: float, upper: float, rounded: bool = False
) -> tuple[float, float, float]:
    """SCS's tolerance, the seconds, and the objective: the program's or the rounded network's."""
    X, y, (n, d) = problem.X, problem.y, problem.X.shape
    for eps in TOLERANCES:
        started = time.process_time()
        Q, rho = cp.Variable((2 * d, 2 * d), PSD=True), cp.Variable()
        design = (X[:, :, None] * X[:, None, :]).reshape(n, d * d)
        fitted = design @ cp.vec(Q[:d, d:], order="C")
        objective = 0.5 * cp.sum_squares(fitted - y) + problem.budget * rho
        program = cp.Problem(cp.Minimize(objective), [cp.diag(Q) == rho])
        program.solve(solver="SCS", eps=eps)
        value = float(program.value)
        if rounded:
            value = _rounded(problem, np.asarray(Q.value))
        seconds = time.process_time() - started
        outside = max(lower - float(program.value), float(program.value) - upper)
        if outside <= TOL * abs(upper):
            break
    return eps, seconds, value


def _rounded(problem: Problem, Q: Array) -> float:
    """Signs of Gaussian draws of covariance Q, by its eigenvectors, and a refit."""
    values, vectors = np.linalg.eigh(Q)
    rng = np.random.default_rng(0)
    draws = vectors @ (np.sqrt(np.maximum(values, 0.0))[:, None] * rng.normal(size=(len(Q), DRAWS)))
    d = problem.d
    U, V = signs(draws[:d]), signs(draws[d:])
    H = (problem.X @ U) * (problem.X @ V)
    return refit(problem.loss, H, problem.y, problem.budget).objective


def _timed(run: Callable[[Problem], Any], problem: Problem) -> tuple[float, Any]:
    """Processor seconds of the first call, and what it returns."""
    started = time.process_time()
    found = run(problem)
    return time.process_time() - started, found


def _mean(ratios: list[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios))))


if __name__ == "__main__":
    main()
