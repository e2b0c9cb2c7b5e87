"""Training with its data read: the units, and the refit of the best setting that follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.configuration.settings import SweepConfig
from pipeline.datasets.shards import Split, make_layout, make_split
from pipeline.datasets.sources import Table, load_table
from pipeline.plans.plan import Plan, make_plan, make_unit
from pipeline.plans.study import Unit
from pipeline.results.record import NetworkRow
from pipeline.results.selection import FINAL_SHARD, Choice, best_refit, choose
from pipeline.studies.training.units import SharedTable, unit_of
from qnn.features.preprocessing import FeatureLayout


@dataclass(frozen=True)
class Prepared:
    """A sweep's data and plan: what is known before anything is computed or written.

    `own_units`: those of a sweep that extends an earlier one, None for the plan's.
    """

    config: SweepConfig
    table: Table
    split: Split
    layout: FeatureLayout
    plan: Plan
    own_units: tuple[Unit, ...] | None = None

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The joins, or the paths of single outputs."""
        if self.own_units is not None:
            return self.own_units
        return tuple(unit_of(spec) for spec in self.plan.units)

    @property
    def data(self) -> SharedTable:
        """The table and how it is split and encoded."""
        noise, multi_class = self.config.noise_of_rows, self.config.multi_class
        return SharedTable(self.table, self.split, self.layout, noise, multi_class)

    def describe(self) -> str:
        """The plan as plain text."""
        return self.plan.describe()

    def choose(self, results: pa.Table) -> Choice | None:
        """The best setting."""
        return choose(results, self.config.beta.form, self.config.task, self.config.chosen_by)

    def follow_up(self, choice: Choice) -> Unit:
        """What trains the chosen setting on all rows but the test rows."""
        shard = self.split.shard(FINAL_SHARD)
        kind = next(kind for kind in self.config.kinds if kind.resolved() == choice.kind)
        whole = make_unit(self.config, self.table, self.split, self.layout, shard, kind)
        return unit_of(whole.narrowed(choice.beta, choice.width, choice.rounding))

    def champion(self, results: pa.Table, follow_up: Unit) -> NetworkRow | None:
        """The row of the best refit."""
        return best_refit(results, follow_up.id)

    def finished(self, results: pa.Table) -> int:
        """Number of whole networks."""
        ok, whole = pc.equal(results["status"], "ok"), pc.is_null(results["output"])
        return int(pc.sum(pc.and_(ok, whole)).as_py() or 0)


def prepare(config: SweepConfig) -> Prepared:
    """Read the data and plan the sweep. Raises `InputError` where they do not fit together."""
    table = load_table(config)
    split = make_split(table, config)
    layout = make_layout(table, config, split)
    return Prepared(config, table, split, layout, make_plan(config, table, split, layout))
