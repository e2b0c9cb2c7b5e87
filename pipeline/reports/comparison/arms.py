"""The arms by their names, and as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pipeline.configuration.metric import Metric
from pipeline.reports.cells import Column, formatted, short, table_of, words
from pipeline.reports.comparison.sets import ArmSummary
from pipeline.results.summary import byte_text, percent

NAMES = {
    "graduated": "ours: relaxation, graduated",
    "refined": "ours: relaxation, refined",
    "krivine": "ours: Krivine rounding alone",
    "straight_through": "straight-through",
    "rounded_floats": "floats, then rounded",
    "random_signs": "random neurons, refitted",
    "annealing": "simulated annealing",
    "spectrahedra": "float weights (ceiling)",
    "logistic_regression": "logistic regression",
    "rbf_svm": "RBF-SVM",
    "gradient_boosting": "gradient boosting",
    "float_mlp": "float MLP",
    "quantized_mlp": "float MLP, then quantized",
    "quantized_spectrahedra": "float ceiling, then quantized",
}


def arm_table(summaries: list[ArmSummary]) -> dict[str, Any]:
    """A row an arm, ours marked; columns that say the same of all are left out."""
    several_sets = len({one.set for one in summaries}) > 1
    kinds = any(one.problem for one in summaries)
    columns: list[Column[ArmSummary]] = [
        words("arm", named, wrap=True),
        *([words("set", lambda one: one.set)] if several_sets else []),
        *([words("problem", lambda one: one.problem or None)] if kinds else []),
        *_test_columns(summaries),
        Column("objective", lambda one: one.objective, short),
        Column("gap to the bound", lambda one: one.gap, percent),
        Column("ours lower", lambda one: _count(one, one.better), formatted(".0f")),
        Column("equal", lambda one: _count(one, one.equal), formatted(".0f")),
        Column("higher", lambda one: _count(one, one.worse), formatted(".0f")),
        Column("its objective ÷ ours", lambda one: one.ratio, short),
        Column("bytes", lambda one: one.bytes, byte_text),
        Column("seconds", lambda one: one.seconds, formatted(".2f")),
    ]
    return table_of(columns, summaries, lambda one: one.kind == "ours")


def named(one: ArmSummary) -> str:
    """The arm, with the orthogonality of its weights and its time where it has several."""
    return f"{NAMES[one.arm]}, {one.setting}" if one.setting else NAMES[one.arm]


def _test_columns(summaries: list[ArmSummary]) -> Iterator[Column[ArmSummary]]:
    """The metric that chose; each where sweeps that choose by several stand side by side."""
    for metric in dict.fromkeys(one.metric for one in summaries):
        write = metric_text(metric)
        for title, name in ((f"test {metric.label}", "test"), ("± over shards", "deviation")):
            yield Column(title, _where(metric, name), write)


def _where(metric: Metric, name: str) -> Callable[[ArmSummary], float | None]:
    return lambda one: getattr(one, name) if one.metric == metric else None


def metric_text(metric: Metric) -> Callable[[float], str]:
    """How the test metric is written: a share in percent, another number as it is."""
    return (
        (lambda value: f"{100 * value:.1f} %") if metric.share else (lambda value: f"{value:.3f}")
    )


def _count(one: ArmSummary, value: int) -> float:
    return float(value) if one.better + one.equal + one.worse else np.nan
