"""The dual point against the leaves of a tree: the gap over processor seconds, with its proof.

python -m tests.benchmarks.leaves [--cases german_credit:0.1 …] [--leaves 256]
                                  [--write docs/optima.md]

Of each case, a set of `optima.py` with a part of its largest β: the best network of any width, by
column generation until pricing from thousands of starts finds nothing; the tightened bound; then
leaves, so many at most, which makes the bounds the same on a busy machine and on a quiet one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qnn.certificates import Certificate, verify
from qnn.numerics.gaps import relative_gap
from qnn.training.pricing.exact import THOROUGH, settle
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.solver import Progress
from qnn.training.relaxation.tightening import branch, tighten
from qnn.training.rounding.candidate import Incumbent
from qnn.training.rounding.refined import column_generation
from qnn.training.rounding.sampling import sampler_of
from tests.benchmarks.measure import Stopwatch, machine, replace_table
from tests.benchmarks.optima import SETS

CASES = ("german_credit:0.1", "german_credit:0.03", "german_credit:0.3", "digits-3:0.03")
MARK = "<!-- table of leaves -->"
TIMES = (5.0, 20.0, 80.0, 160.0, 320.0, 600.0)
HEAD = (
    "| set | objective | tightened gap | s | "
    + " | ".join(f"{seconds:.0f} s" for seconds in TIMES)
    + " | last | leaves | s | MB | s to verify |\n"
    + "|---" * (9 + len(TIMES))
    + "|\n"
)


@dataclass
class Row:
    """What a case gives; seconds of one core, those of leaves counted from the tightened bound."""

    case: str
    objective: float
    tightened: float
    tightened_seconds: float
    reached: list[tuple[float, float]] = field(default_factory=list)

    def gap_at(self, seconds: float) -> str:
        """By then, or nothing where it had ended before."""
        gaps = [gap for at, gap in self.reached if at <= seconds]
        if not gaps:
            return f"{100 * self.tightened:.3f} %"
        return f"{100 * min(gaps):.3f} %" if self.reached[-1][0] > seconds else ""


def best_network(problem: Problem) -> tuple[Relaxation, Incumbent]:
    """The relaxation, and the network that pricing cannot better."""
    relaxation = solve(problem, tol=1e-3)
    rng = np.random.default_rng(0)
    wide, _ = column_generation(relaxation, rng)
    return relaxation, settle(wide, rng, sampler_of(relaxation), None, THOROUGH)[0]


def line(case: str, leaves: int, out: Path) -> str:
    name, part = case.split(":")
    X, y = SETS[name]()
    largest = Problem(X, y, 1.0)
    problem = largest.with_beta(float(part) * largest.beta_max)
    relaxation, wide = best_network(problem)
    watch = Stopwatch()
    tightened = tighten(relaxation, wide.objective)
    gap = relative_gap(wide.objective, tightened.certificate.lower_bound)
    row = Row(case, wide.objective, gap, watch.read().processor)
    watch = Stopwatch()

    def reached(progress: Progress) -> None:
        row.reached.append((watch.read().processor, progress.gap))
        print(case, f"{row.reached[-1][0]:.1f} s: {100 * progress.gap:.3f} %", flush=True)

    assert tightened.state is not None
    found = branch(
        tightened.state,
        tightened.certificate,
        wide.objective,
        callback=reached,
        most_leaves=leaves,
        threads=1,
    )
    path = out / f"{name}-{problem.beta:.6g}.leaves.npz"
    found.certificate.save(path)
    begin = time.process_time()
    assert verify(Certificate.load(path), X, y) >= found.certificate.lower_bound
    seconds = time.process_time() - begin
    gaps = " | ".join(map(row.gap_at, TIMES))
    return (
        f"| {name} {part} | {row.objective:.6f} | {100 * gap:.3f} % | {row.tightened_seconds:.0f} "
        f"| {gaps} | {100 * row.reached[-1][1]:.3f} % | {found.leaves} "
        f"| {row.reached[-1][0]:.0f} | {path.stat().st_size / 1e6:.1f} | {seconds:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), help="SET:PART of its largest β")
    parser.add_argument("--leaves", type=int, default=256, help="at most")
    parser.add_argument("--out", type=Path, default=Path("out/optima"), help="certificates")
    parser.add_argument("--write", type=Path, help="a document whose table is replaced")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for case in arguments.cases:
        lines.append(line(case, arguments.leaves, arguments.out))
        print(HEAD + lines[-1], flush=True)
    if arguments.write:
        replace_table(arguments.write, MARK, HEAD + "\n".join(lines) + f"\n\n({machine()})")


if __name__ == "__main__":
    main()
