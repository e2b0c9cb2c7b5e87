"""Figures of a study of Bell scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.reports.figures.chart import Axis, Chart, Dots, Mark, Note, Panel, Tiles
from pipeline.reports.figures.palette import AMBER, BLUE, GREEN, INK, PURPLE, RED, SOFT
from pipeline.results.folder import RunFolder
from pipeline.studies.bell.behaviours import axes_of_plane
from pipeline.studies.bell.blocks import PLANE
from pipeline.studies.bell.rows import behaviours_of
from pipeline.studies.bell.summary import LEVELS, Group, Row, left_open
from qnn.moments.words import Scenario

Array = np.ndarray

COLOURS = {"inside": BLUE, "outside": AMBER, "inconclusive": INK}
_SETS = {"U": (GREEN, "o"), "N": (BLUE, "s"), "B": (RED, "^"), PLANE: (PURPLE, "D"),
         "file": (SOFT, "v")}  # fmt: skip
# Undecided behaviours are drawn so much wider, for they are few.
_WIDER = {"inconclusive": 1.7}


@dataclass(frozen=True)
class Plane:
    """Verdicts (K,) at places (K, 2) of a plane; `row`: scenario and level, `title`: and steps."""

    row: str
    title: str
    places: Array
    verdict: Array


def planes(folder: RunFolder, rows: Sequence[Row]) -> list[Plane]:
    """The planes of a run's rows, those of fewer steps first within a level.

    Those without a network, and those of the one network of a level that leaves least open.
    """

    def key(row: Row) -> tuple[str, int, str, int, int]:
        place = LEVELS.index(row["level"])
        return row["scenario"], place, row["model"] or "", row["steps"], row["first"]

    parts: dict[tuple[str, str, int], list[tuple[Array, Array]]] = {}
    for row in sorted(shown_rows([row for row in rows if row["set"] == PLANE]), key=key):
        table = folder.read_table(row["verdicts"])
        axes = np.stack(axes_of_plane(Scenario.parse(row["scenario"])))
        places = np.linalg.lstsq(axes.T, behaviours_of(table).T, rcond=None)[0].T
        level = f"{row['scenario']}, level {row['level']}"
        verdict = np.array(table["verdict"].to_pylist())
        model = f", network {row['model']}" if row["model"] else ""
        parts.setdefault((level, model, row["steps"]), []).append((places, verdict))
    return [
        Plane(
            level,
            f"{level}, {steps} steps{model}",
            np.concatenate([places for places, _ in some]),
            np.concatenate([verdict for _, verdict in some]),
        )
        for (level, model, steps), some in parts.items()
    ]


def shown_rows(rows: list[Row]) -> list[Row]:
    """Those without a network, and of each level those of the network that leaves least open."""
    best: dict[tuple[str, str], tuple[str, int]] = {}
    least: dict[tuple[str, str], int] = {}
    for model, left in left_open(rows).items():
        level = model[:2]
        if model[2] is not None and left < least.get(level, left + 1):
            least[level], best[level] = left, model[2:]
    return [
        row
        for row in rows
        if row["model"] is None
        or (row["model"], row["model_seed"]) == best[row["scenario"], row["level"]]
    ]


def plane_figure(found: Sequence[Plane]) -> Chart:
    """Each plane's behaviours, coloured by verdict; those that are undecided stand out."""
    if not found:
        return Chart(empty="No plane among the sets.")
    return Chart(tuple(_plane_panel(plane) for plane in found))


def _plane_panel(plane: Plane) -> Panel:
    step = _mesh(plane.places[:, 1])
    marks = tuple(
        _tiles(plane.places[plane.verdict == name], step, colour, name)
        for name, colour in COLOURS.items()
    )
    undecided = int((plane.verdict == "inconclusive").sum())
    title = f"{plane.title}: {undecided:,} of {len(plane.verdict):,} undecided"
    across = Axis("share of the PR box", low=-1.03, high=1.03)
    return Panel(across, Axis("share of the local box"), marks, title, even=True)


def _mesh(heights: Array) -> float:
    """How far the rows of a plane are apart."""
    levels = np.unique(np.round(heights, 9))
    return float(np.diff(levels).min()) if len(levels) > 1 else 1.0


def _tiles(places: Array, step: float, colour: str, name: str) -> Tiles:
    """Points (K, 2) of a grid as rectangles, neighbours in a row as one."""
    order = np.lexsort((places[:, 0], np.round(places[:, 1], 9)))
    x, y = places[order].T
    new = np.ones(len(x), dtype=bool)
    new[1:] = (np.abs(np.diff(y)) > 0.5 * step) | (np.diff(x) > 1.5 * step)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(x)) - 1 if len(x) else first
    half = 0.5 * step * _WIDER.get(name, 1.02)
    return Tiles(x[first] - half, x[last] + half, y[first] - half, y[first] + half, colour, name)


def cost_figure(found: Sequence[Group]) -> Chart:
    """The inconclusive share against processor time a behaviour, a point a group."""
    top = max([group.inconclusive / group.count for group in found], default=0.0)
    marks: list[Mark] = []
    for name, (colour, marker) in _SETS.items():
        some = [group for group in found if group.set == name]
        x = [1e3 * group.cpu_per_1000 for group in some]
        y = [100.0 * group.inconclusive / group.count for group in some]
        titles = tuple(group.title for group in some)
        if some:
            marks.append(Dots(x, y, colour, f"set {name}", marker, 4.5, 0.85, titles=titles))
        for group, at, share in zip(some, x, y, strict=True):
            if share > 50.0 * top:
                words = f"{group.level}, {group.steps} steps{group.network}"
                marks.append(Note(at, share, words, INK, lift=14.0))
    time = Axis("microseconds of processor time a behaviour, proof included", log=True)
    open_share = Axis("inconclusive", unit=" %", low=-3.0 * max(top, 0.01),
                      high=118.0 * max(top, 0.01))  # fmt: skip
    return Chart((Panel(time, open_share, tuple(marks)),))
