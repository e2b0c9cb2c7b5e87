"""Verdicts about Bell behaviours against Clarabel and SCS called directly, one thread.

python -m tests.benchmarks.bell [--million]

Both solvers get prepared matrices; SCS keeps its factorization. Times are processor time; ours hold
the checks of the input and the proof of every verdict, which the solvers' do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import scs
from scipy import sparse
from threadpoolctl import threadpool_limits

from qnn.certificates.moments import verify_moments
from qnn.moments import bell
from qnn.moments.bell.solver import GaugeSolver, triangle
from qnn.moments.hierarchy import MomentMatrix, moment_matrix
from qnn.moments.words import Scenario
from qnn.semidefinite.predictors import Network
from tests.benchmarks.measure import machine, peak_bytes

Array = np.ndarray

# Scenario, level, behaviours of ours, of the solvers.
CASES = (
    ("2222", "1", 20_000, 500),
    ("2222", "1+AB", 20_000, 500),
    ("2222", "2", 5_000, 200),
    ("3322", "1+AB", 2_000, 100),
    ("3322", "2", 400, 20),
)
# At most as many steps where the solver is not to take over, and a few more for the open ones.
COLD, LONGER = 10, 15


class Scs:
    """The gauge by SCS, its lower triangles column by column, one factorization for all."""

    def __init__(self, level: MomentMatrix, tolerance: float) -> None:
        count = level.free.count
        unit = level.assemble(np.zeros((count, len(level.behaviour))), np.eye(count))
        self.level, self.order = level, self._order(level.size)
        A = -triangle(np.concatenate([level.centre[None], unit]))[:, self.order].T
        data = {
            "A": sparse.csc_matrix(A),
            "b": np.zeros(len(A)),
            "c": np.append(1.0, np.zeros(count)),
        }
        self.solver = scs.SCS(
            data, {"s": [level.size]}, eps_abs=tolerance, eps_rel=tolerance, verbose=False
        )

    @staticmethod
    def _order(n: int) -> Array:
        column, row = np.tril_indices(n)
        return np.lexsort((column, row))

    def solve(self, b: Array) -> float:
        right = triangle(self.level.assemble(b, np.zeros(self.level.free.count))[None])[0]
        self.solver.update(b=right[self.order])
        return float(self.solver.solve(warm_start=False)["info"]["pobj"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", action="store_true", help="false verdicts over a million")
    parser.add_argument("--learning", type=int, metavar="STEPS", help="three networks, and cold")
    arguments = parser.parse_args()
    print(machine(), "- one thread")
    with threadpool_limits(1):
        steps()
        if arguments.learning:
            learning(arguments.learning)
            return
        print(f"\nmicroseconds a behaviour; 'open' what {COLD} and {LONGER} steps leave so")
        print(
            f"{'':18} {'ours':>8} {'cold':>8} {'open':>8} {'open':>8} {'Clarabel':>9} {'1e-9':>9} "
            f"{'SCS 1e-5':>9} {'ratio':>6} {'wrong':>6}"
        )
        for case in CASES:
            for name in bell.SETS if case[0] == "2222" else ("U", "B"):
                compare(name, *case)
        if arguments.million:
            million()
    print(f"peak memory {peak_bytes() / 2**20:.0f} MiB; {machine()}")


def steps() -> None:
    """What one completion step costs at n = 9: no verdict stops it."""
    b = bell.sample("N", 5_000)
    bell.decide(b[:10], fallback=None, gap=1e-9)
    seconds = best(lambda: bell.decide(b, fallback=None, gap=1e-9, steps=COLD), 3)
    taken = bell.decide(b, fallback=None, gap=1e-9, steps=COLD).steps.sum()
    print(f"a step at n = 9, proofs and checks included: {1e6 * seconds / taken:.2f} us")


def compare(name: str, scenario: str, level: str, count: int, few: int) -> None:
    """A row: the cascade with its fallback, the steps alone, and the solvers on the first few."""
    b = bell.sample(name, count, 0, scenario, level)
    bell.decide(b[:2], scenario, level)
    d = bell.decide(b, scenario, level)
    cold = bell.decide(b, scenario, level, fallback=None, steps=COLD)
    ours = best(lambda: bell.decide(b, scenario, level), 3) / count
    alone = best(lambda: bell.decide(b, scenario, level, fallback=None, steps=COLD), 3) / count
    matrix = moment_matrix(Scenario.parse(scenario), level)
    part = b[:few] - matrix.behaviour
    loose, tight = GaugeSolver(matrix, 1e-6), GaugeSolver(matrix, 1e-9)
    gauges = np.array([tight.solve(row)[0] for row in part])
    times = [best(lambda s=s: [s.solve(row) for row in part], 1) / few for s in (loose, tight)]
    other = Scs(matrix, 1e-5)
    times.append(best(lambda: [other.solve(row) for row in part], 1) / few)
    wrong = np.where(gauges <= 1.0, "inside", "outside") != d.verdict[:few]
    sure = (np.abs(gauges - 1.0) > 1e-7) & (d.verdict[:few] != "inconclusive")
    more = bell.decide(b, scenario, level, fallback=None, steps=LONGER)
    shares = [np.mean(d.verdict == "inconclusive") for d in (cold, more)]
    left = np.count_nonzero(d.verdict == "inconclusive")
    print(
        f"{scenario} {level:5} {name} n={matrix.size:<3} {1e6 * ours:8.1f} {1e6 * alone:8.1f} "
        f"{shares[0]:8.2%} {shares[1]:8.2%} {1e6 * times[0]:9.0f} {1e6 * times[1]:9.0f} "
        f"{1e6 * times[2]:9.0f} {times[0] / ours:6.1f} {np.count_nonzero(wrong & sure):6}"
        + (f"  ({left} left by the cascade)" if left else ""),
        flush=True,
    )


def learning(steps: int, scenario: str = "2222", level: str = "1+AB", count: int = 6_000) -> None:
    """Three networks against the cold steps; no solver after either, at most 10 steps."""
    arms: dict[str, Network | str | None] = {"cold": None, "shipped": "shipped"}
    for seed in range(3):
        start = time.process_time()
        arms[f"seed {seed}"] = bell.train_predictor(scenario, level, steps, seed)
        print(f"seed {seed}: {steps} steps in {time.process_time() - start:.0f} s", flush=True)
    for name in bell.SETS:
        b = bell.sample(name, count, 5, scenario, level)
        cold = 0.0
        for arm, model in arms.items():
            run = partial(bell.decide, b, scenario, level, fallback=None, model=model, steps=COLD)
            d, seconds = run(), best(run, 5) / count
            cold = cold or seconds
            open_share = np.mean(d.verdict == "inconclusive")
            print(
                f"{name} {arm:8} {1e6 * seconds:6.2f} us, {d.steps.mean():.2f} steps, "
                f"open {open_share:.2%}, cold / this {cold / seconds:.2f}",
                flush=True,
            )


def million(count: int = 1_000_000, nearest: int = 1000) -> None:
    """No false verdict: brackets of all, and the nearest to the boundary proven in fractions."""
    found, gauges = [], []
    start = time.process_time()
    for seed, name in enumerate(bell.SETS):
        part = count // 3 + (count % 3 if name == "U" else 0)
        b = bell.sample(name, part, seed + 100)
        d = bell.decide(b)
        closer = bell.decide(b, gap=1e-8, fallback=None)
        # Two runs with other steps and other points: their proven bounds must agree.
        assert (np.maximum(d.gauge_lower, closer.gauge_lower)
                <= np.minimum(d.gauge_upper, closer.gauge_upper)).all()  # fmt: skip
        counts = {v: int(np.count_nonzero(d.verdict == v)) for v in np.unique(d.verdict)}
        print(name, part, counts, flush=True)
        found.append(b)
        gauges.append(0.5 * (closer.gauge_lower + closer.gauge_upper))
    b, gauge = np.concatenate(found), np.concatenate(gauges)
    rows = np.argsort(np.abs(gauge - 1.0))[:nearest]
    d = bell.decide(b[rows])
    proven = [
        verify_moments(d.certificate(i), b[row], exact=True)
        for i, row in enumerate(rows)
        if d.verdict[i] != "inconclusive"
    ]
    print(
        f"nearest {nearest} (|g - 1| <= {np.abs(gauge[rows] - 1).max():.1e}): {len(proven)} proven "
        f"again in fractions, {nearest - len(proven)} inconclusive; "
        f"{time.process_time() - start:.0f} s of processor time"
    )


def best(run: Callable[[], object], repeats: int) -> float:
    """Least processor seconds of a few runs."""
    found = np.inf
    for _ in range(repeats):
        start = time.process_time()
        run()
        found = min(found, time.process_time() - start)
    return float(found)


if __name__ == "__main__":
    main()
