"""Training's units of work: the paths and joins of a plan, and how they are run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from pipeline.configuration.kinds import differing_words
from pipeline.datasets.shards import ShardData, Split, shard_data
from pipeline.datasets.sources import Table
from pipeline.plans.study import Tools, Unit
from pipeline.plans.units import JoinSpec, PathSpec, Spec
from pipeline.results.folder import RunFolder
from pipeline.results.record import NetworkRow
from pipeline.sweeps.worker.steps import BetaJoined, ProblemDone
from qnn.features.preprocessing import FeatureLayout


@dataclass(frozen=True)
class SharedTable:
    """What all units share; a worker rebuilds a shard's matrices from it."""

    table: Table
    split: Split
    layout: FeatureLayout

    def shard(self, name: str) -> ShardData:
        """A shard as the solver sees it, with all its outputs."""
        return shard_data(self.table, self.layout, self.split.shard(name), self.split)


class PathUnit(PathSpec):
    """A path that runs: one shard's (and output's) β from large to small."""

    @property
    def needs(self) -> tuple[Unit, ...]:
        """None."""
        return ()

    def titles(self, units: Sequence[PathSpec]) -> list[str]:
        """Each path in a few words; its kind of problem where those differ."""
        return _titles(units)

    def run(self, data: SharedTable, folder: RunFolder, tools: Tools) -> Iterator[ProblemDone]:
        """Solve, round and write; as `run_path`."""
        from pipeline.sweeps.worker import path

        shard = data.shard(self.shard)
        matrices = shard.output(self.output) if self.outputs > 1 else shard
        return path.run_path(self, matrices, folder, tools.scanner)

    def lost_rows(self, error: str) -> list[NetworkRow]:
        """A failed row a trial."""
        return _lost_rows(self, error)


class JoinUnit(JoinSpec):
    """A join that runs: the networks of a shard's outputs put together."""

    @property
    def needs(self) -> tuple[Unit, ...]:
        """The paths of its outputs."""
        return tuple(unit_of(path) for path in self.paths)

    def titles(self, units: Sequence[JoinSpec]) -> list[str]:
        """Each join in a few words; its kind of problem where those differ."""
        return _titles(units)

    def run(self, data: SharedTable, folder: RunFolder, tools: Tools) -> Iterator[BetaJoined]:
        """Read what the paths wrote and stack it; as `run_join`."""
        from pipeline.sweeps.worker import join

        return join.run_join(self, data.shard(self.shard), folder)

    def lost_rows(self, error: str) -> list[NetworkRow]:
        """A failed row a trial."""
        return _lost_rows(self, error)


def unit_of(spec: Spec) -> PathUnit | JoinUnit:
    """A planned path or join as a unit that runs."""
    given = [getattr(spec, field.name) for field in fields(spec)]
    return JoinUnit(*given) if isinstance(spec, JoinSpec) else PathUnit(*given)


def _titles(specs: Sequence[Spec]) -> list[str]:
    kinds = list(dict.fromkeys(spec.first.kind for spec in specs))
    words = dict(zip(kinds, differing_words(kinds), strict=True))
    return [spec.title(words[spec.first.kind]) for spec in specs]


def _lost_rows(spec: Spec, error: str) -> list[NetworkRow]:
    from pipeline.sweeps.worker.rows import lost_rows

    return lost_rows(spec, error)
