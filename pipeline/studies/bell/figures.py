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
    grid,
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
    """Verdicts (K,) at places (K, 2) of a plane; at one level, with so many steps."""

    title: str
    places: Array
    verdict: Array


def planes(folder: RunFolder, rows: Sequence[Row]) -> list[Plane]:
    """The planes of a run's rows, those of fewer steps first within a level."""

    def key(row: Row) -> tuple[str, int, int, int]:
        return row["scenario"], LEVELS.index(row["level"]), row["steps"], row["first"]

    parts: dict[str, list[tuple[Array, Array]]] = {}
    for row in sorted((row for row in rows if row["set"] == PLANE), key=key):
        table = folder.read_table(row["verdicts"])
        axes = np.stack(axes_of_plane(Scenario.parse(row["scenario"])))
        places = np.linalg.lstsq(axes.T, behaviours_of(table).T, rcond=None)[0].T
        title = f"{row['scenario']}, level {row['level']}, {row['steps']} steps"
        verdict = np.array(table["verdict"].to_pylist())
        parts.setdefault(title, []).append((places, verdict))
    return [
        Plane(title, np.concatenate([p for p, _ in some]), np.concatenate([v for _, v in some]))
        for title, some in parts.items()
    ]


def plane_figure(found: Sequence[Plane]) -> Figure:
    """Each plane's behaviours, coloured by verdict; those that are undecided stand out."""
    if not found:
        return say_nothing(*new_figure(8.6, 1.2), "no plane among the sets")
    across, down = grid(len(found))
    with style():
        figure = Figure(figsize=(8.6, 0.8 + 8.6 / across * 1.02 * down), layout="constrained")
        panels = np.atleast_1d(figure.subplots(down, across, sharex=True, sharey=True)).ravel()
        for axes, plane in zip(panels, found, strict=False):
            _draw_plane(axes, plane, 8.6 / across)
        for axes in panels[len(found) :]:
            axes.set_axis_off()
        handles = [
            Line2D([], [], marker="s", linestyle="none", color=colour, label=name)
            for name, colour in COLOURS.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw_plane(axes: Axes, plane: Plane, inches: float) -> None:
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
    axes.set_ylim(-1.03, 1.03)
    axes.set_xlabel("share of the Popescu-Rohrlich box")
    place = axes.get_subplotspec()
    if place is not None and place.is_first_col():
        axes.set_ylabel("share of the deterministic box")


def cost_figure(found: Sequence[Group]) -> Figure:
    """The inconclusive share against processor time a behaviour, a point a group."""
    figure, axes = new_figure(8.6, 4.0)
    with style():
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
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.set_ylim(bottom=-3.0 * max(top, 0.01), top=112.0 * max(top, 0.01))
        axes.set_xlabel("microseconds of processor time a behaviour, proof included")
        axes.set_ylabel("inconclusive, %")
        axes.legend(title="set", frameon=False)
    return figure
