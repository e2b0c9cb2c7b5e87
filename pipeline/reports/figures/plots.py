"""The figures of a sweep: each takes the table of results and returns a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.reports.figures.drawing import (
    BLUE,
    INK,
    ORANGE,
    RED,
    ROUNDING_COLOURS,
    RULE,
    SOFT,
    end_labels,
    grid,
    log_x,
    new_figure,
    say_nothing,
    style,
)
from pipeline.reports.figures.width_plots import curve_figure, gap_figure
from pipeline.results import summary
from pipeline.results.summary import KRIVINE_CONSTANT, Metric

# With more points a scatter is drawn as pixels inside the SVG, which else grows to megabytes.
MOST_VECTOR_POINTS = 400


def bounds_figure(results: pa.Table | pd.DataFrame) -> Figure:
    """Objective of the best network and the proven lower bound against β, and the gap between them.

    Each line is the median over shards, the band around it their range. Nothing quantized of any
    width can lie in the shaded region under the lower bound. Each kind of problem has
    panels of its own.
    """
    data = summary.searched(summary.frame(results))
    with style():
        if not len(data):
            figure, axes = new_figure(7.6, 4.2)
            return say_nothing(
                figure, axes, "No network was finished: there are no bounds to draw."
            )
        axis = summary.beta_axis(data)
        data = data.assign(level=axis.values(data))
        kinds = summary.problems(data)
        across, down = grid(len(kinds))
        figure = Figure(figsize=(max(7.6, 5.2 * across), 5.4 * down), layout="constrained")
        panels = figure.subplots(
            2 * down, across, sharex=True, height_ratios=[3, 1.15] * down, squeeze=False
        )
        pairs = [(panels[2 * row, k], panels[2 * row + 1, k])
                 for row in range(down) for k in range(across)]  # fmt: skip
        for kind, (axes, below) in zip(kinds, pairs, strict=False):
            # Objectives of two kinds of problem cannot be compared: panels of its own for each.
            _draw_bounds(axes, below, data[data["problem"] == kind], axis)
            below.tick_params(labelbottom=True)
            if kind:
                axes.set_title(kind)
        for unused in pairs[len(kinds) :]:
            for axes in unused:
                axes.set_axis_off()
        return figure


def _draw_bounds(axes: Axes, below: Axes, data: pd.DataFrame, axis: summary.BetaAxis) -> None:
    by_problem = data.groupby(["level", "shard"])
    best = by_problem["upper_bound"].min().groupby("level")
    lower = by_problem["lower_bound"].max().groupby("level")
    relaxed = by_problem["relaxation_value"].min().groupby("level")
    levels = np.array(sorted(data["level"].unique()))
    for grouped, colour in ((best, BLUE), (lower, INK)):
        axes.fill_between(
            levels, grouped.min(), grouped.max(), color=colour, alpha=0.13, linewidth=0
        )
    floor = min(0.0, float(lower.median().min()))
    axes.fill_between(levels, floor, lower.median(), color=INK, alpha=0.05, linewidth=0)
    axes.plot(levels, best.median(), color=BLUE, marker="o", markersize=4.5)
    axes.plot(levels, lower.median(), color=INK, marker="_", markersize=7)
    axes.plot(levels, relaxed.median(), linestyle="none", marker="o", markersize=7.5,
              markerfacecolor="none", markeredgecolor=ORANGE, markeredgewidth=1.3)  # fmt: skip
    axes.set_ylim(bottom=floor)
    axes.margins(x=0.04)
    log_x(axes, levels)
    axes.set_ylabel("training objective\n(loss + β d Σ|α|)")
    _draw_best_gap(below, by_problem["gap"].min().groupby("level"), levels)
    below.set_xlabel(axis.label)
    end_labels(
        axes,
        levels[-1],
        [
            (float(best.median().iloc[-1]), "best network found", BLUE),
            (float(relaxed.median().iloc[-1]), "value of the relaxation (○)", "#9a6700"),
            (float(lower.median().iloc[-1]), "proven lower bound", INK),
        ],
    )
    if len(levels) > 1:
        # The middle of the logarithmic axis, where there may be no β.
        middle = float(np.sqrt(levels[0] * levels[-1]))
        height = float(np.interp(np.log(middle), np.log(levels), lower.median()))
        axes.annotate(
            "no quantized network\nof any width lies here", (middle, 0.45 * (height + floor)),
            ha="center", va="center", color=SOFT, fontsize=9, style="italic",
        )  # fmt: skip


def _draw_best_gap(axes: Axes, grouped: Any, levels: np.ndarray) -> None:
    axes.fill_between(
        levels, 100 * grouped.min(), 100 * grouped.max(), color=BLUE, alpha=0.13, linewidth=0
    )
    axes.plot(levels, 100 * grouped.median(), color=BLUE, marker="o", markersize=4.5)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_ylabel("certified gap")


def rounding_figure(results: pa.Table | pd.DataFrame) -> Figure:
    """Distribution of network objective over relaxation value: a strip a kind, rounding and width.

    Every point is a network; the bar spans the quartiles, the tick is the median. 1 is the value of
    the relaxation, K = 1.782 the factor within which the true optimum must lie (bilinear).
    """
    data = summary.searched(summary.frame(results))
    with style():
        data = data.assign(ratio=data["upper_bound"] / data["relaxation_value"])
        data = data[np.isfinite(data["ratio"]) & (data["ratio"] > 0)]
        if not len(data):
            figure, axes = new_figure(7.6, 3.0)
            return say_nothing(figure, axes, "No network was finished, so nothing was rounded.")
        roundings = sorted(data["rounding"].unique())
        groups = sorted(data.groupby(["problem", "rounding", "width"]), key=lambda item: item[0])
        figure, axes = new_figure(7.6, 1.3 + 0.42 * len(groups))
        rng = np.random.default_rng(0)
        for place, ((_, rounding, _), group) in enumerate(groups):
            colour = ROUNDING_COLOURS[roundings.index(rounding) % len(ROUNDING_COLOURS)]
            ratio = group["ratio"].to_numpy()
            jitter = place + rng.uniform(-0.26, 0.26, len(ratio))
            axes.scatter(ratio, jitter, s=9, color=colour, alpha=0.35, linewidths=0,
                         rasterized=len(data) > MOST_VECTOR_POINTS)  # fmt: skip
            low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
            axes.plot([low, high], [place, place], color=colour, linewidth=6, alpha=0.55,
                      solid_capstyle="butt")  # fmt: skip
            axes.plot([middle, middle], [place - 0.34, place + 0.34], color=INK, linewidth=1.8)
            axes.annotate(
                f"{middle:.3g}", (middle, place - 0.36), (0, 1), textcoords="offset points",
                ha="center", va="bottom", fontsize=8, color=INK,
                bbox={"boxstyle": "round,pad=0.1", "fc": "white", "alpha": 0.75, "lw": 0},
            )  # fmt: skip
        axes.set_yticks(
            range(len(groups)),
            [
                f"{kind}, {rounding}, {width}" if kind else f"{rounding}, {width} neurons"
                for (kind, rounding, width), _ in groups
            ],
        )
        axes.set_ylim(len(groups) - 0.45, -0.95)
        axes.grid(axis="y", visible=False)
        axes.axvline(1.0, color=INK, linewidth=1.2)
        right = max(float(data["ratio"].max()) * 1.03, 1.06)
        left = min(0.99, float(data["ratio"].min()))
        log_x(axes, np.array([left, right]), least_ticks=4)
        axes.set_xlim(left, right)
        axes.set_xlabel("network objective ÷ value of the relaxation   (closer to 1 is better)")
        bilinear = set(data["activation"]) == {"bilinear"}
        if bilinear and right > KRIVINE_CONSTANT:
            axes.axvline(KRIVINE_CONSTANT, color=SOFT, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate("K = 1.782: the optimum lies left of this", (KRIVINE_CONSTANT, -0.92),
                          (4, 0), textcoords="offset points", va="top", color=SOFT,
                          fontsize=8)  # fmt: skip
        return figure


def size_figure(
    results: pa.Table | pd.DataFrame, champion: str | None = None, *, chosen: bool = True
) -> Figure:
    """Validation and test metric against packed bytes: a point a setting.

    Settings are averaged over shards and seeds. The stepped line joins those that no smaller one
    beats on validation. `champion` (a trial id) is marked on the test panel unless `chosen` is
    false.
    """
    data = summary.frame(results)
    metric = summary.metric_of(data)
    with style():
        points = summary.settings(data) if len(summary.searched(data)) else pd.DataFrame()
        parts = [p for p in ("validation", "test")
                 if len(points) and points[metric.column(p)].notna().any()]  # fmt: skip
        if not parts:
            figure, axes = new_figure(7.6, 4.0)
            return say_nothing(figure, axes, "No network has a validation or test metric to draw.")
        figure = Figure(figsize=(9.2 if len(parts) > 1 else 6.4, 4.2), layout="constrained")
        panels = figure.subplots(1, len(parts), sharey=True, sharex=True, squeeze=False)[0]
        groups = sorted(points.groupby(["problem", "rounding"]), key=lambda item: item[0])
        front = _frontier(points, metric, parts[0])
        for panel, part in zip(panels, parts, strict=True):
            for place, ((kind, rounding), some) in enumerate(groups):
                panel.scatter(
                    some["bytes"], some[metric.column(part)], s=26, alpha=0.75, linewidths=0,
                    color=ROUNDING_COLOURS[place % len(ROUNDING_COLOURS)],
                    label=f"{kind}, {rounding}" if kind else rounding,
                    marker="os^Dv"[(place + place // 5) % 5],
                    rasterized=len(points) > MOST_VECTOR_POINTS,
                )  # fmt: skip
            panel.plot(front["bytes"], front[metric.column(part)], color=INK, linewidth=1,
                       drawstyle="steps-post" if part == parts[0] else "default",
                       marker="o", markersize=3, alpha=0.8,
                       label="best at its size (on validation)")  # fmt: skip
            panel.set_title(
                "validation: chooses" if part == "validation" else "test: never used to choose"
            )
            panel.set_xlabel("bytes (packed bits + scalars)")
        log_x(panels[0], points["bytes"].to_numpy())
        if metric.share:
            panels[0].yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g} %"))
        panels[0].yaxis.set_major_locator(MaxNLocator(7))
        panels[0].set_ylabel(metric.label)
        row = summary.champion_row(data, champion) if chosen else None
        if row is not None and "test" in parts and np.isfinite(row[metric.column("test")]):
            panels[-1].scatter([row["bytes"]], [row[metric.column("test")]], marker="*", s=190,
                               color=ORANGE, edgecolors=INK, linewidths=0.9, zorder=5,
                               label="the chosen network")  # fmt: skip
        panels[-1].legend(
            frameon=True, framealpha=0.9, edgecolor=RULE, fontsize=8.5,
            loc="lower right" if metric.higher_is_better else "upper right",
        )  # fmt: skip
        return figure


def beta_figure(results: pa.Table | pd.DataFrame) -> Figure:
    """Train, validation and test metric of the best setting at each β (mean over its shards).

    A panel a kind of problem.
    """
    data = summary.frame(results)
    metric = summary.metric_of(data)
    rows = summary.searched(data)
    with style():
        if not len(rows):
            figure, axes = new_figure(7.6, 3.8)
            return say_nothing(
                figure, axes, "No network was finished, so there is nothing to draw."
            )
        axis, settings = summary.beta_axis(rows), summary.settings(data)
        kinds = summary.problems(rows)
        across, down = grid(len(kinds))
        figure = Figure(figsize=(max(7.6, 4.6 * across), 3.8 * down), layout="constrained")
        panels = figure.subplots(down, across, sharey=True, squeeze=False)
        for kind, axes in zip(kinds, panels.flat, strict=False):
            _draw_metric(axes, settings[settings["problem"] == kind], metric)
            axes.set_xlabel(axis.label)
            if kind:
                axes.set_title(kind)
        for axes in panels[:, 0]:
            axes.set_ylabel(f"{metric.label} of the best setting")
        for axes in panels.flat[len(kinds) :]:
            axes.set_axis_off()
        return figure


def _draw_metric(axes: Axes, settings: pd.DataFrame, metric: Metric) -> None:
    best = settings.drop_duplicates("beta_level").sort_values("beta_level")
    ends = []
    for part, colour, dash in (
        ("train", SOFT, (0, (1, 1.5))), ("validation", BLUE, "-"), ("test", RED, (0, (5, 2)))
    ):  # fmt: skip
        values = best[metric.column(part)]
        if values.notna().any():
            axes.plot(best["beta_level"], values, color=colour, linestyle=dash, marker="o",
                      markersize=4)  # fmt: skip
            ends.append((float(values.iloc[-1]), part, colour))
    axes.margins(x=0.04)
    log_x(axes, best["beta_level"].to_numpy())
    if metric.share:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g} %"))
    end_labels(axes, float(best["beta_level"].iloc[-1]), ends)


def _frontier(points: pd.DataFrame, metric: Metric, part: str) -> pd.DataFrame:
    """The settings that no setting of at most their size beats, by size."""
    column = metric.column(part)
    sign = 1.0 if metric.higher_is_better else -1.0
    ordered = points[points[column].notna()].sort_values(
        ["bytes", column], ascending=[True, not metric.higher_is_better]
    )
    score = sign * ordered[column]
    return ordered[score > score.cummax().shift(fill_value=-np.inf)]


@dataclass(frozen=True)
class FigureKind:
    """A figure with the words that go with it. `describe` is also its text for screen readers."""

    name: str
    title: str
    describe: str
    draw: Callable[[pa.Table | pd.DataFrame], Figure]


FIGURES: tuple[FigureKind, ...] = (
    FigureKind(
        "bounds",
        "How good can any network be, and how good are ours?",
        "Objective of the best network and the proven lower bound against β. Lines are medians "
        "over the shards, bands their range. The distance between the two lines, drawn below as "
        "the certified gap, is all that can still be gained.",
        bounds_figure,
    ),
    FigureKind(
        "metric_and_size",
        "What does a byte buy?",
        "Validation and test metric against the size of the network. A point is one setting (β, "
        "width, rounding), averaged over shards and seeds.",
        size_figure,
    ),
    FigureKind(
        "metric_along_beta",
        "Where along β is the best network?",
        "Training, validation and test metric of the setting that is best on validation at each β.",
        beta_figure,
    ),
    FigureKind(
        "gap_and_width",
        "How much width does a small gap need?",
        "Certified gap against the number of neurons asked for, one line for each β.",
        gap_figure,
    ),
    FigureKind(
        "objective_and_width",
        "What does a narrower network lose?",
        "Objective of the best network found with at most so many neurons, over the bound that no "
        "network of any width gets below, at some of the β. Lines are medians over the shards, "
        "bands their range, each shard shifted so that all have the same bound.",
        curve_figure,
    ),
    FigureKind(
        "rounding",
        "How much does rounding lose?",
        "Objective of every network divided by the value of its relaxation. Points are networks, "
        "bars span the quartiles, ticks are medians.",
        rounding_figure,
    ),
)
