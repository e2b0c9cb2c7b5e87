"""The report of a study of Bell scenarios: one HTML page, from the run's files alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa

from pipeline.reports.study_pages import Cell, drawn, number_cell, table, text_cell, write_page
from pipeline.results.folder import RunFolder
from pipeline.studies.bell.figures import cost_figure, plane_figure, planes
from pipeline.studies.bell.rows import ROWS
from pipeline.studies.bell.summary import Group, contradictions, finished, groups

PLANE_WORDS = (
    "Each point is a behaviour; blue ones are proven inside the level, orange ones outside, black "
    "ones are undecided. The middle is noise; to the right the box of Popescu and Rohrlich, "
    "upwards the deterministic behaviour of nothing but ones. White: no distribution. What "
    "lies on the boundary itself, as the edge at a deterministic behaviour does, stays undecided."
)
COST_WORDS = "A point a scenario, level, set and number of steps, all seeds together."

_COLUMNS = (
    ("level", True), ("set", True), ("steps", False), ("behaviours", False),
    ("inside", False), ("outside", False), ("inconclusive", False), ("decided", False),
    ("by the solver", False), ("µs a behaviour", False), ("proven exactly", False),
    ("refused", False),
)  # fmt: skip


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_page(folder, "bell", ROWS, partial(_shown, folder))


def _shown(folder: RunFolder, results: pa.Table) -> dict[str, Any]:
    rows = finished(results)
    found = groups(rows)
    return {
        "facts": _facts(folder, rows, found),
        "figures": [
            drawn("plane", "The boundary in a plane of behaviours",
                    plane_figure(planes(folder, rows)), PLANE_WORDS),
            drawn("cost", "What is left open, and what deciding costs",
                    cost_figure(found), COST_WORDS),
        ],
        "groups": table(_COLUMNS, map(_cells, found)),
    }  # fmt: skip


def _facts(folder: RunFolder, rows: list[dict[str, Any]], found: list[Group]) -> list[Any]:
    count = sum(group.count for group in found)
    undecided = sum(group.inconclusive for group in found)
    wrong, compared = contradictions(folder, rows)
    certified, refused = (
        sum(getattr(group, name) for group in found) for name in ("certified", "refused")
    )
    share = f"{1.0 - undecided / count:.3%}" if count else "–"
    return [
        (f"{count:,}", "verdicts asked for"),
        (share, f"decided, each with a proof; {undecided:,} inconclusive"),
        (f"{refused} of {certified:,}",
         "verdicts nearest to the boundary refused by rational arithmetic"),
        (f"{wrong} of {compared:,}",
         "behaviours decided at several levels or steps that contradict themselves"),
    ]  # fmt: skip


def _cells(group: Group) -> list[Cell]:
    numbers = [
        (group.steps, "d"), (group.count, ",d"), (group.inside, ",d"), (group.outside, ",d"),
        (group.inconclusive, ",d"), (group.decided_share, ".3%"), (group.by_solver, ",d"),
        (1e3 * group.cpu_per_1000, ".1f"), (group.certified, ",d"), (group.refused, "d"),
    ]  # fmt: skip
    texts = (f"{group.scenario} {group.level}", group.set)
    return [*map(text_cell, texts), *(number_cell(*pair) for pair in numbers)]
