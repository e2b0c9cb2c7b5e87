"""The one unit of a distributed sweep: all βs over the same blocks, each kept as it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.datasets.blocks.reader import BlockTable, Reading
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.datasets.blocks.statistics import StatisticsPass, fit, merge_tables
from pipeline.datasets.blocks.targets import TargetReading
from pipeline.logs.messages import one_line
from pipeline.plans.ids import digest_of
from pipeline.plans.study import Step, Tools, Unit
from pipeline.results.folder import CERTIFICATES, NETWORKS, RunFolder
from pipeline.results.ledger import write_results
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.studies.distributed.rows import ROWS, BlocksRow
from pipeline.studies.distributed.state import PathState
from pipeline.sweeps.cluster.block_actors import ActorBlocks, TableBlocks, actor_blocks
from pipeline.sweeps.worker.rows import package_versions
from qnn.errors import CertificateError, InputError
from qnn.features.preprocessing import Preprocessing
from qnn.losses import get_loss
from qnn.numerics.gaps import relative_gap
from qnn.training.relaxation.blocks.compressed import Compressed
from qnn.training.relaxation.blocks.low_rank import Scan
from qnn.training.relaxation.blocks.solve import first_pass, solve_blocks
from qnn.training.rounding.over_blocks import round_blocks

SHARD = "all rows"
# Processor seconds of a row and a pass, a column: rough.
_SECONDS = 3e-8

Held = TableBlocks | ActorBlocks


@dataclass(frozen=True)
class BlocksPath:
    """All βs of a config over the rows of `groups`, `names` with the target last."""

    config: DistributedConfig
    groups: RowGroups
    names: tuple[str, ...]
    needs: tuple[Unit, ...] = ()
    shard: str = SHARD

    @cached_property
    def id(self) -> str:
        """From what decides the rows: not from the files' names, or who holds the blocks."""
        config = self.config.model_dump(mode="json")
        blocks = config.pop("distributed")["blocks"]
        for name in ("name", "tracking", "resources"):
            config.pop(name)
        config["data"].pop("source")
        for name in ("compact", "columns"):  # without a value here, and younger than the first ids
            config["preprocessing"].pop(name)
        return digest_of(["distributed", config, blocks, self.groups.rows, list(self.names)])

    @property
    def networks(self) -> int:
        """One a β."""
        return len(self.config.beta.points)

    @property
    def estimated_seconds(self) -> float:
        """Rough: a few passes a β."""
        d = len(self.names)
        return 1.0 + _SECONDS * self.groups.rows * d * (d + 3 * self.networks)

    @property
    def estimated_bytes(self) -> float:
        """The interpreter and the sums of the compressed problem; rows are with the actors."""
        return 400e6 + 8.0 * 6.0 * (len(self.names) ** 2 / 2.0) ** 2

    def titles(self, units: Sequence[BlocksPath]) -> list[str]:
        """There is one."""
        return [f"{unit.config.loss} over {unit.groups.rows} rows" for unit in units]

    def run(self, data: None, folder: RunFolder, tools: Tools) -> Iterator[Step]:
        """A first pass or two, then β by β from large to small; what is done is not done again."""
        state = PathState(folder, self.id)
        with self._blocks() as blocks:
            blocks.reading = self._reading(blocks, state)
            loss, tol = get_loss(self.config.loss), self.config.relaxation.tol
            first = state.first()
            if first is None:
                blocks.reading = replace(blocks.reading, checksums=state.checksums())
                first = first_pass(blocks, loss, tol)
                blocks.reading = replace(blocks.reading, checksums=())
                state.keep_first(first)
            rows = []
            for row in self._solved(blocks, first, state, folder):
                rows.append(row)
                failed = int(row.status != "ok")
                yield Step(self.id, SHARD, 1, failed, row.gap, row.seconds, row.error)
        write_results(folder, self.id, rows, ROWS)

    @contextmanager
    def _blocks(self) -> Iterator[Held]:
        """On the actors of the Ray that this process has joined; where there is none, here."""
        asked = self.config.distributed
        table = BlockTable.of(self.groups, self.names, asked.blocks)
        ray = sys.modules.get("ray")
        if ray is None or not ray.is_initialized():
            yield TableBlocks(table, asked.memory)
            return
        with actor_blocks(table, asked.actors, asked.memory, asked.restarts) as blocks:
            yield blocks

    def _reading(self, blocks: Held, state: PathState) -> Reading:
        preprocessing = state.preprocessing()
        if preprocessing is None:
            target = self.config.data.targets[0]
            classes = self.config.task == "classification"
            asked = self.config.asked
            work = StatisticsPass(target, classes, asked, blocks.table.cuts)
            found = blocks.reduce(work, merge_tables)
            preprocessing = fit(found, target, self.config.data.positive, asked)
            state.keep_preprocessing(preprocessing, found.checksums)
        return reading_of(self.config, preprocessing)

    def _solved(
        self, blocks: Held, first: Compressed | Scan, state: PathState, folder: RunFolder
    ) -> Iterator[BlocksRow]:
        last: tuple[np.ndarray, np.ndarray] | None = None
        for index, point in enumerate(self.config.beta.points):
            done = state.finished(index)
            if done is not None and all(map(folder.exists, _files_of(done[0]))):
                last = done[1:]
                yield BlocksRow(**done[0])
                continue
            began = time.perf_counter()
            assert blocks.reading is not None
            blank = replace(self._blank(index), d=blocks.reading.preprocessing.layout.d)
            try:
                beta = point.resolve(first.beta_max)
                blank = replace(blank, beta=beta.value, beta_fraction=beta.fraction)
                row, last = self._trained(blocks, first, blank, last, folder)
            except (CertificateError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                row = replace(blank, status="failed", error=one_line(error))
            row = replace(row, seconds=time.perf_counter() - began)
            if row.status == "ok" and last is not None:
                state.keep_finished(index, asdict(row), *last)
            yield row

    def _trained(
        self,
        blocks: Held,
        first: Compressed | Scan,
        blank: BlocksRow,
        last: tuple[np.ndarray, np.ndarray] | None,
        folder: RunFolder,
    ) -> tuple[BlocksRow, tuple[np.ndarray, np.ndarray]]:
        loss, asked = get_loss(self.config.loss), self.config.relaxation
        assert blocks.reading is not None
        before = replace(blocks.traffic) if isinstance(blocks, ActorBlocks) else None
        assert blank.beta is not None
        relaxed = solve_blocks(
            blocks, blank.beta, asked.tol, loss, asked.time_limit, None, first, last
        )
        found = round_blocks(blocks, relaxed, loss, first, self.config.seed)
        network = replace(found.network, preprocessing=blocks.reading.preprocessing)
        certificate = relaxed.certificate
        row = replace(
            blank,
            lower_bound=certificate.lower_bound,
            upper_bound=found.objective,
            relaxation=relaxed.upper_bound,
            gap=relative_gap(found.objective, certificate.lower_bound),
            relaxation_gap=relaxed.gap,
            neurons=network.neurons,
            bytes=network.size_in_bytes,
            root=certificate.data_sha256,
            solver=relaxed.message,
            passes=relaxed.passes,
            network=f"{NETWORKS}/{blank.trial}.npz",
            certificate=f"{CERTIFICATES}/{blank.trial}.npz",
        )
        if before is not None and isinstance(blocks, ActorBlocks):
            now = blocks.traffic
            row = replace(
                row,
                passes=now.passes - before.passes,
                sent=now.sent - before.sent,
                received=now.received - before.received,
                actor_seconds=now.total_seconds - before.total_seconds,
            )
        folder.write(f"{NETWORKS}/{blank.trial}.npz", network.to_bytes())
        folder.write(f"{CERTIFICATES}/{blank.trial}.npz", certificate.to_bytes())
        return row, (relaxed.P, relaxed.N)

    def _blank(self, index: int) -> BlocksRow:
        asked = self.config.distributed
        beta = self.config.beta.points[index]
        count = min(asked.blocks, self.groups.rows)
        return BlocksRow(
            f"{self.id}-{index}", self.id, SHARD, self.groups.rows, 0, count,
            min(asked.actors, count), self.config.loss, beta.value, beta.fraction,
            versions=package_versions(),
        )  # fmt: skip

    def lost_rows(self, error: str) -> list[dict[str, Any]]:
        """A failed row a β."""
        return [
            asdict(replace(self._blank(index), status="failed", error=error))
            for index in range(self.networks)
        ]


def reading_of(config: DistributedConfig, preprocessing: Preprocessing) -> Reading:
    """How rows are read: features as fitted, and one class against the others where asked."""
    one = preprocessing.classes == (False, True) and config.data.positive is not None
    positive = config.data.positive if one else None
    target = TargetReading(config.data.targets[0], preprocessing.target, positive)
    return Reading(preprocessing, target)


def _files_of(row: Mapping[str, Any]) -> list[str]:
    """The files of a finished β: one that was lost since is made again, with the same bits."""
    return [row[name] for name in ("certificate", "network") if row[name]]
