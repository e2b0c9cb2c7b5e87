"""The tables of the report: what each cell shows, and what it is sorted by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipeline.results import summary
from pipeline.results.selection import FINAL_SHARD
from pipeline.results.summary import Metric, Shown, percent

BEST_SHOWN = 25
_TEXT_COLUMNS = ("problem", "rounding", "shard", "trial")


def best_table(data: pd.DataFrame, metric: Metric, champion: Shown | None) -> dict[str, Any]:
    """One network of each of the best settings, the champion's first."""
    best = summary.best_networks(data, BEST_SHOWN)
    axis = summary.beta_axis(summary.searched(data))
    columns = [
        *_problem_column(data),
        ("validation, mean of setting", "setting_validation", metric.text),
        ("validation, own", metric.column("validation"), metric.text),
        ("test", metric.column("test"), metric.text),
        ("gap", "gap", percent),
        ("bytes", "bytes", _whole),
        ("neurons", "neurons", _whole),
        (axis.short, axis.column, _short),
        ("width", "width", _whole),
        ("rounding", "rounding", str),
        ("shard", "shard", str),
        ("seed", "seed", _whole),
        ("objective", "upper_bound", _short),
        ("lower bound", "lower_bound", _short),
        ("trial", "trial", str),
    ]
    rows = best.to_dict("records")
    if champion is not None and champion.row.identity.shard == FINAL_SHARD:
        rows.insert(0, _cells(champion))
    chosen = None if champion is None else champion.row.identity.trial
    return _table(columns, rows, chosen)


def _cells(shown: Shown) -> dict[str, Any]:
    """A network's values by column; one that it has not is no number."""
    mean = shown.setting_validation
    known = {**shown.row.columns, "problem": shown.problem, "setting_validation": mean}
    return {name: np.nan if value is None else value for name, value in known.items()}


def _problem_column(data: pd.DataFrame) -> list[tuple[str, str, Any]]:
    """The kind of problem, where there are several."""
    return [("problem", "problem", str)] if len(summary.problems(data)) > 1 else []


def problems_table(data: pd.DataFrame, metric: Metric) -> dict[str, Any] | None:
    """The best setting of each kind of problem; None where there is one kind."""
    if not _problem_column(data) or not len(summary.searched(data)):
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
    columns = [
        *_problem_column(data),
        (axis.short, "beta_level", _short),
        ("width", "width", _whole),
        ("rounding", "rounding", str),
        ("networks", "networks", _whole),
        *((f"{part} {metric.label}", metric.column(part), metric.text)
          for part in ("validation", "test", "train")),
        ("gap", "gap", percent),
        ("bytes", "bytes", _whole),
        ("neurons", "neurons", _whole),
    ]  # fmt: skip
    return _table(columns, settings.to_dict("records"), None)


def narrowest_table(data: pd.DataFrame) -> dict[str, Any] | None:
    """How many neurons a gap needs at each β; None where the sweep has one width."""
    rows = summary.searched(data)
    if rows["width"].nunique() < 2:
        return None
    columns = [
        *_problem_column(data),
        (summary.beta_axis(rows).short, "beta_level", _short),
        *((f"gap ≤ {percent(gap)}", f"within_{gap:g}", _whole) for gap in summary.WANTED_GAPS),
        ("smallest gap", "gap", percent),
    ]
    return _table(columns, summary.neurons_within(data).to_dict("records"), None)


def _table(
    columns: list[tuple[str, str, Any]], rows: list[dict[Any, Any]], chosen: str | None
) -> dict[str, Any]:
    return {
        "columns": [{"title": title, "text": key in _TEXT_COLUMNS} for title, key, _ in columns],
        "rows": [
            {
                "chosen": chosen is not None and row.get("trial") == chosen,
                "cells": [
                    {"sort": _sort_key(row[key]), "text": write(row[key])}
                    for _, key, write in columns
                ],
            }
            for row in rows
        ],
    }


def _sort_key(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{float(value):.10g}" if np.isfinite(value) else ""


def _short(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "–"


def _whole(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "–"
