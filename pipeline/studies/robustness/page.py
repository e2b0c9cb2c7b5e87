"""The report of a study of robustness: one HTML page, from the run's files alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.reports.cells import Column, formatted, table_of, words
from pipeline.reports.figures.chart import Axis, Band, Chart, Line, Mark, Panel
from pipeline.reports.figures.palette import SERIES, SOFT
from pipeline.reports.frame import drawn
from pipeline.reports.study_pages import write_study_report
from pipeline.results.folder import RunFolder
from pipeline.studies.robustness.rows import ROWS
from pipeline.studies.robustness.summary import Group, finished, groups

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


def curves_figure(found: Sequence[Group]) -> Chart:
    """Proven and attacked accuracy against the radius: a panel a norm, a colour a network."""
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
    marks += [Line([], [], SOFT, "provably correct", marker="o", keyed=True),
              Line([], [], SOFT, "correct against the attack", "dashed", keyed=True)]  # fmt: skip
    units = ", ".join(dict.fromkeys(_UNITS[group.unit] for group in found))
    share = Axis("share of the rows", unit=" %", low=-3.0, high=103.0)
    return Panel(Axis(f"radius, {units}"), share, tuple(marks), found[0].norm)


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_study_report(folder, ROWS, "robustness_page.html", _told)


def _told(results: pa.Table) -> dict[str, Any]:
    found = groups(finished(results))
    title = "Proven and attacked accuracy against the radius"
    return {
        "facts": _facts(found),
        "figures": [drawn("curves", title, curves_figure(found), WORDS)],
        "groups": table_of(_COLUMNS, found),
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
