"""Exact pricing `max uᵀMv` three ways: branch and bound, enumeration, and HiGHS as a MIP.

python -m tests.benchmarks.pricing [--limit 120]
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from qnn.training.pricing.branch_and_bound import branch_and_bound
from qnn.training.pricing.enumeration import enumerate_signs, scan_by_threads
from qnn.training.pricing.exact import settle
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding.refined import column_generation
from qnn.training.rounding.sampling import sampler_of
from tests.benchmarks.measure import machine
from tests.benchmarks.optima import SETS

# Beyond this many columns an enumeration is left out: 16 s at 34, twice as long for each more.
ENUMERATED = 34


def instances() -> Iterator[tuple[str, np.ndarray]]:
    """M at the optimal ν of real and planted sets (β / beta_max), where many atoms tie."""
    for name, fraction in (
        ("planted-12", 0.1),
        ("planted-16", 0.1),
        ("planted-20", 0.1),
        ("wdbc", 0.3),
        ("wdbc", 0.03),
        ("ionosphere", 0.3),
        ("digits-3", 0.3),
    ):
        X, y = SETS[name]()
        problem = Problem(X, y, 1.0)
        problem = problem.with_beta(fraction * problem.beta_max)
        relaxation = solve(problem, tol=1e-3)
        rng = np.random.default_rng(0)
        wide, _ = column_generation(relaxation, rng)
        wide, _ = settle(wide, rng, sampler_of(relaxation))
        yield f"{name} {fraction:g}", problem.lift.adjoint(wide.nu) / problem.budget


def mip(M: np.ndarray, limit: float) -> tuple[float, float]:
    """Best value and bound of HiGHS: `max Σ t_j, t_j ≤ |(Mu)_j|`, the sign of each row a binary.

    Variables u' (u = 2u' − 1), v' and t; `t_j ≤ ±(Mu)_j + 2 K_j (1 − v')` with K_j the row's sum.
    """
    d = len(M)
    K = np.abs(M).sum(axis=1)
    row = M.sum(axis=1)
    eye = np.eye(d)
    # t − 2Mu' + Mu(−1)… : t_j ≤ 2(Mu')_j − row_j + 2K_j(1 − v'_j), and the same for −Mu with v'_j.
    plus = np.hstack([-2.0 * M, 2.0 * np.diag(K), eye])
    minus = np.hstack([2.0 * M, -2.0 * np.diag(K), eye])
    constraints = LinearConstraint(
        np.vstack([plus, minus]), -np.inf, np.concatenate([2.0 * K - row, row])
    )
    found = milp(
        np.concatenate([np.zeros(2 * d), -np.ones(d)]),
        constraints=constraints,
        integrality=np.concatenate([np.ones(2 * d), np.zeros(d)]),
        # u and −u are one: the last entry of u is +1.
        bounds=Bounds(
            np.concatenate([np.zeros(d - 1), [1.0], np.zeros(2 * d)]),
            np.concatenate([np.ones(2 * d), K]),
        ),
        options={"time_limit": limit, "mip_rel_gap": 1e-5},
    )
    value = -np.inf if found.x is None else -float(found.fun)
    return value, -float(found.mip_dual_bound)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each method")
    limit = parser.parse_args().limit
    # Compiled before anything is timed.
    branch_and_bound(np.eye(12), 12.0)
    one_thread = partial(scan_by_threads, count=1)
    enumerate_signs(np.eye(12), scanner=one_thread)
    heads = ("M of", "d", "B&B s", "bound − 1", "nodes", "enumeration s", "HiGHS s", "bound − 1")
    print(f"| {' | '.join(heads)} |")
    print("|---" * 8 + "|")
    for name, M in instances():
        begin = time.monotonic()
        tree = branch_and_bound(M, 1.0 + 5e-6, begin + limit)
        branched = time.monotonic() - begin
        enumerated = "–"
        if len(M) <= ENUMERATED:
            begin = time.monotonic()
            enumerate_signs(M, scanner=one_thread)
            enumerated = f"{time.monotonic() - begin:.2f}"
        begin = time.monotonic()
        _, bound = mip(M, limit)
        print(
            f"| {name} | {len(M)} | {branched:.2f} | {tree.upper_bound - 1:.1e} | {tree.nodes} "
            f"| {enumerated} | {time.monotonic() - begin:.2f} | {bound - 1:.1e} |",
            flush=True,
        )
    print(f"\n({machine()}; one core each; limit {limit:g} s)")


if __name__ == "__main__":
    main()
