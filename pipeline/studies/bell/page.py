"""The report of a study of Bell scenarios: one HTML page, from the run's files alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.logs.redact import redact
from pipeline.reports.page import REPORT_FILE, page_script, render_page
from pipeline.reports.study_pages import config_text, drawn, name_of
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.bell.figures import cost_figure, plane_figure, planes
from pipeline.studies.bell.rows import ROWS
from pipeline.studies.bell.summary import Group, contradictions, finished, groups
from qnn.errors import InputError

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
    results = read_results(folder, ROWS)
    if not results.num_rows:
        raise InputError(f"{folder.label}: no results here; give the folder of a sweep")
    rows = finished(results)
    found = groups(rows)
    failures = Counter(row["error"] for row in results.to_pylist() if row["status"] != "ok")
    script, script_hash = page_script()
    page = render_page(
        "bell_page.html",
        script=script,
        script_hash=script_hash,
        name=name_of(folder, "bell"),
        facts=_facts(folder, rows, found),
        figures=[
            drawn("plane", "The boundary in a plane of behaviours",
                    plane_figure(planes(folder, rows)), PLANE_WORDS),
            drawn("cost", "What is left open, and what deciding costs",
                    cost_figure(found), COST_WORDS),
        ],
        groups=_table(found),
        failures=[{"count": n, "error": redact(str(error))} for error, n in failures.items()],
        verify_command=f"qnn verify {folder.label}",
        config=redact(config_text(folder)),
    )  # fmt: skip
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


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


def _table(found: list[Group]) -> dict[str, Any]:
    def cells(group: Group) -> list[dict[str, str]]:
        texts = [f"{group.scenario} {group.level}", group.set]
        numbers = [
            (group.steps, "d"), (group.count, ",d"), (group.inside, ",d"), (group.outside, ",d"),
            (group.inconclusive, ",d"), (group.decided_share, ".3%"), (group.by_solver, ",d"),
            (1e3 * group.cpu_per_1000, ".1f"), (group.certified, ",d"), (group.refused, "d"),
        ]  # fmt: skip
        return [{"sort": text, "text": text} for text in texts] + [
            {"sort": f"{value:.10g}", "text": format(value, how)} for value, how in numbers
        ]

    return {
        "columns": [{"title": title, "text": text} for title, text in _COLUMNS],
        "rows": [{"chosen": False, "cells": cells(group)} for group in found],
    }
