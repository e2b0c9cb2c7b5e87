"""A study's units: a block of rows, each asked about one network at one radius."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.datasets.examples import Examples, Network, network_of
from pipeline.plans.ids import digest_of
from pipeline.plans.study import Step, Tools, Unit
from pipeline.results.folder import CERTIFICATES, NETWORKS, RunFolder
from pipeline.results.ledger import write_results
from pipeline.studies.robustness.asked import Asked, Asker
from pipeline.studies.robustness.rows import ROWS, RobustRow
from pipeline.studies.robustness.subjects import Setting
from pipeline.sweeps.worker.rows import package_versions
from qnn.errors import InputError, QnnError
from qnn.robustness import Limits, Robustness

Subject = tuple[bytes, Examples]
# Seconds a row and hidden neuron or input: far from it where branching is long.
_SECONDS = 2e-4
# Proofs of a bisection.
_PROOFS = 10


@dataclass(frozen=True)
class Block:
    """Rows `first` to `first + count`; `digest` of the network's file, `content` of the rows.

    `radius`: the factor of `asked.radius`, which is 1, or by column; None: the largest of each row.
    """

    network: str
    digest: str
    content: str
    asked: Asked
    radius: float | None
    effort: str
    nodes: int
    first: int
    labels: tuple[str, ...]
    labelled: bool
    size: int
    setting: Setting | None = None
    solver: str = "auto"
    needs: tuple[Unit, ...] = ()

    @cached_property
    def id(self) -> str:
        """From all that decides the rows."""
        asked = self.asked
        own = [asked.norm, self.radius, asked.unit, self.effort, asked.limits, self.nodes]
        # What the first version did not have counts where it is used, so that its ids stay.
        by_name = dict(asked.radius) if isinstance(asked.radius, Mapping) else None
        more: list[object] = [asked.flips, by_name]
        further = more if any(more) or self.radius is None else []
        further = further if self.solver == "auto" else [*more, self.solver]
        return digest_of(
            ["robustness", self.network, self.digest, self.content, *own, self.first,
             self.networks, *further]
        )  # fmt: skip

    @property
    def networks(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def shard(self) -> str:
        """Network, norm and radius."""
        radius = "largest" if self.radius is None else f"{self.radius:g}"
        return f"{self.network} {self.asked.norm} {radius}"

    @property
    def estimated_seconds(self) -> float:
        """Rough time, by the network's size."""
        proofs = _PROOFS if self.radius is None else 1
        return 0.05 + proofs * self.networks * self.size * _SECONDS

    @property
    def estimated_bytes(self) -> float:
        """The interpreter, and matrices of the network's size."""
        return 300e6 + 8.0 * 20.0 * self.size**2

    def titles(self, units: Sequence[Block]) -> list[str]:
        """Network, norm, radius and rows."""
        return [f"{unit.shard} from row {unit.first}" for unit in units]

    def run(self, data: dict[str, Subject], folder: RunFolder, tools: Tools) -> Iterator[Step]:
        """Decide row by row, write certificates and the network, and commit."""
        content, examples = data[self.network]
        network = network_of(content)
        file = f"{NETWORKS}/{self.digest[:24]}.npz"
        folder.write(file, content)
        work, rows = _Work(self, network, examples, folder), []
        for blank in self.rows():
            begin = time.perf_counter()
            try:
                row = work.decided(replace(blank, network_file=file))
            except QnnError as error:
                row = replace(blank, status="failed", error=str(error))
            rows.append(replace(row, seconds=time.perf_counter() - begin))
            failed = int(row.status != "ok")
            yield Step(self.id, self.shard, 1, failed, None, rows[-1].seconds, row.error)
        write_results(folder, self.id, [vars(row) for row in rows], ROWS)

    def rows(self) -> list[RobustRow]:
        """Rows of nothing but what the plan knows."""
        versions, asked = package_versions(), self.asked
        limits = None if asked.limits is None else json.dumps(asked.limits)
        flips = json.dumps(asked.flips) if asked.flips else None
        setting = {} if self.setting is None else self.setting.columns
        return [
            RobustRow(
                f"{self.id}-{self.first + k}", self.id, self.shard, self.network, asked.norm,
                self.radius or 0.0, asked.unit, self.effort, limits, self.first + k, label,
                self.labelled, versions=versions, flips=flips, largest=self.radius is None,
                **setting,
            )
            for k, label in enumerate(self.labels)
        ]  # fmt: skip

    def lost_rows(self, error: str) -> list[dict[str, Any]]:
        """Failed rows."""
        return [vars(replace(row, status="failed", error=error)) for row in self.rows()]


class _Work:
    """A block's network and what all its rows share."""

    def __init__(
        self, block: Block, network: Network, examples: Examples, folder: RunFolder
    ) -> None:
        self.block, self.folder = block, folder
        search = Limits(nodes=block.nodes, solver=block.solver)
        self.asker = Asker(network, examples, block.asked, block.effort, search)

    def decided(self, row: RobustRow) -> RobustRow:
        """The row with all that is found out about it; its certificate in the folder."""
        if self.block.radius is not None:
            found = self.asker.certify(row.row, self.block.radius)
            return self._told(row, found, found)
        start = time.process_time()
        far = self.asker.furthest(row.row)
        attacked = None if far.attack is None else far.attacked
        row = replace(row, radius=far.certified, attacked_radius=attacked)
        told = self._told(row, far.proof, far.attack)
        return replace(told, cpu_seconds=time.process_time() - start)

    def _told(self, row: RobustRow, found: Robustness, attack: Robustness | None) -> RobustRow:
        if not np.isfinite([found.lower_bound, found.upper_bound]).all():
            raise InputError("its margins are not finite")
        asker, predicted = self.asker, self.asker.answers[row.row]
        certificate = f"{CERTIFICATES}/{row.trial}.npz"
        self.folder.write(certificate, found.certificate.to_bytes())
        question = found.certificate.question
        shaped = row.largest or isinstance(self.block.asked.radius, Mapping)
        return replace(
            row,
            predicted=str(predicted),
            correct=predicted == asker.label(row.row),
            verdict=found.verdict,
            proven=found.lower_bound,
            attack=found.upper_bound,
            nodes=found.nodes,
            cpu_seconds=found.seconds,
            example=json.dumps([question.numbers.tolist(), list(question.categories)]),
            radii=json.dumps(question.radii.tolist()),
            shape=json.dumps(asker.factors) if shaped else None,
            # By the network's own names, which are not the file's where it has no preprocessing.
            limits=row.limits and json.dumps(asker.means["limits"]),
            witness=None if attack is None else _witness(attack, asker.examples.names),
            certificate=certificate,
        )


def _witness(found: Robustness, names: tuple[str, ...]) -> str | None:
    """The witness as numbers and categories, in the question's order."""
    if found.witness is None:
        return None
    if not isinstance(found.witness, dict):
        return json.dumps([found.witness.tolist(), []])
    texts = [value for name, value in found.witness.items() if name not in names]
    return json.dumps([[found.witness[name] for name in names], texts])
