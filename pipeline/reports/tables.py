"""The tables of a sweep's report: which columns of the record they have, and what rows say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from pipeline.reports.cells import Column, short, table_of, whole, words
from pipeline.results import summary
from pipeline.results.record import METRIC, PARAMETER, PARTS, columns_for
from pipeline.results.selection import FINAL_SHARD
from pipeline.results.summary import SETTING, Metric, Shown, byte_text, percent

BEST_SHOWN = 25
Row = Mapping[Any, Any]
# What a column is called where its name is not what people say.
_TITLES = {"upper_bound": "objective", "loss_value": "training loss"}
# How a figure of the record is written where four digits are not it.
_WRITTEN: dict[str, Callable[[Any], str]] = {
    "gap": percent, "bytes": byte_text, "preprocessing_bytes": byte_text, "neurons": whole,
    "width": whole, "seed": whole,
}  # fmt: skip


def best_table(data: pd.DataFrame, metric: Metric, champion: Shown | None) -> dict[str, Any]:
    """One network of each of the best settings, the champion's first."""
    rows: list[Row] = summary.best_networks(data, BEST_SHOWN).to_dict("records")
    if champion is not None and champion.row.identity.shard == FINAL_SHARD:
        rows.insert(0, _cells(champion))
    chosen = None if champion is None else champion.row.identity.trial
    axis = summary.beta_axis(summary.searched(data))
    level = {**dict(zip(SETTING, SETTING, strict=True)), "beta_level": axis.column}
    columns = [
        _setting_column(data, level, ("shard", "seed")),
        Column(f"validation {metric.label}, mean of setting", _of("setting_validation"),
               metric.text),
        *(_figure(name, metric) for name in _figures(rows, metric)),
        *_axis_columns(data, axis),
        words("network", _of("trial"), link=_of("network")),
        words("certificate", lambda row: "file" if row["certificate"] else None,
              link=_of("certificate")),
    ]  # fmt: skip
    return table_of(columns, rows, lambda row: chosen is not None and row["trial"] == chosen)


def _cells(shown: Shown) -> Row:
    """A network's values by column."""
    mean = shown.setting_validation
    return {**shown.row.columns, "problem": shown.problem, "setting_validation": mean}


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
    ]  # fmt: skip
    wanted = dict.fromkeys([*first, *rest, metric.column("train")])
    return [name for name in wanted if any(pd.notna(row[name]) for row in rows)]


def _figure(name: str, metric: Metric) -> Column[Row]:
    return Column(title_of(name), _of(name), _writer(name, metric))


def title_of(name: str) -> str:
    """What a column of the record is called."""
    part, _, rest = name.partition("_")
    known = summary.METRIC_LABELS.get(rest) if part in PARTS else None
    return f"{part} {known}" if known else _TITLES.get(name, name.replace("_", " "))


def _writer(name: str, metric: Metric) -> Callable[[Any], str]:
    if name.partition("_")[0] in PARTS:
        return summary.metric_named(name.partition("_")[2], metric).text
    return _WRITTEN.get(name, short)


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
        *(_figure(name, metric) for name in ("gap", "bytes", "neurons")),
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
    return table_of(columns, summary.narrowest(data).to_dict("records"))
