"""The tables of a sweep's report: which columns of the record they have, and what rows say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from pipeline.configuration.metric import METRICS
from pipeline.logs.redact import redact
from pipeline.reports.cells import Column, short, table_of, whole, words
from pipeline.results import summary
from pipeline.results.fitness import reasons_against
from pipeline.results.measures import PartMeasures
from pipeline.results.record import PARTS, NetworkRow, columns_for
from pipeline.results.schema import METRIC, PARAMETER
from pipeline.results.selection import FINAL_SHARD
from pipeline.results.summary import SETTING, Metric, Shown, byte_text, percent

BEST_SHOWN = 25
Row = Mapping[Any, Any]
# What a column is called where its name is not what people say.
_TITLES = {
    "upper_bound": "objective", "loss_value": "training loss",
    "preprocessing_bytes": "bytes of the encoding",
}  # fmt: skip
# Columns that are the ends of an interval: they stand with what they are of.
_ENDS = ("_low", "_high")
# How a figure of the record is written where four digits are not it.
_WRITTEN: dict[str, Callable[[Any], str]] = {
    "gap": percent, "bytes": byte_text, "preprocessing_bytes": byte_text, "neurons": whole,
    "width": whole, "seed": whole,
}  # fmt: skip


def best_table(data: pd.DataFrame, metric: Metric, champion: Shown | None) -> dict[str, Any]:
    """One network of each of the best settings, the champion's first."""
    rows: list[Row] = summary.best_networks(data, BEST_SHOWN).to_dict("records")
    if champion is not None and champion.row.identity.shard == FINAL_SHARD:
        mean = summary.mean_of_setting(data, champion)
        rows.insert(0, _cells(replace(champion, setting_validation=mean)))
    chosen = None if champion is None else champion.row.identity.trial
    axis = summary.beta_axis(summary.searched(data))
    level = {**dict(zip(SETTING, SETTING, strict=True)), "beta_level": axis.column}
    columns = [
        _setting_column(data, level, ("shard", "seed")),
        *_caution_column(rows),
        Column(f"validation {metric.label}, mean of setting", _of("setting_validation"),
               metric.text),
        *(_figure(name) for name in _figures(rows, metric)),
        *_axis_columns(data, axis),
        words("network", _of("trial"), link=_of("network")),
        words("certificate", lambda row: "file" if isinstance(row["certificate"], str) else None,
              link=_of("certificate")),
    ]  # fmt: skip
    return table_of(columns, rows, lambda row: chosen is not None and row["trial"] == chosen)


def _cells(shown: Shown) -> Row:
    """A network's values by column."""
    mean = shown.setting_validation
    return {**shown.row.columns, "problem": shown.problem, "setting_validation": mean}


def _caution_column(rows: Sequence[Row]) -> list[Column[Row]]:
    """What speaks against a network; no column where nothing speaks against any."""

    def against(row: Row) -> str | None:
        return "; ".join(reasons_against(NetworkRow.of(row))) or None

    shown = any(against(row) for row in rows)
    return [words("caution", against, wrap=True)] if shown else []


def measures_table(shown: Shown, task: str, positive: str | None = None) -> dict[str, Any] | None:
    """A row a metric of the chosen network, with its 95 % interval where rows were held out.

    positive: of two classes the one that precision, recall and F1 are of.
    None for rows of earlier versions, which have one metric alone.
    """
    columns = shown.row.columns
    measured = [
        one for one in METRICS.values()
        if one.task == task and any(columns.get(one.column(part)) is not None for part in PARTS)
    ]  # fmt: skip
    if len(measured) < 2:
        return None
    made: list[Column[Metric]] = [words("measure", lambda one: _of_class(one, positive))]
    for part in reversed(PARTS):
        if any(columns.get(one.column(part)) is not None for one in measured):
            made += _part_columns(shown.row, part)
    return table_of(made, measured)


def confusion_table(shown: Shown, classes: Sequence[str] = ()) -> dict[str, Any] | None:
    """Test rows of the chosen network counted: a row a true class, a column a predicted one.

    classes: their names in the order of the counts; without them they are numbered from 1.
    None where no test rows were counted.
    """
    measures = shown.row.measures.test
    counts, size = measures.confusion or (), measures.classes
    if not any(counts):
        return None
    names = [redact(name) for name in classes]
    if len(names) != size:
        names = [f"class {code}" for code in range(1, size + 1)]
    columns: list[Column[int]] = [
        words("true class", lambda code: names[code]),
        *(Column(f"predicted {name}", _count_of(counts, size, told), whole)
          for told, name in enumerate(names)),
    ]  # fmt: skip
    return table_of(columns, range(size))


def _count_of(counts: Sequence[int], size: int, told: int) -> Callable[[int], int]:
    return lambda code: counts[code * size + told]


def is_of_one_class(row: NetworkRow, part: str, metric: str) -> bool:
    """Whether a balanced accuracy has nothing to balance: all the part's rows are of one class."""
    measures: PartMeasures = getattr(row.measures, part)
    return metric == "balanced_accuracy" and measures.of_one_class(metric) == 1.0


def _of_class(metric: Metric, positive: str | None) -> str:
    """A metric's label, with the class that it is of where it is of one."""
    if positive is None or metric.name not in ("precision", "recall", "f1"):
        return metric.label
    return f"{metric.label} of class {redact(positive)}"


def _part_columns(row: NetworkRow, part: str) -> list[Column[Metric]]:
    """The value of a metric on a part, as text with its unit, and its interval."""
    columns = row.columns

    def value(one: Metric) -> str | None:
        known = columns.get(one.column(part))
        unknown = known is None or is_of_one_class(row, part, one.name)
        return None if unknown else one.text(known)

    def interval(one: Metric) -> str | None:
        if is_of_one_class(row, part, one.name):
            return None
        return one.interval_text([columns.get(f"{one.column(part)}{end}") for end in _ENDS]) or None

    rows = columns.get(f"{part}_rows")
    title = part if rows is None else f"{part}, {rows:,.0f} rows"
    return [
        words(title, value),
        *([] if part == "train" else [words("95 % interval", interval)]),
    ]


