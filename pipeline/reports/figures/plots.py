"""The figures of a sweep: each takes the table of results and returns a chart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.reports.figures.chart import Axis, Band, Chart, Dots, Level, Line, Mark, Note, Panel
from pipeline.reports.figures.palette import AMBER, BLUE, INK, RED, SERIES, SOFT
from pipeline.reports.figures.reliability_plot import reliability_figure
from pipeline.reports.figures.scales import spread
from pipeline.reports.figures.width_plots import curve_figure, gap_axis, gap_figure
from pipeline.results import summary
from pipeline.results.summary import KRIVINE_CONSTANT, Metric

# Of the networks of a strip so many are drawn as dots, evenly by their order; bars are of all.
MOST_DOTS = 300
# Of a panel's height, what two lines of words under the bound need.
ROOM_FOR_WORDS = 0.3
MARKERS = ("o", "s", "^", "D", "v")
_BETWEEN = 8


def bounds_figure(results: pa.Table | pd.DataFrame) -> Chart:
    """Objective of the best network and the proven lower bound against β, and the gap between them.

    Lines are medians over shards, bands their range. The grey area lies under the bound of every
    shard: nothing quantized of any width can lie there, on any of them. Each kind of problem has
    panels of its own, the gap on a logarithmic axis.
    """
    data = summary.searched(summary.frame(results))
    if not len(data):
        return Chart(empty="No network was finished: there are no bounds to draw.")
    axis = summary.beta_axis(data)
    data = data.assign(level=axis.values(data))
    panels: list[Panel] = []
    for kind in summary.problems(data):
        own = data[data["problem"] == kind]
        panels += [_bounds_panel(own, axis, kind), _gap_panel(own, axis, kind)]
    return Chart(tuple(panels))


def beta_on_axis(axis: summary.BetaAxis, levels: np.ndarray) -> Axis:
    """β along the bottom, on a logarithm where all are positive."""
    known = np.unique(levels[np.isfinite(levels)])
    return Axis(axis.label, log=bool(len(known)) and known[0] > 0, values=tuple(known.tolist()))


def _bounds_panel(data: pd.DataFrame, axis: summary.BetaAxis, kind: str) -> Panel:
    by_problem = data.groupby(["level", "shard"])
    best = by_problem["upper_bound"].min().groupby("level")
    lower = by_problem["lower_bound"].max().groupby("level")
    relaxed = by_problem["relaxation_value"].min().groupby("level")
    levels = np.array(sorted(data["level"].unique()))
    floor = min(0.0, float(lower.min().min()))
    places, proven = _proven_of_all(levels, lower.min().to_numpy())
    marks: list[Mark] = [
        Band(places, np.full(len(places), floor), proven, INK, 0.07),
        *(Band(levels, of.min(), of.max(), colour) for of, colour in ((best, BLUE), (lower, INK))),
        Line(levels, best.median(), BLUE, "best network", marker="o"),
        Line(levels, lower.median(), INK, "proven bound", marker="-"),
        Dots(levels, relaxed.median(), AMBER, "value of the relaxation", size=5.0, hollow=True),
    ]
    if len(levels) > 1 and levels[0] > 0:
        # To the right on the logarithmic axis, where most room is under the bound.
        place = float(levels[0] ** 0.22 * levels[-1] ** 0.78)
        height = float(np.interp(place, places, proven))
        words = "no quantized network\nof any width lies here"
        if height - floor >= ROOM_FOR_WORDS * (float(best.max().max()) - floor):
            marks.append(Note(place, floor + 0.35 * (height - floor), words))
    objective = Axis("training objective: loss + β d Σ|α|", low=floor)
    return Panel(beta_on_axis(axis, levels), objective, tuple(marks), kind or "Objective and bound")


def _proven_of_all(levels: np.ndarray, lowest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bound that holds on every shard, at the β of the sweep and between them.

    The optimum is concave in β, an infimum of lines, so it lies above each chord of its bounds.
    On a logarithmic axis a chord is bent; `_BETWEEN` places from one β to the next show that.

    Args:
        levels: β, or fractions of each shard's largest, increasing, (L,).
        lowest: the lowest of the shards' bounds at each, (L,).
    """
    steps = np.arange(_BETWEEN * (len(levels) - 1) + 1) / _BETWEEN
    drawn = np.log(levels) if levels[0] > 0 else levels
    along = np.interp(steps, np.arange(len(levels)), drawn)
    places = np.exp(along) if levels[0] > 0 else along
    places[::_BETWEEN] = levels
    return places, np.interp(places, levels, lowest)


