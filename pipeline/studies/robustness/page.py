"""The report of a study of robustness: one HTML page, from the run's files alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reports.figures.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    new_figure,
    say_nothing,
    style,
)
from pipeline.reports.study_pages import Cell, drawn, number_cell, table, text_cell, write_page
from pipeline.results.folder import RunFolder
from pipeline.studies.robustness.rows import ROWS
from pipeline.studies.robustness.summary import (
    Choosable,
    Group,
    Reach,
    choosables,
    finished,
    groups,
    reaches,
)

WORDS = (
    "Full lines: provably correct whatever happens within the radius. Dashed: correct against our "
    "best attack. The truth lies in the band between them; without a visible band every row is "
    "decided."
)
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, INK)
_UNITS = {"raw": "raw units", "scale": "standard deviations", "range": "parts of the range"}
# Factors beyond are those of rows that no change spoils.
_UNBOUNDED = 2.0**39
_COLUMNS = (
    ("network", True), ("norm", True), ("radius", False), ("rows", False), ("correct", False),
    ("provably correct", False), ("against the attack", False), ("nodes", False),
    ("ms a row", False),
)  # fmt: skip


_REACH_COLUMNS = (
    ("network", True), ("norm", True), ("rows", False), ("proven of half", False),
    ("unbroken of half", False), ("largest proven", False), ("nothing proven", False),
)  # fmt: skip
# Of the axis that shows largest radii, the share of the rows that lies on it.
_SHOWN = 0.95


def curves_figure(found: Sequence[Group], far: Sequence[Reach] = ()) -> Figure:
    """Proven and attacked accuracy against the radius: a panel a norm, a colour a network.

    Where largest radii were asked for they give the curves, a step a row.
    """
    if far:
        return reach_figure(far)
    norms = list(dict.fromkeys(group.norm for group in found))
    if not norms:
        return say_nothing(*new_figure(8.6, 1.2), "no row is finished")
    with style():
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
        for norm, axes in zip(norms, panels, strict=True):
            _draw(axes, [group for group in found if group.norm == norm])
            axes.set_title(norm)
        panels[0].set_ylabel("share of the rows, %")
    return figure


def _draw(axes: Axes, found: Sequence[Group]) -> None:
    names = list(dict.fromkeys(group.network for group in found))
    for index, name in enumerate(names):
        some = [group for group in found if group.network == name]
        colour = _COLOURS[index % len(_COLOURS)]
        x = [group.radius for group in some]
        proven, held = ([100.0 * group.shares[key] for group in some] for key in ("proven", "held"))
        axes.fill_between(x, proven, held, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, proven, color=colour, marker="o", label=f"{name}, proven")
        axes.plot(x, held, color=colour, linestyle="--", label=f"{name}, attacked")
    axes.set_ylim(-3.0, 103.0)
    units = ", ".join(dict.fromkeys(_UNITS[group.unit] for group in found))
    axes.set_xlabel(f"radius, {units}")
    axes.legend(frameon=False)


def reach_figure(found: Sequence[Reach]) -> Figure:
    """Share of the rows proven, and not attacked, at every radius up to the largest of most."""
    norms = list(dict.fromkeys(one.norm for one in found))
    with style():
        figure = Figure(figsize=(8.6, 4.0), layout="constrained")
        panels = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
        for norm, axes in zip(norms, panels, strict=True):
            some = [one for one in found if one.norm == norm]
            for colour, one in zip(itertools.cycle(_COLOURS), some, strict=False):
                _draw_reach(axes, one, colour)
            axes.set_title(norm)
            axes.set_ylim(-3.0, 103.0)
            axes.set_xlabel(f"radius, {_UNITS[some[0].unit]}")
            axes.legend(frameon=False)
        panels[0].set_ylabel("share of the rows, %")
    return figure


def _draw_reach(axes: Axes, one: Reach, colour: str) -> None:
    ends = [end for end in (*one.certified, *one.attacked) if 0.0 < end < _UNBOUNDED]
    edge = 1.1 * float(np.quantile(ends, _SHOWN)) if ends else 1.0
    radii = sorted({0.0, edge, *(end for end in ends if end < edge)})
    # Just above a row's radius it counts no more.
    radii = sorted({*radii, *(np.nextafter(r, np.inf) for r in radii)})
    proven, held = (100.0 * np.array(shares) for shares in one.shares(radii))
    axes.fill_between(radii, proven, held, color=colour, alpha=0.18, linewidth=0)
    axes.plot(radii, proven, color=colour, label=f"{one.network}, proven")
    axes.plot(radii, held, color=colour, linestyle="--", label=f"{one.network}, attacked")


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_page(folder, "robustness", ROWS, _shown)


def _shown(results: pa.Table) -> dict[str, Any]:
    done = finished(results)
    found, far = groups(done), reaches(done)
    title = "Proven and attacked accuracy against the radius"
    return {
        "facts": _facts(found),
        "figures": [drawn("curves", title, curves_figure(found, far), WORDS)],
        "groups": table(_COLUMNS, map(_cells, found)),
        "settings": _settings_table(choosables(done)),
        "reaches": table(_REACH_COLUMNS, map(_reach_cells, far)) if far else None,
    }


def _facts(found: Sequence[Group]) -> list[tuple[str, str]]:
    count = sum(group.count for group in found)
    undecided = sum(group.held - group.proven for group in found)
    seconds = sum(group.cpu_seconds for group in found)
    return [
        (f"{count:,}", "rows asked, a network and a radius each"),
        (f"{1.0 - undecided / count:.2%}" if count else "–",
         f"decided: proven, or a witness; {undecided:,} open"),
        (f"{1e3 * seconds / count:.3g} ms" if count else "–", "of one core a row, proof included"),
    ]  # fmt: skip


def _cells(group: Group) -> list[Cell]:
    shares = group.shares
    numbers = [
        (group.radius, "g"), (group.count, ",d"), (shares["correct"], ".1%"),
        (shares["proven"], ".1%"), (shares["held"], ".1%"), (group.nodes, ",d"),
        (1e3 * group.cpu_seconds / group.count, ".3g"),
    ]  # fmt: skip
    texts = (group.network, group.norm)
    return [*map(text_cell, texts), *(number_cell(*pair) for pair in numbers)]


def _reach_cells(one: Reach) -> list[Cell]:
    proven, held = (number_cell(value, ".4g") for value in one.medians)
    count, none = (
        number_cell(value, ",d") for value in (len(one.certified), one.certified.count(0.0))
    )
    largest = number_cell(one.certified[-1], ".4g")
    return [text_cell(one.network), text_cell(one.norm), count, proven, held, largest, none]


def _settings_table(found: Sequence[Choosable]) -> dict[str, Any] | None:
    """β, width and alphabet against what is proven at each radius; None without a sweep's."""
    if not found:
        return None
    radii = list(dict.fromkeys(radius for one in found for radius in one.proven))
    far = any(one.certified is not None for one in found)
    titles = ["β", "of β max", "width", "correct", *(f"proven at {r:g}" for r in radii)]
    columns = [("norm", True), ("alphabet", True), *((title, False) for title in titles)]
    columns += [("half proven to", False)] if far else []

    def cells(one: Choosable) -> list[Cell]:
        shares = [one.proven.get(radius) for radius in radii]
        numbers = [
            number_cell(one.beta, ".4g"), number_cell(one.beta_fraction, ".3g"),
            number_cell(one.width, "d"), number_cell(one.correct, ".1%"),
            *(number_cell(share, ".1%") for share in shares),
        ]  # fmt: skip
        last = [number_cell(one.certified, ".4g")] if far else []
        return [text_cell(one.norm), text_cell(one.alphabet), *numbers, *last]

    return table(columns, map(cells, found))
