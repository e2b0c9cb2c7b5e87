"""One row of training's results: a network, in frozen parts that each stage fills in.

The record is the truth about the columns: the Parquet schema, MLflow's parameters and metrics and
what verification compares follow from its fields and from what is said beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipeline.configuration.kinds import Kind, kind_of
from pipeline.results.folder import data_file
from pipeline.results.measures import NOT_MEASURED, Measures
from pipeline.results.schema import (
    METRIC,
    NETWORK,
    PARAMETER,
    PROBLEM,
    TIMING,
    YOUNG,
    RowSchema,
    columns_of,
    columns_serving,
    part_of,
    told,
)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which network: its ids, its training matrix, and what it was computed with (JSON).

    `output`: of a target of several outputs the one that it fits, None where it is whole.
    `preprocessing_bytes`: what turns raw columns into its inputs takes so much.
    """

    trial: str
    path: str = ""
    dataset: str = ""
    shard: str = told(PARAMETER, default="")
    output: int | None = told(YOUNG)
    n: int | None = None
    d: int | None = None
    preprocessing_bytes: int | None = told(METRIC)
    versions: str | None = None

    @property
    def data_file(self) -> str:
        """Where the training matrix lies."""
        return data_file(self.dataset or "", self.shard or "")


#: The columns of an orthogonality: kind, order, iterations, gain.
ORTHOGONALITY = (
    "orthogonality", "orthogonality_order", "orthogonality_iterations", "orthogonality_gain",
)  # fmt: skip
#: What `solver` says where a learned bound took the place of one.
LEARNED = "learned"


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Where a network stands on the axes of a sweep; `solver` is the one that was used.

    `baseline_seconds`: the wall time that an arm was given, None for ours. The columns
    `ORTHOGONALITY` are those of an arm that a sweep asks for such weights of.
    """

    rounding: str = told(PARAMETER, default="")
    width: int | None = told(PARAMETER)
    seed: int | None = told(PARAMETER)
    beta: float | None = told(PROBLEM, PARAMETER, METRIC)
    beta_fraction: float | None = told(PROBLEM, PARAMETER, METRIC)
    beta_max: float | None = told(PROBLEM)
    solver: str | None = told(PARAMETER)
    loss: str | None = told(PROBLEM, PARAMETER)
    loss_parameter: float | None = told(PROBLEM, NETWORK, PARAMETER)
    activation: str | None = told(PROBLEM, NETWORK, PARAMETER)
    polynomial: str | None = told(PROBLEM, PARAMETER)
    alphabet: str | None = told(PROBLEM, NETWORK, PARAMETER)
    second_layer: str | None = told(NETWORK, PARAMETER)
    certify: str | None = told(PROBLEM)
    baseline_seconds: float | None = told(YOUNG)
    orthogonality: str | None = told(YOUNG)
    orthogonality_order: int | None = told(YOUNG)
    orthogonality_iterations: int | None = told(YOUNG)
    orthogonality_gain: bool | None = told(YOUNG)


@dataclass(frozen=True)
class BoundPoint:
    """The bounds of a problem, some seconds after its relaxation was solved."""

    seconds: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What is proven of a network's problem: by one certificate, or by one for each output."""

    certificate: str | None = None
    certificates: tuple[str, ...] | None = told(YOUNG)
    lower_bound: float | None = told(METRIC)
    relaxation_value: float | None = told(METRIC)
    proof: str | None = None
    bounds: tuple[BoundPoint, ...] | None = told(TIMING)

    @property
    def is_sum(self) -> bool:
        """Whether the bound is that of several outputs, added up."""
        return self.certificates is not None

    @property
    def files(self) -> list[str]:
        """The certificates that the bound is the sum of."""
        if self.certificates:
            return list(self.certificates)
        return [self.certificate] if self.certificate else []


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What became of a trial: the network's file and figures, or the error.

    `upper_bound` is its objective, `gap` that over the lower bound, relative.
    """

    network: str | None = None
    upper_bound: float | None = told(METRIC)
    gap: float | None = told(METRIC)
    loss_value: float | None = told(METRIC)
    train_accuracy: float | None = told(METRIC)
    train_rmse: float | None = told(METRIC)
    train_r2: float | None = told(METRIC)
    validation_accuracy: float | None = told(METRIC)
    validation_rmse: float | None = told(METRIC)
    validation_r2: float | None = told(METRIC)
    test_accuracy: float | None = told(METRIC)
    test_rmse: float | None = told(METRIC)
    test_r2: float | None = told(METRIC)
    neurons: int | None = told(METRIC)
    bytes: int | None = told(METRIC)
    status: str = "failed"
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it has a network, or figures of one."""
        return self.status == "ok"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Wall times in seconds; None where there was no such step."""

    seconds: float = told(TIMING, default=0.0)
    relaxation_seconds: float | None = told(TIMING)
    rounding_seconds: float | None = told(TIMING)
    certify_seconds: float | None = told(TIMING)


@dataclass(frozen=True)
class NetworkRow:
    """A network as the results have it."""

    identity: Identity
    axes: Axes = Axes()
    bounds: Bounds = Bounds()
    fit: Fit = Fit()
    cost: Cost = Cost()
    measures: Measures = NOT_MEASURED

    def with_seconds(self, seconds: float) -> Self:
        """The row with its whole wall time."""
        return replace(self, cost=replace(self.cost, seconds=seconds))

    @property
    def kind(self) -> Kind:
        """The kind of problem, resolved."""
        return kind_of(vars(self.axes))

    @property
    def columns(self) -> dict[str, Any]:
        """The row as a plain mapping of columns."""
        return columns_of(self)

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Self:
        """The row of a data frame, where what is missing is NaN; other columns are left out."""
        return cls.exactly({name: _plain(value) for name, value in columns.items()})

    @classmethod
    def exactly(cls, columns: Mapping[str, Any]) -> Self:
        """The row of a table: NaN is NaN. Columns beside the record's are left out."""
        return part_of(cls, columns)

    def measured(self, columns: Mapping[str, Any]) -> Self:
        """The row with metrics, by column, and nothing else changed."""
        own: dict[str, Any] = {name: columns.get(name) for name in _METRICS_OF_FIT}
        fit = replace(self.fit, **own)
        return replace(self, fit=fit, measures=part_of(Measures, columns))

    def metric(self, column: str) -> float | None:
        """A metric by its column, as test_f1; None where it is not known."""
        part, _, name = column.partition("_")
        owner = getattr(self.measures, part)
        value: float | None = (
            getattr(owner, name) if hasattr(owner, name) else getattr(self.fit, column)
        )
        return value


