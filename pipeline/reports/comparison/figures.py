"""Figures of the comparison: objectives over the bound, accuracy against size, curves of width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reports.comparison.sets import OWN, ComparedSet, summarize, time_curves
from pipeline.reports.figures.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SOFT,
    log_x,
    style,
)
from qnn.training.arms import QUANTIZED

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
}
COLOURS = {
    **dict.fromkeys(OWN, BLUE),
    "straight_through": RED,
    "rounded_floats": ORANGE,
    "random_signs": PURPLE,
    "annealing": GREEN,
}
OTHER = {"logistic_regression": "s", "rbf_svm": "^", "gradient_boosting": "D", "spectrahedra": "v"}
COLUMNS = 4
# An arm this many times as far above the bound as ours, in the mean, is far off.
FAR = 4.0
TIME_COLUMNS = 3
OUT = ("random_signs",)


def objective_figure(sets: list[ComparedSet]) -> Figure:
    """Every quantized network's objective over the proven bound of its problem, an arm a row.

    An arm that is far off is named at the edge by its mean, so that the others can be told apart.
    """
    with style():
        figure, panels = _grid(len(sets), 2.35, shared=True)
        quantized = _run(sets, QUANTIZED)
        for axes, compared in zip(panels, sets, strict=True):
            arms = [compared.own, *quantized]
            ratios = {arm: _ratios(compared, arm) for arm in arms}
            means = {arm: np.exp(np.mean(np.log(r))) for arm, r in ratios.items() if len(r)}
            edge = 1.0 + FAR * (means.get(compared.own, np.inf) - 1.0)
            near = [arm for arm, mean in means.items() if mean <= edge]
            for place, arm in enumerate(arms):
                if arm in near:
                    spread = np.random.default_rng(0).uniform(-0.22, 0.22, len(ratios[arm]))
                    heights, colour = place + spread, COLOURS[arm]
                    axes.scatter(ratios[arm], heights, s=9, alpha=0.45, color=colour, lw=0)
                    axes.plot([means[arm]] * 2, [place - 0.36, place + 0.36], color=INK, lw=1.8)
                elif arm in means:
                    axes.text(
                        0.98, place, f"{means[arm]:.2f} →", color=COLOURS[arm], ha="right",
                        va="center", transform=axes.get_yaxis_transform(),
                    )  # fmt: skip
            axes.axvline(1.0, color=SOFT, lw=1.2)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(lambda value, _: "")
            _ratio_ticks(axes)
            axes.set_title(compared.title)
            axes.set_yticks(range(len(arms)), ["ours", *(NAMES[arm] for arm in quantized)])
            axes.set_ylim(len(arms) - 0.5, -0.5)
        figure.supxlabel(
            "training objective / proven lower bound of its problem (bar: geometric mean; "
            "a number: that of an arm further off)",
            fontsize=9.5,
        )
    return figure


def _ratios(compared: ComparedSet, arm: str) -> np.ndarray:
    rows = compared.rows[compared.rows["rounding"] == arm]
    rows = rows[rows["lower_bound"] > 0]
    return (rows["upper_bound"] / rows["lower_bound"]).to_numpy()


def _ratio_ticks(axes: Axes) -> None:
    low, high = axes.get_xlim()
    scales = ((1, 2, 5, 10, 20, 50), (1, 1.2, 1.5, 2), (1, 1.1, 1.2), (1, 1.02, 1.05))
    limits = (2.5, 1.3, 1.12, 0.0)
    chosen = next(s for s, limit in zip(scales, limits, strict=True) if high >= limit)
    axes.set_xticks([tick for tick in chosen if low <= tick <= high])
    axes.set_xticks([], minor=True)


def accuracy_figure(sets: list[ComparedSet]) -> Figure:
    """Test accuracy against size in bytes, a panel a data set, a marker an arm."""
    names = list(
        dict.fromkeys(one.dataset for one in sets if one.rows["test_accuracy"].notna().any())
    )
    with style():
        figure, panels = _grid(len(names), 3.0, shared=False)
        for axes, dataset in zip(panels, names, strict=True):
            own = [one for one in sets if one.dataset == dataset]
            for compared in own:
                hollow = compared.scaling == "standardize"
                for one in summarize(compared):
                    others = set(OWN) - {compared.own}
                    if one.arm in others or one.arm not in {*COLOURS, *OTHER}:
                        continue
                    colour = COLOURS.get(one.arm, INK)
                    axes.errorbar(
                        one.bytes, 100 * one.accuracy, yerr=100 * np.nan_to_num(one.deviation),
                        marker=OTHER.get(one.arm, "o"), color=colour, ls="", ms=6, elinewidth=0.8,
                        markerfacecolor="white" if hollow and one.arm in COLOURS else colour,
                    )  # fmt: skip
            sizes = np.concatenate([one.rows["bytes"].dropna() for one in own])
            log_x(axes, sizes)
            axes.set_title(dataset)
            axes.set_ylabel("test accuracy, %")
            axes.set_xlabel("bytes")
        _legend(figure, len(panels), _handles(sets))
    return figure


def _handles(sets: list[ComparedSet]) -> list[Any]:
    from matplotlib.lines import Line2D

    present = {arm for one in sets for arm in one.rows["rounding"].unique()}
    drawn = [arm for arm in NAMES if arm in present and (arm in COLOURS or arm in OTHER)]
    return [
        Line2D([], [], ls="", marker=OTHER.get(arm, "o"), color=COLOURS.get(arm, INK),
               label=NAMES[arm])
        for arm in drawn
    ]  # fmt: skip


def width_figure(sets: list[ComparedSet]) -> Figure | None:
    """Objective against the number of neurons, with the bound as a line; None without widths."""
    curves = [one for one in sets if _widths(one.rows) >= 3]
    if not curves:
        return None
    with style():
        figure, panels = _grid(len(curves), 3.0, shared=False)
        for axes, compared in zip(panels, curves, strict=True):
            rows = compared.rows[compared.rows["rounding"].isin([*COLOURS])]
            level = rows["beta_fraction"].round(10).min()
            rows = rows[(rows["beta_fraction"] - level).abs() < 1e-9]
            rows = rows[rows["shard"] == rows["shard"].min()]
            for arm in (compared.own, *_run(curves, QUANTIZED)):
                some = rows[rows["rounding"] == arm].groupby("width")["upper_bound"].mean()
                axes.plot(
                    some.index, some.values, "o-", ms=3.5, color=COLOURS[arm], label=NAMES[arm]
                )
            axes.axhline(rows["lower_bound"].max(), color=INK, lw=1.2, ls="--")
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set_title(f"{compared.title}, β = {level:g} β max")
            axes.set_xlabel("neurons allowed")
            axes.set_ylabel("training objective")
        _legend(figure, len(panels), panels[0].get_legend_handles_labels()[0])
    return figure


def time_figure(sets: list[ComparedSet]) -> Figure:
    """Objective over the bound, and test accuracy below it, against wall time; a column a set."""
    columns = min(TIME_COLUMNS, max(len(sets), 2))
    lines = -(-len(sets) // columns)
    with style():
        figure = Figure(figsize=(1.6 + 3.4 * columns, 5.4 * lines + 0.6), layout="constrained")
        panels = figure.subplots(2 * lines, columns, squeeze=False)
        for place in range(lines * columns):
            line, column = divmod(place, columns)
            above, below = panels[2 * line : 2 * line + 2, column]
            if place >= len(sets):
                above.set_axis_off()
                below.set_axis_off()
                continue
            below.sharex(above)
            _time_panels(above, below, sets[place])
            if column == 0:
                above.set_ylabel("objective / proven bound")
                below.set_ylabel("test accuracy, %")
        _legend(figure, columns, panels[0, 0].get_legend_handles_labels()[0])
    return figure


def _time_panels(above: Axes, below: Axes, compared: ComparedSet) -> None:
    curves = time_curves(compared)
    for curve in curves:
        colour = COLOURS.get(curve.arm, BLUE)
        label = NAMES.get(curve.arm, "ours: Krivine, refined, graduated")
        above.plot(curve.seconds, curve.ratio, "o-", ms=3.5, color=colour, label=label)
        below.plot(curve.seconds, 100 * curve.accuracy, "o-", ms=3.5, color=colour)
    # Random neurons, and Krivine's rounding before any search, would press the others together.
    shown = [c.ratio[c.arm == "ours" and len(c.ratio) > 1 :] for c in curves if c.arm not in OUT]
    low, high = np.min(np.concatenate(shown)), np.max(np.concatenate(shown))
    above.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    if not np.isfinite(np.concatenate([curve.accuracy for curve in curves])).any():
        below.text(0.5, 0.5, "no classes", ha="center", transform=below.transAxes, color=SOFT)
        below.set_yticks([])
    above.set_title(compared.title)
    above.set_xscale("log")
    for axes in (above, below):
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    below.set_xlabel("seconds a network")


def _legend(figure: Figure, panels: int, handles: list[Any]) -> None:
    columns = min(COLUMNS, panels) + 1
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def _run(sets: list[ComparedSet], arms: Sequence[str]) -> list[str]:
    """Those of the arms that any of the sets has."""
    present = {arm for one in sets for arm in one.rows["rounding"].unique()}
    return [arm for arm in arms if arm in present]


def _widths(rows: pd.DataFrame) -> int:
    return int(rows.loc[rows["rounding"].isin(OWN), "width"].nunique())


def _grid(count: int, height: float, shared: bool) -> tuple[Figure, list[Axes]]:
    columns = min(COLUMNS, max(count, 1))
    lines = -(-max(count, 1) // columns)
    figure = Figure(figsize=(2.6 + 2.5 * columns, height * lines + 0.8), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=shared, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, list(axes[:count])
