"""Training's units of work: the paths and joins of a plan, and how they are run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.configuration.kinds import differing_words
from pipeline.datasets.shards import ShardData, Split, shard_data
from pipeline.datasets.sources import Table
from pipeline.plans.study import Tools, Unit
from pipeline.plans.units import JoinSpec, PathSpec, Spec
from pipeline.results.folder import RunFolder
from pipeline.results.record import NetworkRow
from pipeline.sweeps.worker.steps import BetaJoined, ProblemDone
from qnn.features.noise import Noise
from qnn.features.preprocessing import FeatureLayout
from qnn.features.targets import ONE_VS_REST

S = TypeVar("S", PathSpec, JoinSpec)


@dataclass(frozen=True)
class SharedTable:
    """What all units share; a worker rebuilds a shard's matrices from it."""

    table: Table
    split: Split
    layout: FeatureLayout
    noise: Noise | None = None
    multi_class: str = ONE_VS_REST

    def shard(self, name: str) -> ShardData:
        """A shard as the solver sees it, with all its outputs."""
        rows = self.split.shard(name)
        return shard_data(self.table, self.layout, rows, self.split, self.noise, self.multi_class)


class _Planned(Generic[S]):
    """A unit for what is planned: it says what the plan says, and runs it."""

    spec: S

    @property
    def id(self) -> str:
        """The plan's id."""
        return self.spec.id

    @property
    def shard(self) -> str:
        """The shard's name."""
        return self.spec.shard

    @property
    def networks(self) -> int:
        """Number of networks."""
        return self.spec.networks

    @property
    def estimated_seconds(self) -> float:
        """Rough time on one core."""
        return self.spec.estimated_seconds

    @property
    def estimated_bytes(self) -> float:
        """Rough peak memory."""
        return self.spec.estimated_bytes

    def titles(self, units: Sequence[_Planned[S]]) -> list[str]:
        """Each path or join in a few words; its kind of problem where those differ."""
        kinds = list(dict.fromkeys(unit.spec.first.kind for unit in units))
        words = dict(zip(kinds, differing_words(kinds), strict=True))
        return [unit.spec.title(words[unit.spec.first.kind]) for unit in units]

    def lost_rows(self, error: str) -> list[NetworkRow]:
        """A failed row a trial."""
        from pipeline.sweeps.worker.rows import lost_rows

        return lost_rows(self.spec, error)


@dataclass(frozen=True)
class PathUnit(_Planned[PathSpec]):
    """A path that runs: one shard's (and output's) β from large to small."""

    spec: PathSpec

    @property
    def needs(self) -> tuple[Unit, ...]:
        """None."""
        return ()

    def run(self, data: SharedTable, folder: RunFolder, tools: Tools) -> Iterator[ProblemDone]:
        """Solve, round and write; as `run_path`."""
        from pipeline.sweeps.worker import path

        spec, shard = self.spec, data.shard(self.spec.shard)
        matrices = shard.output(spec.output) if spec.outputs > 1 else shard
        return path.run_path(spec, matrices, folder, tools.scanner, tools.say)


@dataclass(frozen=True)
class JoinUnit(_Planned[JoinSpec]):
    """A join that runs: the networks of a shard's outputs put together."""

    spec: JoinSpec

    @property
    def needs(self) -> tuple[Unit, ...]:
        """The paths of its outputs."""
        return tuple(map(PathUnit, self.spec.paths))

    def run(self, data: SharedTable, folder: RunFolder, tools: Tools) -> Iterator[BetaJoined]:
        """Read what the paths wrote and stack it; as `run_join`."""
        from pipeline.sweeps.worker import join

        return join.run_join(self.spec, data.shard(self.spec.shard), folder)


def unit_of(spec: Spec) -> PathUnit | JoinUnit:
    """A planned path or join as a unit that runs."""
    return JoinUnit(spec) if isinstance(spec, JoinSpec) else PathUnit(spec)
