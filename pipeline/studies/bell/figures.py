"""Figures of a study of Bell scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.reports.figures.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SOFT,
    log_x,
    new_figure,
    say_nothing,
    style,
)
from pipeline.results.folder import RunFolder
from pipeline.studies.bell.behaviours import axes_of_plane
from pipeline.studies.bell.blocks import PLANE
from pipeline.studies.bell.rows import behaviours_of
from pipeline.studies.bell.summary import LEVELS, Group, Row
from qnn.moments.words import Scenario

Array = np.ndarray

COLOURS = {"inside": BLUE, "outside": ORANGE, "inconclusive": INK}
_SET_COLOURS = {"U": GREEN, "N": BLUE, "B": RED, PLANE: PURPLE}


@dataclass(frozen=True)
class Plane:
    """Verdicts (K,) at places (K, 2) of a plane; `row`: scenario and level, `title`: and steps."""

    row: str
    title: str
    places: Array
    verdict: Array


def planes(folder: RunFolder, rows: Sequence[Row]) -> list[Plane]:
    """The planes of a run's rows, those of fewer steps first within a level."""

    def key(row: Row) -> tuple[str, int, int, int]:
        return row["scenario"], LEVELS.index(row["level"]), row["steps"], row["first"]

    parts: dict[tuple[str, int], list[tuple[Array, Array]]] = {}
    for row in sorted((row for row in rows if row["set"] == PLANE), key=key):
        table = folder.read_table(row["verdicts"])
        axes = np.stack(axes_of_plane(Scenario.parse(row["scenario"])))
        places = np.linalg.lstsq(axes.T, behaviours_of(table).T, rcond=None)[0].T
        level = f"{row['scenario']}, level {row['level']}"
        verdict = np.array(table["verdict"].to_pylist())
        parts.setdefault((level, row["steps"]), []).append((places, verdict))
    return [
        Plane(
            level,
            f"{level}, {steps} steps",
            np.concatenate([places for places, _ in some]),
            np.concatenate([verdict for _, verdict in some]),
        )
        for (level, steps), some in parts.items()
    ]


def plane_figure(found: Sequence[Plane]) -> Figure:
    """Each plane's behaviours, coloured by verdict; those that are undecided stand out."""
    if not found:
        return say_nothing(*new_figure(8.6, 1.2), "no plane among the sets")
    rows = list(dict.fromkeys(plane.row for plane in found))
    across = max(sum(plane.row == row for plane in found) for row in rows)
    inches = 8.6 / across
    low, high = (float(end([plane.places[:, 1] for plane in found])) for end in (_least, _most))
    height = inches * 0.85 * (high - low) / 2.06 + 0.75
    with style():
        figure = Figure(figsize=(8.6, 0.4 + height * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), across, sharex=True, sharey=True, squeeze=False)
        for axes in panels.ravel():
            axes.set_axis_off()
        for row, line in zip(rows, panels, strict=True):
            of_row = [plane for plane in found if plane.row == row]
            for axes, plane in zip(line, of_row, strict=False):
                axes.set_axis_on()
                _draw_plane(axes, plane, inches, (low, high))
        handles = [
            Line2D([], [], marker="s", linestyle="none", color=colour, label=name)
            for name, colour in COLOURS.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _least(heights: Sequence[Array]) -> float:
    return min(h.min() for h in heights) - 0.04


def _most(heights: Sequence[Array]) -> float:
    return max(h.max() for h in heights) + 0.04


def _draw_plane(axes: Axes, plane: Plane, inches: float, limits: tuple[float, float]) -> None:
    levels = np.unique(np.round(plane.places[:, 1], 9))
    spacing = float(np.diff(levels).min()) if len(levels) > 1 else 1.0
    # A marker as wide as the grid's mesh: 72 points an inch, about 0.8 of a panel for a range of 2.
    size = max(0.8 * inches * 72.0 * spacing / 2.0, 0.6)
    for name, colour in COLOURS.items():
        rows = plane.verdict == name
        larger = 1.6 if name == "inconclusive" else 1.05
        axes.scatter(
            plane.places[rows, 0], plane.places[rows, 1], s=(larger * size) ** 2, marker="s",
            color=colour, linewidths=0, rasterized=True, zorder=3 if name == "inconclusive" else 2,
        )  # fmt: skip
    undecided = int((plane.verdict == "inconclusive").sum())
    axes.set_title(f"{plane.title}\n{undecided} of {len(plane.verdict)} undecided", fontsize=8.5)
    axes.set_aspect("equal")
    axes.set_xlim(-1.03, 1.03)
    axes.set_ylim(*limits)
    place = axes.get_subplotspec()
    if place is not None and place.is_last_row():
        axes.set_xlabel("share of the PR box")
    if place is not None and place.is_first_col():
        axes.set_ylabel("share of the local box")


def cost_figure(found: Sequence[Group]) -> Figure:
    """The inconclusive share against processor time a behaviour, a point a group."""
    with style():
        figure, axes = new_figure(8.6, 4.0)
        top = max([group.inconclusive / group.count for group in found], default=0.0)
        for name, colour in {**_SET_COLOURS, "file": SOFT}.items():
            some = [group for group in found if group.set == name]
            if not some:
                continue
            x = [1e3 * group.cpu_per_1000 for group in some]
            y = [100.0 * group.inconclusive / group.count for group in some]
            axes.scatter(x, y, color=colour, label=name, s=38, alpha=0.85, zorder=3)
            for group, at, share in zip(some, x, y, strict=True):
                if share > 50.0 * top:
                    axes.annotate(f"{group.level}, {group.steps} steps", (at, share), (6, 0),
                                  textcoords="offset points", fontsize=8, va="center")  # fmt: skip
        log_x(axes, np.array([1e3 * group.cpu_per_1000 for group in found]))
        axes.set_ylim(bottom=-3.0 * max(top, 0.01), top=112.0 * max(top, 0.01))
        axes.set_xlabel("microseconds of processor time a behaviour, proof included")
        axes.set_ylabel("inconclusive, %")
        axes.legend(title="set", frameon=False)
    return figure
