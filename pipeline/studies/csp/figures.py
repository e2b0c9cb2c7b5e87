"""The figures of a study of CSPs: bound and value against rounds, and the gap between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.reports.figures.chart import Axis, Band, Chart, Line, Mark, Panel
from pipeline.reports.figures.palette import AMBER, BLUE, GREEN, PURPLE, SERIES, SOFT
from pipeline.reports.figures.width_plots import gap_axis

Row = dict[str, Any]

# What is drawn of a row, the first below the others: column, name, colour, width, marker.
LINES = (
    ("value", "value reached", GREEN, 4.5, ""),
    ("derandomized", "by conditioning alone", AMBER, 1.6, "s"),
    ("propagated", "by propagation", PURPLE, 1.2, "x"),
    ("upper_bound", "proven bound", BLUE, 1.8, "o"),
)
_NONE = "No rounds of conditioning are finished."
_STROKES = ("", "dashed", "dotted", "dashdot")


def rounds_figure(rows: Sequence[Row]) -> Chart:
    """A panel an instance; a stroke a rule; of several seeds the mean; what is exact, a line."""
    everything, rows = rows, conditioned(rows)
    rules = sorted({row["rule"] for row in rows})
    panels = []
    for name, own in _instances(rows):
        marks = _exact(own, [row for row in everything if row["shard"] == name])
        marks += [mark for k, rule in enumerate(rules) for mark in _lines(own, rule, _stroke(k))]
        marks += _key(rules)
        panels.append(Panel(_rounds_axis(own), Axis("weight satisfied"), tuple(marks), name))
    return Chart(tuple(panels), empty=_NONE if not panels else "")


def gap_figure(rows: Sequence[Row]) -> Chart:
    """Bound less value, as a share of the bound, on a logarithm; a panel an instance."""
    rows = conditioned(rows)
    rules = sorted({row["rule"] for row in rows})
    panels = []
    for name, own in _instances(rows):
        lines = []
        for k, rule in enumerate(rules):
            at, gaps = _means([row for row in own if row["rule"] == rule], "gap")
            colour = SERIES[k % len(SERIES)]
            shown = [100.0 * gap for gap in gaps]
            lines.append(Line(at, shown, colour, rule, _stroke(k), marker="o"))
        height = gap_axis(np.concatenate([line.y for line in lines]), "gap between bound and value")
        panels.append(Panel(_rounds_axis(own), height, tuple(lines), name))
    return Chart(tuple(panels), empty=_NONE if not panels else "")


def _instances(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Each instance's name and its rows."""
    for name in sorted({row["shard"] for row in rows}):
        yield name, [row for row in rows if row["shard"] == name]


def conditioned(rows: Sequence[Row]) -> list[Row]:
    """The rows of rounds of conditioning, without those of exact trees."""
    return [row for row in rows if row["rounds"] is not None]


def _exact(own: Sequence[Row], everything: Sequence[Row]) -> list[Mark]:
    """The maximum that an exact tree has proven, across all rounds."""
    proven = [row["value"] for row in everything if row["rounds"] is None and row["optimal"]]
    at = sorted({float(row["rounds"]) for row in own})
    if not proven:
        return []
    return [Line(at, [max(proven)] * len(at), SOFT, "maximum, proven", "dotted", keyed=True)]


def _stroke(place: int) -> str:
    return _STROKES[place % len(_STROKES)]


def _rounds_axis(rows: Sequence[Row]) -> Axis:
    ranks = {row["rounds"]: row["threshold_rank"] for row in rows}
    places = tuple(float(rounds) for rounds in sorted(ranks))
    names = tuple(f"{rounds:g} ({ranks[rounds]})" for rounds in sorted(ranks))
    return Axis("rounds (threshold rank)", values=places, names=names)


def _lines(rows: Sequence[Row], rule: str, stroke: str) -> list[Mark]:
    own = [row for row in rows if row["rule"] == rule]
    marks: list[Mark] = []
    at, bound = _means(own, "upper_bound")
    reached, value = _means(own, "value")
    if at == reached:
        marks.append(Band(at, value, bound, BLUE, 0.1))
    for column, name, colour, width, marker in LINES:
        x, y = _means(own, column)
        # The value is a broad pale stroke, so that what lies on it is seen.
        dash, opacity = ("", 0.35) if column == "value" else (stroke, 1.0)
        marks.append(Line(x, y, colour, name, dash, marker, width, opacity, keyed=True))
    return marks


def _key(rules: Sequence[str]) -> list[Line]:
    """What the strokes mean, for the legend alone."""
    if len(rules) < 2:
        return []
    return [Line([], [], SOFT, f"rule {rule}", _stroke(k), keyed=True)
            for k, rule in enumerate(rules)]  # fmt: skip


def _means(rows: Sequence[Row], column: str) -> tuple[list[float], list[float]]:
    """The rounds at which a column is known, and its mean there."""
    at = sorted({row["rounds"] for row in rows if row[column] is not None})
    means = []
    known = [row for row in rows if row[column] is not None]
    for rounds in at:
        values = [row[column] for row in known if row["rounds"] == rounds]
        means.append(sum(values) / len(values))
    return [float(rounds) for rounds in at], means
