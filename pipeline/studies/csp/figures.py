"""The figure of a study of CSPs: bound and value against rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reports.figures.drawing import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SOFT,
    grid,
    new_figure,
    say_nothing,
    style,
)

Row = dict[str, Any]

# What is drawn of a row: column, name, colour.
LINES = (
    ("upper_bound", "proven bound", BLUE),
    ("value", "value reached", GREEN),
    ("derandomized", "by conditioning alone", ORANGE),
    ("propagated", "by propagation", PURPLE),
)
_STROKES = ("-", "--", ":", "-.", (0, (1, 1)), (0, (5, 1)))


def rounds_figure(rows: Sequence[Row]) -> Figure:
    """A panel an instance; a stroke a rule; of several seeds the mean."""
    names = list(dict.fromkeys(row["shard"] for row in sorted(rows, key=lambda r: r["shard"])))
    if not names:
        return say_nothing(*new_figure(8.6, 1.2), "nothing is finished")
    across, down = grid(len(names))
    rules = sorted({row["rule"] for row in rows})
    with style():
        figure = Figure(figsize=(8.6, 0.5 + 3.1 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for axes, name in zip(panels, names, strict=False):
            _draw(axes, name, [row for row in rows if row["shard"] == name], rules)
        handles = [axes.plot([], [], color=colour, label=name)[0] for _, name, colour in LINES]
        if len(rules) > 1:
            handles += [
                axes.plot([], [], color=SOFT, linestyle=stroke, label=f"rule {rule}")[0]
                for rule, stroke in zip(rules, _STROKES, strict=False)
            ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw(axes: Axes, name: str, rows: list[Row], rules: list[str]) -> None:
    rounds = sorted({row["rounds"] for row in rows})
    for rule, stroke in zip(rules, _STROKES, strict=False):
        of_rule = [row for row in rows if row["rule"] == rule]
        for column, _, colour in LINES:
            at = [r for r in rounds if _values(of_rule, r, column)]
            means = [_mean(_values(of_rule, r, column)) for r in at]
            axes.plot(at, means, color=colour, linestyle=stroke, marker="o", markersize=4)
    axes.set_title(name.replace(" degree", "\ndegree"), fontsize=8.5)
    axes.set_xlabel("rounds (threshold rank)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    ranks = {row["rounds"]: row["threshold_rank"] for row in rows}
    axes.set_xticks(rounds, [f"{r}\n({ranks[r]})" for r in rounds])
    axes.margins(x=0.08, y=0.1)


def _values(rows: list[Row], rounds: int, column: str) -> list[float]:
    return [row[column] for row in rows if row["rounds"] == rounds and row[column] is not None]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
