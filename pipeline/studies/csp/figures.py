"""The figure of a study of CSPs: bound and value against rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipeline.reports.figures.drawing import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SOFT,
    new_figure,
    say_nothing,
    style,
)

Row = dict[str, Any]

# What is drawn of a row, the first below the others: column, name, colour, width, marker.
LINES = (
    ("value", "value reached", GREEN, 4.5, ""),
    ("derandomized", "by conditioning alone", ORANGE, 1.6, "s"),
    ("propagated", "by propagation", PURPLE, 1.2, "x"),
    ("upper_bound", "proven bound", BLUE, 1.8, "o"),
)
_ACROSS = 2
_STROKES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (1, 1)), (0, (5, 1)))


def rounds_figure(rows: Sequence[Row]) -> Figure:
    """A panel an instance; a stroke a rule; of several seeds the mean."""
    names = list(dict.fromkeys(row["shard"] for row in sorted(rows, key=lambda r: r["shard"])))
    if not names:
        return say_nothing(*new_figure(6.4, 1.2), "nothing is finished")
    across = min(len(names), _ACROSS)
    down = -(-len(names) // across)
    rules = sorted({row["rule"] for row in rows})
    with style():
        figure = Figure(figsize=(6.4, 0.6 + 2.6 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for axes, name in zip(panels, names, strict=False):
            _draw(axes, name, [row for row in rows if row["shard"] == name], rules)
        handles = [
            Line2D([], [], color=colour, linewidth=width, marker=marker, label=name)
            for _, name, colour, width, marker in reversed(LINES)
        ]
        if len(rules) > 1:
            handles += [
                Line2D([], [], color=SOFT, linestyle=stroke, label=f"rule {rule}")
                for rule, stroke in zip(rules, _STROKES, strict=False)
            ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw(axes: Axes, name: str, rows: list[Row], rules: list[str]) -> None:
    rounds = sorted({row["rounds"] for row in rows})
    for rule, stroke in zip(rules, _STROKES, strict=False):
        of_rule = [row for row in rows if row["rule"] == rule]
        for column, _, colour, width, marker in LINES:
            at = [r for r in rounds if _values(of_rule, r, column)]
            means = [_mean(_values(of_rule, r, column)) for r in at]
            shown: Any = {"linestyle": stroke}
            if column == "value":
                shown = {"linestyle": "-", "alpha": 0.35}
            axes.plot(
                at, means, color=colour, linewidth=width, marker=marker, markersize=4.5, **shown,
            )  # fmt: skip
    axes.set_title(name.replace(" degree", "\ndegree"), fontsize=8.5)
    axes.set_xlabel("rounds (threshold rank)")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    ranks = {row["rounds"]: row["threshold_rank"] for row in rows}
    axes.set_xticks(rounds, [f"{r}\n({ranks[r]})" for r in rounds])
    axes.margins(x=0.08, y=0.1)


def _values(rows: list[Row], rounds: int, column: str) -> list[float]:
    return [row[column] for row in rows if row["rounds"] == rounds and row[column] is not None]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
