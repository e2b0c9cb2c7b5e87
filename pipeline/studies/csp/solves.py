"""A study's units: an instance, bounded by so many rounds of a rule or by the exact tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.plans.ids import digest_of
from pipeline.plans.study import Step, Tools, Unit
from pipeline.results.folder import CERTIFICATES, RunFolder
from pipeline.results.ledger import write_results
from pipeline.studies.csp.rows import ROWS, SolveRow
from pipeline.sweeps.worker.rows import package_versions
from qnn.moments.csp import Crew, MaxCSP, Solution

PROBLEMS = "problems"
# Seconds of a leaf of 100 signs, which grow with their cube.
_SECONDS = 0.5
# Leaves of an exact tree, of which nobody knows the number before.
_EXACT_LEAVES = 20


@dataclass(frozen=True)
class Solve:
    """The instance `shard`, whose payoffs have the digest `content`, solved once.

    rounds: of conditioning; None: the tree goes on until the maximum is proven or time is over.
    """

    shard: str
    content: str
    n: int
    k: int
    pairs: int
    rounds: int | None
    rule: str
    cuts: str
    seed: int
    time_limit: float | None
    needs: tuple[Unit, ...] = ()
    networks: int = 1

    @cached_property
    def id(self) -> str:
        """From all that decides the row."""
        return digest_of(["csp", self.shard, self.content, self.rounds, self.rule, self.cuts,
                          self.seed, self.time_limit])  # fmt: skip

    @property
    def estimated_seconds(self) -> float:
        """Rough time: of a leaf, times the tree's leaves."""
        rounds = self.rounds
        leaves = _EXACT_LEAVES if rounds is None else min(self.k ** min(rounds, self.n), 4096)
        total = 0.2 + leaves * _SECONDS * (self.n * (self.k - 1) / 100.0) ** 3
        return total if self.time_limit is None else min(total, self.time_limit)

    @property
    def estimated_bytes(self) -> float:
        """The interpreter, and some dense matrices."""
        return 350e6 + 8.0 * 12.0 * float(self.n * self.k) ** 2

    def titles(self, units: Sequence[Solve]) -> list[str]:
        """Instance, rounds, rule and seed."""
        return [f"{u.shard}, {depth(u.rounds)}, {u.rule}, seed {u.seed}" for u in units]

    def run(
        self, data: Mapping[str, MaxCSP], folder: RunFolder, tools: Tools
    ) -> Iterator[Step]:  # fmt: skip
        """Solve, write the problem and the certificate, and commit."""
        problem = data[self.content]
        solution = self._solved(problem, tools.crew)
        certificate = solution.certificate.to_bytes()
        row = self._finished(solution, len(certificate))
        assert row.problem is not None
        assert row.certificate is not None
        folder.write(row.problem, problem.payoffs.to_bytes())
        folder.write(row.certificate, certificate)
        yield Step(self.id, self.shard, 1, 0, row.gap, row.seconds, None)
        write_results(folder, self.id, [row], ROWS)

    def row(self) -> SolveRow:
        """A row of nothing but what the plan knows."""
        return SolveRow(
            self.id, self.id, self.shard, self.n, self.k, self.pairs, self.content, self.rounds,
            self.rule, self.cuts, self.seed, self.time_limit, versions=package_versions(),
        )  # fmt: skip

    def lost_rows(self, error: str) -> list[dict[str, Any]]:
        """One failed row."""
        return [vars(replace(self.row(), status="failed", error=error))]

    def _solved(self, problem: MaxCSP, crew: Crew | None) -> Solution:
        if self.rounds is None:
            return problem.prove(self.time_limit, self.rule, self.cuts, self.seed, crew=crew)
        return problem.solve(self.rounds, self.rule, self.time_limit, self.cuts, self.seed)

    def _finished(self, solution: Solution, size: int) -> SolveRow:
        s = solution
        return replace(
            self.row(),
            upper_bound=s.upper_bound,
            value=s.value,
            gap=relative_gap(s.upper_bound, s.value),
            optimal=s.optimal,
            assignment=tuple(s.assignment.tolist()),
            seeds=s.seeds,
            nodes=s.nodes,
            leaves=s.leaves,
            cuts=s.cuts,
            expected=s.expected,
            derandomized=s.derandomized,
            propagated=s.propagated,
            threshold_rank=s.threshold_rank,
            guarantee=s.guarantee,
            local_correlation=s.local_correlation,
            global_correlation=s.global_correlation,
            problem=f"{PROBLEMS}/{self.content}.npz",
            certificate=f"{CERTIFICATES}/{self.id}.npz",
            seconds=s.seconds,
            bytes=size,
        )


def depth(rounds: int | None) -> str:
    """How a solve went about it, in words."""
    return "exact" if rounds is None else f"{rounds} rounds"


def relative_gap(bound: float, value: float) -> float:
    """`(bound − value) / max(|value|, 1)`, never negative."""
    return max(bound - value, 0.0) / max(abs(value), 1.0)
