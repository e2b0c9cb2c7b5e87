"""A run's source, read again to verify what was measured on rows that its folder does not have."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from pipeline.configuration.kinds import Kind
from pipeline.configuration.settings import SweepConfig
from pipeline.datasets.shards import ShardData, training_part
from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from pipeline.plans.plan import make_unit
from pipeline.plans.units import JoinSpec, PathSpec, Spec
from pipeline.results.record import NetworkRow
from pipeline.results.verification.held_out import Columns, ShardRows
from pipeline.studies.training.prepared import Prepared, prepare
from qnn.errors import InputError


class RereadSource:
    """The shards of a sweep's source, as far as it is what it was when the sweep ran.

    That is told by the ids of networks, which follow from the content of the whole table, the rows
    of each part and the setting. A source on a network is not read: verifying a folder from
    elsewhere must not reach out to where it says.
    """

    def __init__(self, config: SweepConfig) -> None:
        self.config = config
        self.shard = lru_cache(maxsize=2)(self._shard)
        self.unit = lru_cache(maxsize=None)(self._unit)

    def rows_of(self, row: NetworkRow) -> ShardRows:
        """The rows of a network's shard and output; InputError where they are not those it had."""
        prepared = self._found
        if isinstance(prepared, str):
            raise InputError(prepared)
        shard = row.identity.shard
        unit, output = self.unit(shard, row.kind), row.identity.output
        spec: Spec = unit
        if isinstance(unit, JoinSpec) and output is not None:
            if not 0 <= output < len(unit.paths):
                raise InputError(f"{self._name} has no output {output}")
            spec = unit.paths[output]
        if spec.trial_id(row.axes) != row.identity.trial:
            raise InputError(f"{self._name} or the sweep's setting is not what it was in the run")
        data, parts = self.shard(shard)
        if isinstance(spec, PathSpec) and spec.outputs > 1:
            kept = {part: data.in_output(spec.output, raw) for part, _, raw in data.parts()}
            parts = {part: _only(columns, kept[part]) for part, columns in parts.items()}
            data = data.output(spec.output)
        raw = {"train": data.train_target, "validation": data.validation_target}
        raw["test"] = data.test_target
        return ShardRows(data.X, data.y, {part: (parts[part], raw[part]) for part in raw})

    @property
    def _name(self) -> str:
        return redact(self.config.data.source)

    @cached_property
    def _found(self) -> Prepared | str:
        """The sweep with its data read, or why that cannot be."""
        source = self.config.data.source
        if "://" in source and not source.startswith("file://"):
            return f"{self._name} is not on this machine"
        try:
            return prepare(self.config)
        except (InputError, OSError, ValueError, pa.ArrowException) as error:
            return one_line(str(error))

    @property
    def _prepared(self) -> Prepared:
        assert not isinstance(self._found, str), "asked before"
        return self._found

    def _unit(self, shard: str, kind: Kind) -> Spec:
        prepared = self._prepared
        own = [one for one in self.config.kinds if one.resolved() == kind]
        if not own:
            raise InputError(f"the sweep asks for no {kind.describe()}")
        rows = prepared.split.shard(shard)
        return make_unit(self.config, prepared.table, prepared.split, prepared.layout, rows, own[0])

    def _shard(self, name: str) -> tuple[ShardData, dict[str, Columns]]:
        prepared = self._prepared
        table, shard = prepared.table, prepared.split.shard(name)
        train, _ = training_part(table, shard, self.config.noise_of_rows)
        parts: dict[str, Columns] = {
            "train": train,
            "validation": table.take(shard.validation_rows),
            "test": table.take(prepared.split.test_rows),
        }
        return prepared.data.shard(name), parts


def _only(columns: Columns, rows: np.ndarray) -> Columns:
    return {name: values[rows] for name, values in columns.items()}
