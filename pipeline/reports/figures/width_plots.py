"""The figures of width: the gap against it, and the objective against it over the bound."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.reports.figures.drawing import (
    INK,
    ROUNDING_COLOURS,
    SOFT,
    end_labels,
    grid,
    log_x,
    new_figure,
    plain_log_y,
    say_nothing,
    style,
)
from pipeline.results import summary

# Panels of the objective against the width: β of which so many are shown, evenly among all.
MOST_CURVES = 6
# So many widths are all named on the axis.
MOST_TICKS = 8
# A network is the optimum of any width where it is proven to be so near to the bound.
OPTIMAL = 1e-6


def gap_figure(results: pa.Table | pd.DataFrame) -> Figure:
    """Median certified gap against the width asked for, a line a β.

    A panel a rounding and kind of problem.
    """
    data = summary.searched(summary.frame(results))
    data = data[data["gap"].notna()]
    with style():
        if not len(data):
            figure, axes = new_figure(7.6, 4.2)
            return say_nothing(figure, axes, "No network was finished: there are no gaps to draw.")
        axis = summary.beta_axis(data)
        data = data.assign(level=axis.values(data))
        pairs = sorted(set(zip(data["problem"], data["rounding"], strict=True)))
        across, down = grid(len(pairs))
        size = (max(7.6, 3.8 * across), 4.2 + 3.4 * (down - 1))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(down, across, sharey=True, squeeze=False)
        medians = data.groupby(["problem", "rounding", "level", "width"])["gap"].median()
        logarithmic = bool((medians > 0).all())
        lines = []
        for (kind, rounding), panel in zip(pairs, panels.flat, strict=False):
            panel.set_title(f"{kind}, {rounding}" if kind else f"{rounding} rounding")
            panel.set_xlabel("width asked for (neurons)")
            levels = sorted(data["level"].unique())
            lines.append((panel, _draw_gaps(panel, medians[kind, rounding], levels)))
            if logarithmic:
                panel.set_yscale("log")
            log_x(panel, np.array(sorted(data["width"].unique())))
        # The panels share a scale, so that names find their places when all lines are drawn.
        for panel, ends in lines:
            end_labels(panel, data["width"].max(), ends, most=7, heading=axis.short)
        for first in panels[:, 0]:
            if logarithmic:
                plain_log_y(first, " %")
            else:
                first.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
            first.set_ylabel("certified gap, median over shards and seeds")
        for unused in panels.flat[len(pairs) :]:
            unused.set_axis_off()
        return figure


def _draw_gaps(
    panel: Axes, medians: pd.Series, levels: list[float]
) -> list[tuple[float, str, Any]]:
    """A line a β: `medians` by level and width, in the colours of all `levels`; their ends."""
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, max(len(levels), 2)))
    ends: list[tuple[float, str, Any]] = []
    for level, colour in zip(levels, colours, strict=False):
        if level not in medians.index:
            continue
        line = medians[level]
        panel.plot(line.index, 100 * line, color=colour, marker="o", markersize=3.5)
        ends.append((100 * float(line.iloc[-1]), f"{level:.3g}", colour))
    return ends


def curve_figure(results: pa.Table | pd.DataFrame) -> Figure:
    """Objective of the best network of at most each width, over the bound of every width.

    A panel a kind of problem and β. A line a rounding, of the best seed and of any smaller width;
    dashed the proven bound, and where it is known and differs the best network of any width. Lines
    are medians over the shards, bands their range; shards whose bounds differ are shifted to the
    median bound. Krivine's rounding, without a search, is so far above others that it would press
    them flat: it is drawn where it is alone.
    """
    data = summary.searched(summary.frame(results))
    with style():
        if data["width"].nunique() < 2:
            figure, axes = new_figure(7.6, 1.6)
            return say_nothing(
                figure, axes, "One width: list several under `widths` to see what each loses."
            )
        data = data.assign(level=summary.beta_axis(data).values(data))
        shown = _shown(data)
        across, down = grid(len(shown))
        figure = Figure(figsize=(max(7.6, 3.8 * across), 3.2 * down + 0.5), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False)
        heading = summary.beta_axis(data).short
        for (kind, level), axes in zip(shown, panels.flat, strict=False):
            _draw_curves(axes, data[(data["problem"] == kind) & (data["level"] == level)],
                         sorted(data["rounding"].unique()))  # fmt: skip
            axes.set_title(
                f"{kind}\n{heading} = {level:.3g}" if kind else f"{heading} = {level:.3g}"
            )
            axes.set_xlabel("neurons allowed")
        for first in panels[:, 0]:
            first.set_ylabel("training objective")
        for unused in panels.flat[len(shown) :]:
            unused.set_axis_off()
        lines = {line.get_label(): line for axes in panels.flat for line in axes.lines}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center",
                      ncols=len(lines), frameon=False)  # fmt: skip
        return figure


def _shown(data: pd.DataFrame) -> list[tuple[str, float]]:
    """The kinds of problem, each with as many of its β as there is room for, spread evenly."""
    kinds, found = summary.problems(data), []
    for kind in kinds:
        levels = np.array(sorted(data.loc[data["problem"] == kind, "level"].unique()))
        count = min(len(levels), max(1, MOST_CURVES // len(kinds)))
        for place in np.unique(np.linspace(0, len(levels) - 1, count).round().astype(int)):
            found.append((kind, float(levels[place])))
    return found


def _draw_curves(axes: Axes, data: pd.DataFrame, roundings: list[str]) -> None:
    """The panel of one problem; `data` has its rows of all shards, widths and seeds."""
    lower = data.groupby("shard")["lower_bound"].max()
    bound = lower.median()
    searched = set(data["rounding"]) - {"krivine"}
    for rounding, colour in zip(roundings, ROUNDING_COLOURS, strict=False):
        if searched and rounding not in searched:
            continue
        some = data[data["rounding"] == rounding].groupby(["shard", "width"])["upper_bound"].min()
        # A narrower network is also one of this width.
        best = some.groupby("shard").cummin()
        above = best.sub(lower, level="shard").add(bound).groupby("width")
        low, middle, high = above.min(), above.median(), above.max()
        axes.fill_between(low.index, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(middle.index, middle, color=colour, marker="o", markersize=4, label=rounding)
    # NaN where no search of any width was made: relaxation certificates alone.
    widest = data.groupby("shard")["widest_objective"].min()
    gap = ((widest - lower) / widest.abs()).max(skipna=False)
    name = "proven optimum of any width" if gap <= OPTIMAL else "proven bound of any width"
    widths = np.unique(data["width"])
    ends = widths[[0, -1]]
    axes.plot(ends, [bound] * 2, color=INK, linestyle=(0, (5, 2)), label=name)
    if gap > OPTIMAL:
        best_of_any = bound + (widest - lower).median()
        axes.plot(ends, [best_of_any] * 2, color=SOFT, linestyle=(0, (1, 1.5)),
                  label="best network of any width")  # fmt: skip
    log_x(axes, widths)
    if len(widths) <= MOST_TICKS:
        axes.set_xticks(widths)
        axes.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(5))
