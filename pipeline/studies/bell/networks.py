"""Networks that foretell where the steps start: each is trained as a unit of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.plans.ids import digest_of
from pipeline.plans.study import Step, Tools, Unit
from pipeline.results.folder import NETWORKS, RunFolder
from pipeline.results.ledger import write_results
from pipeline.studies.bell.rows import ROWS, TRAINING, BlockRow
from pipeline.sweeps.worker.rows import package_versions
from qnn.moments.bell import train_predictor
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.words import Scenario
from qnn.semidefinite.predictors import Network

# Seconds of a training step at n = 9 words with 64 hidden neurons, and how they grow with n.
_SECONDS, _GROWTH = 5e-3, 2.5
# Every how many steps a line is said, where somebody looks.
_SAID = 500


def network_of(row: Mapping[str, Any], folder: RunFolder) -> Network | str | None:
    """The network of a row, as `decide` takes it. InputError where its file is damaged."""
    file = row["model_file"]
    model: str | None = row["model"]
    return model if file is None else Network.from_bytes(folder.read(file), file)


@dataclass(frozen=True)
class Training:
    """A network for one scenario and level: hidden layers, steps of training, seed."""

    scenario: str
    level: str
    widths: tuple[int, ...]
    training: int
    seed: int
    needs: tuple[Unit, ...] = ()
    networks: int = 1

    @cached_property
    def id(self) -> str:
        """From all that decides the network."""
        return digest_of(
            ["bell network", self.scenario, self.level, self.widths, self.training, self.seed]
        )

    @property
    def file(self) -> str:
        """Where the network lies in the run's folder."""
        return f"{NETWORKS}/{self.id}.npz"

    @property
    def shard(self) -> str:
        """Scenario, level and that it is trained."""
        return f"{self.scenario} {self.level} {TRAINING}"

    @property
    def estimated_seconds(self) -> float:
        """Rough time: a step's grows with the words, more than with the network."""
        n = moment_matrix(Scenario.parse(self.scenario), self.level).size
        return 5.0 + self.training * _SECONDS * (n / 9.0) ** _GROWTH

    @property
    def estimated_bytes(self) -> float:
        """The interpreter and a pool of behaviours."""
        return 500e6

    def titles(self, units: Sequence[Any]) -> list[str]:
        """Shard, layers, steps and seed."""
        return [unit.title for unit in units]

    @property
    def title(self) -> str:
        """The network in a few words."""
        return f"{self.shard}: {self.words}, seed {self.seed}"

    @property
    def words(self) -> str:
        """Its architecture and training, as rows name it."""
        return f"{'-'.join(map(str, self.widths))} after {self.training} steps"

    def run(self, data: Any, folder: RunFolder, tools: Tools) -> Iterator[Step]:
        """Train, write the network, and commit."""
        start, begin = time.process_time(), time.perf_counter()

        def told(step: int, loss: float) -> None:
            if tools.say is not None and step % _SAID == 0:
                tools.say(f"{self.words}: step {step}, bound {loss:.5f}")

        network = train_predictor(
            self.scenario, self.level, self.training, self.seed, self.widths, told
        )
        folder.write(self.file, network.to_bytes())
        row = replace(
            self.row(),
            model_file=self.file,
            cpu_seconds=time.process_time() - start,
            seconds=time.perf_counter() - begin,
        )
        yield Step(self.id, self.shard, 1, 0, None, row.seconds, None)
        write_results(folder, self.id, [vars(row)], ROWS)

    def row(self) -> BlockRow:
        """A row of nothing but what the plan knows."""
        return BlockRow(
            self.id, self.id, self.shard, self.scenario, self.level, TRAINING, self.seed,
            0, None, 0, 0, model=self.words, model_seed=self.seed, versions=package_versions(),
        )  # fmt: skip

    def lost_rows(self, error: str) -> list[dict[str, Any]]:
        """One failed row."""
        return [vars(replace(self.row(), status="failed", error=error))]
