"""What a distributed sweep will do: one path of βs over all rows."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.datasets.blocks.quantiles import require_sketches
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.plans.description import axis, description
from pipeline.plans.study import NothingFollows
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.studies.distributed.path import BlocksPath
from qnn.errors import InputError


@dataclass(frozen=True)
class DistributedPlan(NothingFollows):
    """The path; the rows stay where they are."""

    config: DistributedConfig
    units: tuple[BlocksPath, ...]
    data: None = None

    def describe(self) -> str:
        """Rows, blocks and βs."""
        (unit,) = self.units
        config, rows = self.config, unit.groups.rows
        betas = axis("betas", [f"{beta.written:g}" for beta in config.beta.points])
        shared = f"{min(config.distributed.blocks, rows)}, shared by {config.distributed.actors}"
        facts = [
            ("rows", f"{rows}, in {len(unit.groups.files)} files"),
            ("columns", f"{len(unit.names)}, the target among them"),
            ("blocks", f"{shared} actors"),
        ]
        title = f"sweep {config.name}: one problem in blocks, {config.loss} loss"
        return description(title, [betas], facts)


def prepare(config: DistributedConfig) -> DistributedPlan:
    """Read the footers and choose the columns. InputError for what does not fit."""
    if config.asked.quantiles is not None:
        require_sketches(config.asked.quantiles)
    groups = RowGroups.of(config.data.source)
    data = config.data
    wanted = (*data.targets, *data.exclude, *(data.features or ()), *(data.categorical or ()))
    for name in wanted:
        if name not in groups.columns:
            raise InputError(f"data: no column {name!r} in the data")
    left_out = {*data.exclude, data.targets[0]}
    features = [name for name in data.features or groups.columns if name not in left_out]
    if not features:
        raise InputError("data: no feature columns are left; check features and exclude")
    return DistributedPlan(config, (BlocksPath(config, groups, (*features, data.targets[0])),))
