"""Do weights near orthonormal help an arm? Paired over seeds, with Holm's correction.

Each kind of a sweep's `orthogonality` beside `none` of the same arm. A seed counts once: its
figures are means over the cells (shard, β, width, time) that both have, as networks of one seed
share rows. The float MLP takes equal steps, straight-through equal seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.configuration.metric import Metric
from pipeline.reports.cells import Column, formatted, short, table_of, words
from pipeline.reports.comparison.arms import NAMES, metric_text
from pipeline.reports.comparison.sets import CELL, ComparedSet, by_setting
from qnn.training.arms.orthonormal_study import PairedTest, holm, paired_test

NONE = "orthogonality none"
_CELL = [*CELL, "baseline_seconds"]


@dataclass(frozen=True)
class PairedSetting:
    """One kind of weights of an arm: means over seeds, and its difference to `none`.

    gap: training less test metric, both as the metric has them. difference: of the test metric;
    gap_difference: of the gap; p_holm: of the difference, corrected over all of a page. They are
    None of `none` itself. seconds: mean wall time of a network.
    """

    set: str
    problem: str
    arm: str
    setting: str
    metric: Metric
    seeds: int
    test: float
    gap: float
    seconds: float
    difference: PairedTest | None = None
    gap_difference: PairedTest | None = None
    p_holm: float | None = None


def paired_settings(sets: list[ComparedSet]) -> list[PairedSetting]:
    """All arms of all sets that ran `none` and another kind with two seeds or more."""
    found = [one for compared in sets for one in _of_set(compared)]
    tested = [one.difference.p_value for one in found if one.difference is not None]
    corrected = iter(holm(tested))
    return [
        one if one.difference is None else replace(one, p_holm=next(corrected)) for one in found
    ]


def _of_set(compared: ComparedSet) -> Iterator[PairedSetting]:
    rows = compared.rows
    for arm in dict.fromkeys(rows["rounding"]):
        settings = dict(by_setting(rows[rows["rounding"] == arm]))
        base = settings.pop(NONE, None)
        if base is not None and settings:
            yield from _of_arm(compared, str(arm), base, settings)


def _of_arm(
    compared: ComparedSet, arm: str, base: pd.DataFrame, settings: dict[str, pd.DataFrame]
) -> Iterator[PairedSetting]:
    pairs = {name: _by_seed(compared.metric, own, base) for name, own in settings.items()}
    pairs = {name: pair for name, pair in pairs.items() if len(pair) >= 2}
    if pairs:
        yield _row(compared, arm, NONE, _by_seed(compared.metric, base, base))
    for name, pair in pairs.items():
        test, gap = (
            paired_test(pair[f"{part}_own"].to_numpy(), pair[f"{part}_none"].to_numpy())
            for part in ("test", "gap")
        )
        row = _row(compared, arm, name, pair)
        yield replace(row, difference=test, gap_difference=gap)


def _row(compared: ComparedSet, arm: str, setting: str, pair: pd.DataFrame) -> PairedSetting:
    means = pair.mean()
    return PairedSetting(
        compared.name,
        compared.problem,
        arm,
        setting,
        compared.metric,
        len(pair),
        float(means["test_own"]),
        float(means["gap_own"]),
        float(means["seconds_own"]),
    )


def _by_seed(metric: Metric, own: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Of each seed the means of test, gap and seconds over the cells that both have."""
    both = _figures(metric, own).merge(_figures(metric, base), on=_CELL, suffixes=("_own", "_none"))
    return both.drop(columns=[name for name in _CELL if name != "seed"]).groupby("seed").mean()


def _figures(metric: Metric, rows: pd.DataFrame) -> pd.DataFrame:
    test = rows[metric.column("test")].astype(float)
    train = rows[metric.column("train")].astype(float)
    made = rows[_CELL].copy()
    # A missing β or width is none: references have neither.
    made = made.assign(
        **{name: made[name].astype(float).fillna(0.0) for name in _CELL if name != "shard"},
        test=test,
        gap=train - test,
        seconds=rows["seconds"].astype(float),
    )
    return made[made["test"].notna() & made["gap"].notna()]


def orthogonality_table(rows: list[PairedSetting]) -> dict[str, Any] | None:
    """A row a kind of weights; None where no sweep compares any."""
    if not rows:
        return None
    several = len({one.set for one in rows}) > 1
    kinds = any(one.problem for one in rows)
    scale = 100.0 if all(one.metric.share for one in rows) else 1.0
    label = " or ".join(dict.fromkeys(one.metric.label for one in rows))
    columns: list[Column[PairedSetting]] = [
        words("arm", lambda one: f"{NAMES[one.arm]}, {one.setting}", wrap=True),
        *([words("set", lambda one: one.set)] if several else []),
        *([words("problem", lambda one: one.problem or None)] if kinds else []),
        Column("seeds", lambda one: one.seeds, formatted(".0f")),
        words(f"test {label}", lambda one: metric_text(one.metric)(one.test)),
        words("training − test", lambda one: _signed(one.gap, scale)),
        words("test − none, 95 %", lambda one: _interval(one.difference, scale)),
        words("gap − none, 95 %", lambda one: _interval(one.gap_difference, scale)),
        Column("p", lambda one: one.difference and one.difference.p_value, short),
        Column("Holm's p", lambda one: one.p_holm, short),
        Column("seconds", lambda one: one.seconds, formatted(".2f")),
    ]
    return table_of(columns, rows, lambda one: one.p_holm is not None and one.p_holm <= 0.05)


def orthogonality_words(rows: list[PairedSetting]) -> str:
    """What came out, in a sentence; nothing where there is nothing to compare."""
    tested = [one for one in rows if one.p_holm is not None and one.difference is not None]
    if not tested:
        return ""
    sure = [one for one in tested if one.p_holm is not None and one.p_holm <= 0.05]
    if not sure:
        least = min(one.p_holm for one in tested if one.p_holm is not None)
        return (
            f"None of {len(tested)} differences to none is significant at 5 % after Holm's "
            f"correction (least p {least:.2g}): no effect is shown."
        )
    named = ", ".join(
        f"{NAMES[one.arm]} with {one.setting} ({_interval(one.difference, _scale(one))})"
        for one in sure
    )
    return f"Significant at 5 % after Holm's correction, {len(sure)} of {len(tested)}: {named}."


def _scale(one: PairedSetting) -> float:
    return 100.0 if one.metric.share else 1.0


def _signed(value: float, scale: float) -> str:
    # Adding 0 makes -0 a +0.
    return f"{round(scale * value, 2) + 0.0:+.2f}" if np.isfinite(value) else "–"


def _interval(test: PairedTest | None, scale: float) -> str | None:
    if test is None:
        return None
    return f"{_signed(test.difference, scale)} ± {scale * test.half_width:.2f}"