def _of(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _figures(rows: Sequence[Row], metric: Metric) -> list[str]:
    """The record's figures that some row has: those that choose first, then sizes and bounds.

    Of validation and training only the metric that chooses; of test all there are.
    """
    first = [metric.column("test"), metric.column("validation"), "gap", "bytes", "neurons"]
    held = ("validation_", "train_")
    rest = [
        name for name in columns_for(METRIC)
        if name not in columns_for(PARAMETER) and not name.startswith(held)
        and not name.endswith(_ENDS)
    ]  # fmt: skip
    wanted = dict.fromkeys([*first, *rest, metric.column("train")])
    return [name for name in wanted if any(pd.notna(row[name]) for row in rows)]


def _figure(name: str) -> Column[Row]:
    return Column(title_of(name), _measured(name), _writer(name))


def _measured(name: str) -> Callable[[Row], Any]:
    part, _, metric = name.partition("_")
    if part not in PARTS or metric != "balanced_accuracy":
        return _of(name)
    return lambda row: None if is_of_one_class(NetworkRow.of(row), part, metric) else row[name]


def title_of(name: str) -> str:
    """What a column of the record is called."""
    part, _, rest = name.partition("_")
    if part in PARTS and rest in METRICS:
        return f"{part} {METRICS[rest].label}"
    return _TITLES.get(name, name.replace("_", " "))


def _writer(name: str) -> Callable[[Any], str]:
    part, _, rest = name.partition("_")
    if part in PARTS and rest in METRICS:
        return METRICS[rest].text
    return percent if rest == "majority_share" else _WRITTEN.get(name, short)


def _varying(data: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Those in which finished rows of the search differ."""
    rows = summary.searched(data)
    return [name for name in columns if rows[name].nunique(dropna=False) > 1]


def _axis_columns(data: pd.DataFrame, axis: summary.BetaAxis) -> list[Column[Row]]:
    """The axes that vary, each by itself to sort by; kinds of problem are one of them."""
    names = _varying(data, ["problem", axis.column, "width", "rounding", "shard", "seed"])
    return [
        words(name, _of(name)) if not is_numeric_dtype(data[name]) else
        Column(axis.short if name == axis.column else name, _of(name), _WRITTEN.get(name, short))
        for name in names
    ]  # fmt: skip


def _setting_column(
    data: pd.DataFrame, level: Mapping[str, str], further: Sequence[str] = ()
) -> Column[Row]:
    """What a row is: its setting, and which of its networks, in words.

    `level`: under which name the rows have each part of the setting.
    """
    axis = summary.beta_axis(summary.searched(data)).short

    def said(row: Row) -> str:
        beta, width = row[level["beta_level"]], row[level["width"]]
        parts = [row[level["problem"]], f"{axis} {beta:.3g}", f"width {width:.0f}",
                 row[level["rounding"]], *(_further(row, name) for name in further)]  # fmt: skip
        return ", ".join(part for part in parts if part)

    return words("network" if further else "setting", said, wrap=True)


def _further(row: Row, name: str) -> str:
    value = row[name]
    if name == "shard":
        return "all rows" if value == FINAL_SHARD else str(value)
    return f"{name} {value:.0f}" if pd.notna(value) else ""


def problems_table(data: pd.DataFrame, metric: Metric) -> dict[str, Any] | None:
    """The best setting of each kind of problem; None where there is one kind."""
    if len(summary.problems(data)) < 2 or not len(summary.searched(data)):
        return None
    return _table_of_settings(data, metric, summary.settings(data).drop_duplicates("problem"))


def settings_table(data: pd.DataFrame, metric: Metric) -> dict[str, Any]:
    """All settings, averaged over shards and seeds."""
    found = summary.settings(data) if len(summary.searched(data)) else pd.DataFrame()
    return _table_of_settings(data, metric, found)


def _table_of_settings(
    data: pd.DataFrame, metric: Metric, settings: pd.DataFrame
) -> dict[str, Any]:
    axis = summary.beta_axis(summary.searched(data))
    parts = ("validation", "test", "train")
    columns = [
        _setting_column(data, dict(zip(SETTING, SETTING, strict=True))),
        *(Column(f"{part} {metric.label}", _of(metric.column(part)), metric.text)
          for part in parts),
        *(_figure(name) for name in ("gap", "bytes", "neurons")),
        *([words("problem", _of("problem"))] if len(summary.problems(data)) > 1 else []),
        Column(axis.short, _of("beta_level"), short),
        Column("width", _of("width"), whole),
        words("rounding", _of("rounding")),
        Column("networks", _of("networks"), whole),
    ]  # fmt: skip
    return table_of(columns, settings.to_dict("records"))


def narrowest_table(data: pd.DataFrame) -> dict[str, Any] | None:
    """How many neurons a gap needs at each β; None where the sweep has one width."""
    rows = summary.searched(data)
    if rows["width"].nunique() < 2:
        return None
    several = len(summary.problems(data)) > 1
    columns = [
        *([words("problem", _of("problem"))] if several else []),
        Column(summary.beta_axis(rows).short, _of("beta_level"), short),
        *(Column(f"gap ≤ {percent(gap)}", _of(f"within_{gap:g}"), whole)
          for gap in summary.WANTED_GAPS),
        Column("smallest gap", _of("gap"), percent),
    ]  # fmt: skip
    return table_of(columns, summary.neurons_within(data).to_dict("records"))
