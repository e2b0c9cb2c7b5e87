"""What a distributed sweep will do: one path of βs over all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.studies.distributed.path import BlocksPath
from qnn.errors import InputError


@dataclass(frozen=True)
class DistributedPlan:
    """The path; the rows stay where they are."""

    config: DistributedConfig
    units: tuple[BlocksPath, ...]
    data: None = None

    def describe(self) -> str:
        """Rows, blocks and βs."""
        (unit,) = self.units
        config, points = self.config, self.config.beta.points
        rows = unit.groups.rows
        return "\n".join([
            f"sweep {config.name}: one problem in blocks, {config.loss} loss", "",
            f"  {'rows':<13}{rows}, in {len(unit.groups.files)} files",
            f"  {'columns':<13}{len(unit.names)}, the target among them",
            f"  {'blocks':<13}{min(config.distributed.blocks, rows)}, shared by "
            f"{config.distributed.actors} actors",
            f"  {'betas':<13}{len(points)}   {', '.join(f'{b:g}' for b in points)}",
        ])  # fmt: skip

    def choose(self, results: pa.Table) -> None:
        """Nothing follows: every network is of all rows already."""

    def follow_up(self, choice: Any) -> Any:
        """Never asked for, as nothing is chosen."""
        raise NotImplementedError

    def champion(self, results: pa.Table, follow_up: Any) -> None:
        """None."""

    def finished(self, results: pa.Table) -> int:
        """βs that are no failures."""
        return results["status"].to_pylist().count("ok")


def prepare(config: DistributedConfig) -> DistributedPlan:
    """Read the footers and choose the columns. InputError for what does not fit."""
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