def _gap_panel(data: pd.DataFrame, axis: summary.BetaAxis, kind: str) -> Panel:
    gap = data.groupby(["level", "shard"])["gap"].min().groupby("level")
    levels = np.array(sorted(data["level"].unique()))
    low, middle, high = (100 * of for of in (gap.min(), gap.median(), gap.max()))
    shown = gap_axis(np.concatenate([low, middle, high]))
    marks = (Band(levels, low, high), Line(levels, middle, BLUE, marker="o"))
    title = f"{kind}: the gap" if kind else "The gap between the two"
    return Panel(beta_on_axis(axis, levels), shown, marks, title)


def rounding_figure(results: pa.Table | pd.DataFrame) -> Chart:
    """How far network objectives are above the relaxation's value: a strip a kind, rounding, width.

    In percent of that value, on a logarithm, so that roundings near to it are told apart. Dots are
    networks; the bar spans the quartiles, the stroke is the median. The true optimum lies within
    the factor K = 1.782 of the relaxation's value (bilinear).
    """
    data = summary.searched(summary.frame(results))
    ratio = data["upper_bound"] / data["relaxation_value"]
    known = np.isfinite(ratio) & (ratio > 0)
    data = data.assign(excess=100 * (ratio - 1.0).clip(lower=0.0))[known]
    if not len(data):
        return Chart(empty="No network was finished, so nothing was rounded.")
    roundings = sorted(data["rounding"].unique())
    groups = sorted(data.groupby(["problem", "rounding", "width"]), key=lambda item: item[0])
    along = gap_axis(data["excess"].to_numpy(), "objective above the relaxation")
    marks: list[Mark] = []
    for place, ((_, rounding, _), group) in enumerate(groups):
        colour = SERIES[roundings.index(rounding) % len(SERIES)]
        marks += strip(group["excess"].to_numpy(), place, colour)
    constant = 100 * (KRIVINE_CONSTANT - 1.0)
    if set(data["activation"]) == {"bilinear"} and data["excess"].max() > constant:
        name = "K = 1.782: the optimum lies left of this"
        marks.append(Level(constant, SOFT, name, "dashed", upright=True))
    names = tuple(
        f"{kind}, {rounding}, {width}" if kind else f"{rounding}, {width} neurons"
        for (kind, rounding, width), _ in groups
    )
    return Chart((Panel(along, Axis(), tuple(marks), rows=names),))


def strip(values: np.ndarray, place: int, colour: str) -> list[Mark]:
    """A row of dots with its quartiles and its median, written beside it."""
    values = np.sort(values)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    some = values[np.unique(np.linspace(0, len(values) - 1, MOST_DOTS).round().astype(int))]
    heights = place + 0.24 + np.random.default_rng(0).uniform(-0.18, 0.18, len(some))
    return [
        Dots(some, heights, colour, size=2.2, opacity=0.4),
        Line([low, high], [place + 0.24] * 2, colour, width=7.0, opacity=0.55),
        Line([middle, middle], [place + 0.03, place + 0.45], INK),
        Note(float(middle), place - 0.05, f"{middle:.3g} %", INK),
    ]


def size_figure(
    results: pa.Table | pd.DataFrame, champion: str | None = None, *, chosen: bool = True
) -> Chart:
    """Validation and test metric against packed bytes: a point a setting.

    The line joins the settings that none of at most their size beats on validation; the same
    settings are joined on the test side. The chosen network is starred unless `chosen` is false.
    """
    data = summary.frame(results)
    metric = summary.metric_of(data)
    points = summary.settings(data) if len(summary.searched(data)) else pd.DataFrame()
    parts = [p for p in ("validation", "test")
             if len(points) and points[metric.column(p)].notna().any()]  # fmt: skip
    if not parts:
        return Chart(empty="No network has a validation or test metric to draw.")
    row = summary.champion_row(data, champion) if chosen else None
    front = _frontier(points, metric, parts[0])
    starred = [] if row is None else [row[metric.column("test")]]
    every = metric.shown(np.concatenate([*(points[metric.column(p)] for p in parts), starred]))
    size = Axis("bytes of the network, its encoding not counted", log=True, whole=True)
    # Both panels have one scale, so that what validation promises is seen beside the test.
    height = metric_axis(metric, every)
    panels = []
    for part in parts:
        marks = _size_marks(points, front, metric, part)
        if row is not None and part == "test" and np.isfinite(row[metric.column("test")]):
            test = metric.shown(np.array([row[metric.column("test")]]))
            marks.append(Dots([row["bytes"]], test, AMBER, "the chosen network", "*", 5.0))
        title = "Validation: it chooses" if part == "validation" else "Test: it never chooses"
        panels.append(Panel(size, height, tuple(marks), title))
    return Chart(tuple(panels))


