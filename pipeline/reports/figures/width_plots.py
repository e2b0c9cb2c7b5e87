"""The figures of width: the gap against it, and how far above the bound each width stays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.reports.figures.chart import Axis, Band, Chart, Level, Line, Mark, Panel
from pipeline.reports.figures.palette import SERIES, SOFT, ramp
from pipeline.results import summary

# Panels of the objective against the width: β of which so many are shown, evenly among all.
MOST_CURVES = 6
# So many lines of a panel get their names.
MOST_NAMES = 7
# A network is the optimum of any width where it is proven to be so near to the bound.
OPTIMAL = 1e-6
_ONE_WIDTH = "The sweep has one width; list several under “widths” to see what each loses."


def gap_axis(values: np.ndarray, label: str = "certified gap") -> Axis:
    """A logarithmic axis for gaps in percent: what looks like 0 beside the objective is seen there.

    A gap of 0 stands at its foot, below all others.
    """
    known = values[np.isfinite(values)]
    positive = known[known > 0]
    if not len(positive):
        return Axis(label, unit=" %", low=0.0, high=1.0)
    floor = float(positive.min()) / 3.0 if len(positive) < len(known) else None
    return Axis(label, log=True, unit=" %", floor=floor)


def gap_figure(results: pa.Table | pd.DataFrame) -> Chart:
    """Median certified gap against the width asked for, a line a β.

    A panel a rounding and kind of problem.
    """
    data = summary.searched(summary.frame(results))
    data = data[data["gap"].notna()]
    if not len(data):
        return Chart(empty="No network was finished: there are no gaps to draw.")
    if data["width"].nunique() < 2:
        return Chart(empty=_ONE_WIDTH)
    axis = summary.beta_axis(data)
    data = data.assign(level=axis.values(data), percent=100 * data["gap"])
    medians = data.groupby(["problem", "rounding", "level", "width"])["percent"].median()
    height = _reaching(gap_axis(medians.to_numpy(), "certified gap, median over shards and seeds"),
                       medians.to_numpy())  # fmt: skip
    levels = sorted(data["level"].unique())
    panels = []
    for kind, rounding in sorted(set(zip(data["problem"], data["rounding"], strict=True))):
        title = f"{kind}, {rounding}" if kind else f"{rounding} rounding"
        lines = _gap_lines(medians[kind, rounding], levels)
        along = _widths(data["width"].unique())
        panels.append(Panel(along, height, tuple(lines), title, axis.short))
    return Chart(tuple(panels))


def _reaching(axis: Axis, values: np.ndarray) -> Axis:
    """The axis with ends of its own, so that panels share it."""
    known = values[np.isfinite(values) & (values > 0)]
    if not axis.log or not len(known):
        return axis
    low = axis.floor or float(known.min()) / 1.2
    return Axis(axis.label, True, axis.unit, low, float(known.max()) * 1.2, floor=axis.floor)


def _widths(widths: np.ndarray, label: str = "width asked for (neurons)") -> Axis:
    known = tuple(float(width) for width in sorted(widths))
    return Axis(label, log=known[0] > 0, values=known)


def _gap_lines(medians: pd.Series, levels: list[float]) -> list[Line]:
    """A line a β: `medians` by level and width, in the colours of all `levels`."""
    here = [level for level in levels if level in medians.index]
    named = np.unique(np.linspace(0, len(here) - 1, MOST_NAMES).round().astype(int))
    names = {here[k] for k in named}
    return [
        Line(medians[level].index.to_numpy(), medians[level].to_numpy(), colour,
             f"{level:.3g}" if level in names else "", marker="o", width=1.6)
        for level, colour in zip(levels, ramp(len(levels)), strict=True)
        if level in medians.index
    ]  # fmt: skip


def curve_figure(results: pa.Table | pd.DataFrame) -> Chart:
    """How far above the bound of every width the best network of at most each width is.

    A panel a kind of problem and β; the height is objective less bound, in percent of the
    objective, on a logarithm. A line a rounding, of the best seed and of any smaller width; where
    it is known and not at the bound, the best network of any width is a level. Lines are medians
    over the shards, bands their range. Krivine's rounding, without a search, is drawn where it is
    alone.
    """
    data = summary.searched(summary.frame(results))
    if data["width"].nunique() < 2:
        return Chart(empty=_ONE_WIDTH)
    axis = summary.beta_axis(data)
    data = data.assign(level=axis.values(data))
    roundings = sorted(data["rounding"].unique())
    panels = []
    for kind, level in _shown(data):
        own = data[(data["problem"] == kind) & (data["level"] == level)]
        beta = f"{axis.short} = {level:.3g}"
        panels.append(_curve_panel(own, roundings, f"{kind}, {beta}" if kind else beta))
    return Chart(tuple(panels))


def _shown(data: pd.DataFrame) -> list[tuple[str, float]]:
    """The kinds of problem, each with as many of its β as there is room for, spread evenly."""
    kinds, found = summary.problems(data), []
    for kind in kinds:
        levels = np.array(sorted(data.loc[data["problem"] == kind, "level"].unique()))
        count = min(len(levels), max(1, MOST_CURVES // len(kinds)))
        for place in np.unique(np.linspace(0, len(levels) - 1, count).round().astype(int)):
            found.append((kind, float(levels[place])))
    return found


def _curve_panel(data: pd.DataFrame, roundings: list[str], title: str) -> Panel:
    """The panel of one problem; `data` has its rows of all shards, widths and seeds."""
    lower = data.groupby("shard")["lower_bound"].max()
    searched = set(data["rounding"]) - {"krivine"}
    marks: list[Mark] = []
    heights: list[np.ndarray] = []
    for rounding, colour in zip(roundings, _colours(roundings), strict=True):
        if searched and rounding not in searched:
            continue
        some = data[data["rounding"] == rounding].groupby(["shard", "width"])["upper_bound"].min()
        # A narrower network is also one of this width.
        best = some.groupby("shard").cummin()
        gap = (100 * best.sub(lower, level="shard") / best.abs()).groupby("width")
        low, middle, high = gap.min(), gap.median(), gap.max()
        widths = middle.index.to_numpy(dtype=float)
        marks += [Band(widths, low, high, colour),
                  Line(widths, middle, colour, rounding, marker="o")]  # fmt: skip
        heights += [low, middle, high]
    # NaN where no search of any width was made: relaxation certificates alone.
    widest = data.groupby("shard")["widest_objective"].min()
    gap = (widest - lower) / widest.abs()
    words = "above the bound of any width, in % of the objective"
    if gap.max(skipna=False) <= OPTIMAL:
        words = "above the proven optimum of any width, in % of the objective"
    elif gap.notna().all():
        of_any = float(100 * gap.median())
        marks.append(Level(of_any, SOFT, "best network of any width", "dotted"))
        heights.append(np.array([of_any]))
    height = gap_axis(np.concatenate(heights), words)
    return Panel(_widths(data["width"].unique(), "neurons allowed"), height, tuple(marks), title)


def _colours(roundings: list[str]) -> list[str]:
    return [SERIES[k % len(SERIES)] for k in range(len(roundings))]
