"""A study's units: a block of behaviours, decided, its nearest verdicts proven again exactly."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.plans.ids import digest_of
from pipeline.plans.study import Step, Tools
from pipeline.results.folder import CERTIFICATES, RunFolder
from pipeline.results.ledger import write_results
from pipeline.studies.bell.behaviours import content_of, drawn, plane_grid
from pipeline.studies.bell.nearest import nearest
from pipeline.studies.bell.networks import Training, network_of
from pipeline.studies.bell.rows import ROWS, VERDICTS_FOLDER, BlockRow, verdict_table
from pipeline.sweeps.worker.rows import package_versions
from qnn.certificates.moments import verify_moments
from qnn.errors import CertificateError
from qnn.moments.bell import Decision, decide
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.words import Scenario
from qnn.semidefinite.predictors import Network

Array = np.ndarray

PLANE, FILE = "plane", "file"
# Seconds a behaviour at n = 9 words, its proof included, and how they grow with n: a B set.
_SECONDS, _GROWTH = 2e-5, 4.0


@dataclass(frozen=True)
class Block:
    """Behaviours `first` to `first + count` of a set, decided at one level with so many steps.

    `content`: the digest of what the set is made of where no seed says it; `points`: of the plane.
    `network`: the one that foretells where the steps start, to be trained or "shipped".
    """

    scenario: str
    level: str
    set: str
    seed: int | None
    first: int
    count: int
    steps: int
    fallback: str | None
    certificates: int
    content: str | None = None
    points: int | None = None
    network: Training | str | None = None
    networks: int = 1

    @cached_property
    def id(self) -> str:
        """From all that decides the rows."""
        network = [] if self.network is None else [getattr(self.network, "id", self.network)]
        return digest_of(
            ["bell", self.scenario, self.level, self.set, self.seed, self.first, self.count,
             self.steps, self.fallback, self.certificates, self.content, self.points, *network]
        )  # fmt: skip

    @property
    def needs(self) -> tuple[Training, ...]:
        """The network's training, where it starts from one that is trained."""
        return (self.network,) if isinstance(self.network, Training) else ()

    @property
    def shard(self) -> str:
        """Scenario, level and set."""
        return f"{self.scenario} {self.level} {self.set}"

    @property
    def estimated_seconds(self) -> float:
        """Rough time: a behaviour's grows with the words' fourth power; sampling B decides too."""
        n = moment_matrix(Scenario.parse(self.scenario), self.level).size
        passes = 4.0 if self.set == "B" else 1.0
        return 0.05 + passes * self.count * _SECONDS * (n / 9.0) ** _GROWTH

    @property
    def estimated_bytes(self) -> float:
        """The interpreter, and the block's coordinates a few times."""
        return 350e6 + 8.0 * 6.0 * self.count * len(Scenario.parse(self.scenario).coordinates)

    def titles(self, units: Sequence[Any]) -> list[str]:
        """Shard, steps, seed and rows."""
        return [unit.title for unit in units]

    @property
    def title(self) -> str:
        """The block in a few words."""
        seed = "" if self.seed is None else f" seed {self.seed},"
        return f"{self.shard},{seed}{self._network} {self.steps} steps, from {self.first}"

    @property
    def _network(self) -> str:
        if isinstance(self.network, Training):
            return f" network {self.network.words}, seed {self.network.seed},"
        return "" if self.network is None else f" network {self.network},"

    def behaviours(self, data: Array | None) -> Array:
        """(count, p); `data` are the file's, None without one."""
        part = slice(self.first, self.first + self.count)
        if self.set == FILE:
            assert data is not None
            return data[part]
        if self.set == PLANE:
            assert self.points is not None
            return plane_grid(Scenario.parse(self.scenario), self.points)[1][part]
        assert self.seed is not None
        return drawn(self.set, self.count, self.seed, self.first, self.scenario, self.level)

    def run(self, data: Array | None, folder: RunFolder, tools: Tools) -> Iterator[Step]:
        """Decide, write verdicts and certificates, and commit."""
        begin = time.perf_counter()
        b = self.behaviours(data)
        network = network_of(vars(self.row()), folder)
        # What compiles does so before the clock runs.
        self.decide(b[:1], network)
        start = time.process_time()
        decision = self.decide(b, network)
        spent = time.process_time() - start
        row = self._finished(decision, folder, spent, time.perf_counter() - begin)
        error = None if not row.refused else f"{row.refused} verdicts not proven exactly"
        yield Step(self.id, self.shard, 1, 0, None, row.seconds, error)
        write_results(folder, self.id, [vars(row)], ROWS)

    def decide(self, b: Array, network: Network | str | None = None) -> Decision:
        """Verdicts with the unit's settings."""
        return decide(
            b, self.scenario, self.level, fallback=self.fallback, steps=self.steps, model=network
        )

    def row(self) -> BlockRow:
        """A row of nothing but what the plan knows."""
        known = BlockRow(
            self.id, self.id, self.shard, self.scenario, self.level, self.set, self.seed,
            self.steps, self.fallback, self.first, self.count, versions=package_versions(),
        )  # fmt: skip
        if isinstance(self.network, Training):
            trained = self.network
            return replace(
                known, model=trained.words, model_seed=trained.seed, model_file=trained.file
            )
        return replace(known, model=self.network)

    def lost_rows(self, error: str) -> list[dict[str, Any]]:
        """One failed row."""
        return [vars(replace(self.row(), status="failed", error=error))]

    def _finished(
        self, decision: Decision, folder: RunFolder, spent: float, seconds: float
    ) -> BlockRow:
        names, refused = self._certify(decision, folder)
        table = f"{VERDICTS_FOLDER}/{self.id}.parquet"
        folder.write_table(table, verdict_table(decision, self.first))
        counts = counts_of(decision.verdict)
        return replace(
            self.row(),
            content=content_of(decision.behaviours),
            inside=counts["inside"],
            outside=counts["outside"],
            inconclusive=counts["inconclusive"],
            decided_share=1.0 - counts["inconclusive"] / self.count,
            by_steps=int((decision.stage == "steps").sum()),
            by_solver=int((decision.stage == "solver").sum()),
            mean_steps=float(decision.steps.mean()),
            certified=len(names) + refused,
            refused=refused,
            cpu_seconds=spent,
            cpu_per_1000=1000.0 * spent / self.count,
            verdicts=table,
            certificates=tuple(names),
            seconds=seconds,
        )

    def _certify(self, decision: Decision, folder: RunFolder) -> tuple[list[str], int]:
        """Write the certificates that rational arithmetic proves, and count the others."""
        names, refused = [], 0
        rows = nearest(
            decision.behaviours, decision.verdict, decision.steps, self.scenario, self.level,
            self.certificates,
        )  # fmt: skip
        for i in rows.tolist():
            try:
                certificate = decision.certificate(i)
                verify_moments(certificate, decision.behaviours[i], exact=True)
            except CertificateError:
                refused += 1
                continue
            names.append(f"{CERTIFICATES}/{self.id}-{self.first + i}.npz")
            folder.write(names[-1], certificate.to_bytes())
        return names, refused


def counts_of(verdict: Array) -> dict[str, int]:
    """How many of each verdict."""
    return {name: int((verdict == name).sum()) for name in ("inside", "outside", "inconclusive")}