def metric_axis(metric: Metric, values: np.ndarray, label: str = "") -> Axis:
    """The axis of a metric that reaches these values, in percent where it is a share."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    wide = 0.06 * spread(low, high) or 0.05 * abs(high) or 1.0
    return Axis(label or metric.label, unit=metric.unit, low=low - wide, high=high + wide)


def _size_marks(points: pd.DataFrame, front: pd.DataFrame, metric: Metric, part: str) -> list[Mark]:
    marks: list[Mark] = []
    groups = sorted(points.groupby(["problem", "rounding"]), key=lambda item: item[0])
    for place, ((kind, rounding), some) in enumerate(groups):
        marks.append(
            Dots(
                some["bytes"], metric.shown(some[metric.column(part)].to_numpy()),
                SERIES[place % len(SERIES)], f"{kind}, {rounding}" if kind else rounding,
                MARKERS[(place + place // 5) % 5], opacity=0.75,
            )
        )  # fmt: skip
    best = metric.shown(front[metric.column(part)].to_numpy())
    marks.append(Line(front["bytes"], best, INK, "best at its size (on validation)", width=1.2,
                      keyed=True))  # fmt: skip
    return marks


def beta_figure(results: pa.Table | pd.DataFrame) -> Chart:
    """Train, validation and test metric of the best setting at each β (mean over its shards).

    A panel a kind of problem.
    """
    data = summary.frame(results)
    metric = summary.metric_of(data)
    rows = summary.searched(data)
    if not len(rows):
        return Chart(empty="No network was finished, so there is nothing to draw.")
    axis, settings = summary.beta_axis(rows), summary.settings(data)
    best = settings.drop_duplicates(["problem", "beta_level"]).sort_values("beta_level")
    parts = [p for p in _PARTS if best[metric.column(p)].notna().any()]
    every = np.concatenate([best[metric.column(part)] for part in parts] or [[]])
    height = metric_axis(metric, metric.shown(every), f"{metric.label} of the best setting")
    panels = []
    for kind in summary.problems(rows):
        own = best[best["problem"] == kind]
        levels = own["beta_level"].to_numpy()
        lines = tuple(
            Line(levels, metric.shown(own[metric.column(part)].to_numpy()), colour, part, dash, "o")
            for part, (colour, dash) in _PARTS.items()
            if part in parts
        )
        panels.append(Panel(beta_on_axis(axis, levels), height, lines, kind))
    return Chart(tuple(panels))


_PARTS = {"train": (SOFT, "dotted"), "validation": (BLUE, ""), "test": (RED, "dashed")}


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
    """A figure with the words that go with it. `describe` is also its text for screen readers.

    `optional`: it is left out where it is empty.
    """

    name: str
    title: str
    describe: str
    draw: Callable[[pa.Table | pd.DataFrame], Chart]
    optional: bool = False


FIGURES: tuple[FigureKind, ...] = (
    FigureKind(
        "bounds",
        "How good can any network be, and how good are ours?",
        "Objective of the best network and the proven lower bound against β. Lines are medians "
        "over the shards, bands their range; the grey area lies under the bound of every shard. "
        "The distance of the two lines, drawn beside it as the certified gap on a logarithm, is "
        "all that can still be gained.",
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
        optional=True,
    ),
    FigureKind(
        "objective_and_width",
        "What does a narrower network lose?",
        "How far the best network found with at most so many neurons is above the bound that no "
        "network of any width gets below, at some of the β. Lines are medians over the shards, "
        "bands their range.",
        curve_figure,
    ),
    FigureKind(
        "rounding",
        "How much does rounding lose?",
        "How far every network's objective is above the value of its relaxation, in percent of it. "
        "Points are networks, bars span the quartiles, strokes are medians.",
        rounding_figure,
    ),
    FigureKind(
        "reliability",
        "Are its probabilities right?",
        "Of the chosen network: in each tenth of the probability that it gives the positive class, "
        "or of more than two classes the predicted one, the share of rows that are of it, with its "
        "95 % interval. A line that meets the diagonal is right. Probabilities are fitted to the "
        "training rows.",
        reliability_figure,
        optional=True,
    ),
)