_PARTS = (Identity, Axes, Bounds, Fit, Cost, Measures)
METRICS = ("accuracy", "rmse", "r2")
PARTS = ("train", "validation", "test")
_METRICS_OF_FIT = tuple(f"{part}_{name}" for part in PARTS for name in METRICS)
# As the first results files have them; a column that is not among them comes after.
_ORDER = (
    *("trial", "path", "certificate", "network", "dataset", "shard", "output", "certificates"),
    *("n", "d", "beta", "beta_fraction", "beta_max", "seed", "width", "rounding", "loss"),
    *("activation", "polynomial", "alphabet", "second_layer", "certify", "solver"),
    *("loss_parameter", "lower_bound", "upper_bound", "gap", "relaxation_value", "loss_value"),
    *_METRICS_OF_FIT,
    *("neurons", "bytes", "preprocessing_bytes", "seconds", "relaxation_seconds"),
    *("rounding_seconds", "certify_seconds", "baseline_seconds", "proof", "bounds", "status"),
    *("error", "versions"),
)  # fmt: skip


def _plain(value: Any) -> Any:
    """A cell of a data frame as a plain value: what is missing there is NaN."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    return None if value != value else value


@cache
def columns_for(use: str) -> tuple[str, ...]:
    """The columns that serve a use, as `PARAMETER`, in the record's order."""
    return tuple(name for part in _PARTS for name in columns_serving(part, use))


RESULTS_ROWS = RowSchema.of(
    NetworkRow, later=columns_for(YOUNG), timings=columns_for(TIMING), order=_ORDER
)
RESULTS_SCHEMA = RESULTS_ROWS.columns
LATER_COLUMNS, TIMING_COLUMNS = RESULTS_ROWS.later, RESULTS_ROWS.timings


def as_results(table: pa.Table) -> pa.Table:
    """Return a table, of an earlier version too, as one of `RESULTS_SCHEMA`; or `ValueError`."""
    return RESULTS_ROWS.read(table)


def rows_of(table: pa.Table) -> list[NetworkRow]:
    """The rows of a table of these columns."""
    return [NetworkRow.exactly(row) for row in table.to_pylist()]
