"""The report of a study of robustness: one HTML page, from the run's files alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.reports.cells import Column, formatted, table_of, words
from pipeline.reports.figures.chart import Axis, Band, Chart, Line, Mark, Panel
from pipeline.reports.figures.palette import SERIES, SOFT
from pipeline.reports.frame import drawn
from pipeline.reports.study_pages import write_study_report
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
_UNITS = {"raw": "raw units", "scale": "standard deviations", "range": "parts of the range"}
_COLUMNS: tuple[Column[Group], ...] = (
    words("network and radius", lambda g: f"{g.network}, {g.norm} {g.radius:g}", wrap=True),
    Column("correct", lambda g: g.shares["correct"], formatted(".1%")),
    Column("provably correct", lambda g: g.shares["proven"], formatted(".1%")),
    Column("against the attack", lambda g: g.shares["held"], formatted(".1%")),
    Column("rows", lambda g: g.count, formatted(",d")),
    Column("radius", lambda g: g.radius, formatted("g")),
    Column("nodes", lambda g: g.nodes, formatted(",d")),
    Column("ms a row", lambda g: 1e3 * g.cpu_seconds / g.count, formatted(".3g")),
)


_REACH_COLUMNS: tuple[Column[Reach], ...] = (
    words("network and norm", lambda r: f"{r.network}, {r.norm}", wrap=True),
    Column("rows", lambda r: len(r.certified), formatted(",d")),
    Column("proven of half", lambda r: r.medians[0], formatted(".4g")),
    Column("unbroken of half", lambda r: r.medians[1], formatted(".4g")),
    Column("largest proven", lambda r: r.certified[-1], formatted(".4g")),
    Column("nothing proven", lambda r: r.certified.count(0.0), formatted(",d")),
)
# Factors beyond are those of rows that no change spoils.
_UNBOUNDED = 2.0**39
# Of the axis that shows largest radii, the share of the rows that lies on it.
_SHOWN = 0.95
_SHARE = Axis("share of the rows", unit=" %", low=-3.0, high=103.0)
_KEY = (
    Line([], [], SOFT, "provably correct", marker="o", keyed=True),
    Line([], [], SOFT, "correct against the attack", "dashed", keyed=True),
)


def curves_figure(found: Sequence[Group], far: Sequence[Reach] = ()) -> Chart:
    """Proven and attacked accuracy against the radius: a panel a norm, a colour a network.

    Where largest radii were asked for they give the curves, a step a row.
    """
    if far:
        return reach_figure(far)
    norms = list(dict.fromkeys(group.norm for group in found))
    if not norms:
        return Chart(empty="No row is finished.")
    return Chart(tuple(_panel([group for group in found if group.norm == norm]) for norm in norms))


def _panel(found: Sequence[Group]) -> Panel:
    marks: list[Mark] = []
    for index, name in enumerate(dict.fromkeys(group.network for group in found)):
        some = [group for group in found if group.network == name]
        colour = SERIES[index % len(SERIES)]
        x = [group.radius for group in some]
        proven, held = ([100.0 * group.shares[key] for group in some] for key in ("proven", "held"))
        marks += [Band(x, proven, held, colour), Line(x, proven, colour, name, marker="o"),
                  Line(x, held, colour, dash="dashed")]  # fmt: skip
    return Panel(_radius_axis(found), _SHARE, (*marks, *_KEY), found[0].norm)


def _radius_axis(found: Sequence[Group] | Sequence[Reach]) -> Axis:
    units = ", ".join(dict.fromkeys(_UNITS[one.unit] for one in found))
    return Axis(f"radius, {units}")


def reach_figure(found: Sequence[Reach]) -> Chart:
    """Share of the rows proven, and not attacked, at every radius up to the largest of most."""
    norms = list(dict.fromkeys(one.norm for one in found))
    return Chart(tuple(_reach_panel([one for one in found if one.norm == norm]) for norm in norms))


def _reach_panel(found: Sequence[Reach]) -> Panel:
    marks: list[Mark] = []
    for index, one in enumerate(found):
        marks += _reach_marks(one, SERIES[index % len(SERIES)])
    return Panel(_radius_axis(found), _SHARE, (*marks, *_KEY), found[0].norm)


def _reach_marks(one: Reach, colour: str) -> list[Mark]:
    ends = [end for end in (*one.certified, *one.attacked) if 0.0 < end < _UNBOUNDED]
    edge = 1.1 * float(np.quantile(ends, _SHOWN)) if ends else 1.0
    radii = sorted({0.0, edge, *(end for end in ends if end < edge)})
    # Just above a row's radius it counts no more.
    radii = sorted({*radii, *(float(np.nextafter(r, np.inf)) for r in radii)})
    proven, held = (100.0 * np.array(shares) for shares in one.shares(radii))
    return [Band(radii, proven, held, colour), Line(radii, proven, colour, one.network),
            Line(radii, held, colour, dash="dashed")]  # fmt: skip


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_study_report(folder, ROWS, "robustness_page.html", _told)


def _told(results: pa.Table) -> dict[str, Any]:
    done = finished(results)
    found, far = groups(done), reaches(done)
    title = "Proven and attacked accuracy against the radius"
    return {
        "facts": _facts(found),
        "figures": [drawn("curves", title, curves_figure(found, far), WORDS)],
        "groups": table_of(_COLUMNS, found),
        "settings": _settings_table(choosables(done)),
        "reaches": table_of(_REACH_COLUMNS, far) if far else None,
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


def _settings_table(found: Sequence[Choosable]) -> dict[str, Any] | None:
    """β, width and alphabet against what is proven at each radius; None without a sweep's."""
    if not found:
        return None
    columns: list[Column[Choosable]] = [
        words("setting and norm", lambda one: f"{one.network}, {one.norm}", wrap=True),
        Column("correct", lambda one: one.correct, formatted(".1%")),
    ]
    for radius in dict.fromkeys(radius for one in found for radius in one.proven):
        share = partial(_proven_at, radius)
        columns.append(Column(f"proven at {radius:g}", share, formatted(".1%")))
    if any(one.certified is not None for one in found):
        columns.append(Column("half proven to", lambda one: one.certified, formatted(".4g")))
    columns += [
        Column("β", lambda one: one.beta, formatted(".4g")),
        Column("of β max", lambda one: one.beta_fraction, formatted(".3g")),
        Column("width", lambda one: one.width, formatted("d")),
        words("alphabet", lambda one: one.alphabet),
    ]
    return table_of(columns, found)


def _proven_at(radius: float, one: Choosable) -> float | None:
    return one.proven.get(radius)
