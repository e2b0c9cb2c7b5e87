"""What a study of Bell scenarios will do: its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from pipeline.plans.description import axis, description, rough_time
from pipeline.plans.study import NothingFollows, Unit
from pipeline.studies.bell.behaviours import content_of, plane_grid, read_behaviours
from pipeline.studies.bell.blocks import FILE, PLANE, Block
from pipeline.studies.bell.config import BellConfig, NetworksConfig
from pipeline.studies.bell.networks import Training
from pipeline.studies.bell.rows import SHIPPED
from qnn.errors import InputError
from qnn.moments.bell.predictor import shipped
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.words import Scenario

Array = np.ndarray


@dataclass(frozen=True)
class BellPlan(NothingFollows):
    """The networks to be trained, the blocks, and the file's behaviours where there is one."""

    config: BellConfig
    trainings: tuple[Training, ...]
    blocks: tuple[Block, ...]
    data: Array | None

    @property
    def units(self) -> tuple[Unit, ...]:
        """Trainings and blocks."""
        return (*self.trainings, *self.blocks)

    def describe(self) -> str:
        """The axes, and how much work that is."""
        config = self.config
        axes = [
            axis("scenarios", config.scenarios),
            axis("levels", config.levels),
            axis("steps", config.steps),
            *self._networks(),
            axis("sets", config.data.sets or (config.data.source,)),
            axis("seeds", config.data.seeds),
        ]
        count = sum(block.count for block in self.blocks)
        seconds = sum(unit.estimated_seconds for unit in self.units)
        kept = config.certificates
        work = f"{count} verdicts in {len(self.blocks)} blocks, {rough_time(seconds)} of one core"
        proofs = f"every verdict; {kept} of a block again in rational arithmetic, kept"
        facts = [("work", f"{work} (rough)"), ("proofs", proofs)]
        if self.trainings:
            trainings = f"{len(self.trainings)} networks, without any solved program"
            facts.insert(0, ("trained first", trainings))
        return description(f"study {config.name}: Bell scenarios", axes, facts)

    def _networks(self) -> list[tuple[str, int, str]]:
        if self.config.networks is None:
            return []
        named = dict.fromkeys(block.row().model or "none" for block in self.blocks)
        return [axis("networks", tuple(named))]


def prepare(config: BellConfig) -> BellPlan:
    """Read the file, if any, and plan. Raises InputError for what is no scenario, or too large."""
    scenarios = [Scenario.parse(name).name for name in dict.fromkeys(config.scenarios)]
    for scenario, level in product(scenarios, config.levels):
        moment_matrix(Scenario.parse(scenario), level)
    data = None
    if config.data.source is not None:
        data = read_behaviours(config.data.source, scenarios[0])
        for scenario in scenarios[1:]:
            read_behaviours(config.data.source, scenario)
    else:
        _refuse_sets(scenarios)
    blocks = [
        block
        for scenario, level in product(scenarios, dict.fromkeys(config.levels))
        for network, steps in product(
            _networks(config.networks, scenario, level), sorted(set(config.steps))
        )
        for block in _blocks(config, data, scenario, level, steps, network)
    ]
    trainings = {need.id: need for block in blocks for need in block.needs}
    return BellPlan(config, tuple(trainings.values()), tuple(blocks), data)


def _refuse_sets(scenarios: list[str]) -> None:
    for name in scenarios:
        scenario = Scenario.parse(name)
        if scenario.parties != 2 or set(scenario.outcomes) != {2}:
            raise InputError(
                f"data.sets: are of two parties with two outcomes each, not of {name}; give "
                "behaviours of it in a Parquet file (data.source)"
            )


def _networks(
    config: NetworksConfig | None, scenario: str, level: str
) -> list[Training | str | None]:
    """The networks that blocks of a level start from; None: no network."""
    if config is None:
        return [None]
    matrix = moment_matrix(Scenario.parse(scenario), level)
    found: list[Training | str | None] = [None] if config.cold else []
    if config.shipped:
        shipped(matrix)
        found.append(SHIPPED)
    for widths, training, seed in product(config.widths, config.training, config.seeds):
        network = Training(scenario, level, widths, training, seed)
        found += [] if network in found else [network]
    if config.widths and set(matrix.scenario.outcomes) != {2}:
        raise InputError(
            f"networks.widths: they are for parties with two outcomes each, not for {scenario}"
        )
    return found


def _blocks(
    config: BellConfig,
    data: Array | None,
    scenario: str,
    level: str,
    steps: int,
    network: Training | str | None,
) -> Iterator[Block]:
    for name, seed, total, content, points in _sets(config, data, scenario):
        for first in range(0, total, config.block):
            count = min(config.block, total - first)
            yield Block(
                scenario, level, name, seed, first, count, steps, config.fallback,
                config.certificates, content, points, network,
            )  # fmt: skip


def _sets(
    config: BellConfig, data: Array | None, scenario: str
) -> Iterator[tuple[str, int | None, int, str | None, int | None]]:
    """Each set's name and seed, its size, and what tells its content."""
    if data is not None:
        yield FILE, None, len(data), content_of(data), None
        return
    parsed = Scenario.parse(scenario)
    for name in dict.fromkeys(config.data.sets):
        if name == PLANE:
            points = config.data.points
            yield PLANE, None, len(plane_grid(parsed, points)[1]), None, points
            continue
        if name == "N" and parsed.inputs != (2, 2) and "U" in config.data.sets:
            continue  # It would be U once more.
        for seed in sorted(set(config.data.seeds)):
            yield name, seed, config.data.count, None, None
