"""The report of a study of CSPs: one HTML page, from the run's files alone."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from pipeline.logs.redact import redact
from pipeline.reports.figures.drawing import to_svg
from pipeline.reports.page import REPORT_FILE, page_script, render_page
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.csp.figures import rounds_figure
from pipeline.studies.csp.rows import ROWS
from qnn.errors import InputError

Row = dict[str, Any]

WORDS = (
    "No assignment is worth more than the bound; the value is that of an assignment that was found."
    " Below each number of rounds the threshold rank of the constraint graph at the loss that the "
    "theory allows them."
)
_COLUMNS = (
    ("instance", "shard", None), ("rule", "rule", None), ("rounds", "rounds", "d"),
    ("seed", "seed", "d"), ("bound", "upper_bound", ".8g"), ("value", "value", ".8g"),
    ("gap", "gap", ".3%"), ("derandomized", "derandomized", ".6g"),
    ("propagated", "propagated", ".6g"), ("leaves", "leaves", "d"), ("cuts", "cuts", "d"),
    ("threshold rank", "threshold_rank", "d"), ("guarantee", "guarantee", ".3g"),
    ("local corr.", "local_correlation", ".3g"), ("global corr.", "global_correlation", ".3g"),
    ("seconds", "seconds", ".1f"),
)  # fmt: skip


def finished(results: Any) -> list[Row]:
    """The rows that are no failures, by instance, rule, rounds and seed."""
    rows = [row for row in results.to_pylist() if row["status"] == "ok"]
    return sorted(rows, key=lambda r: (r["shard"], r["rule"], r["rounds"], r["seed"]))


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    results = read_results(folder, ROWS)
    if not results.num_rows:
        raise InputError(f"{folder.label}: no results here; give the folder of a sweep")
    rows = finished(results)
    failures = Counter(row["error"] for row in results.to_pylist() if row["status"] != "ok")
    script, script_hash = page_script()
    svg = base64.b64encode(to_svg(rounds_figure(rows))).decode()
    page = render_page(
        "csp_page.html",
        script=script,
        script_hash=script_hash,
        name=_name(folder),
        facts=_facts(rows),
        figures=[{"name": "rounds", "title": "Bound and value against rounds",
                  "source": f"data:image/svg+xml;base64,{svg}", "describe": WORDS}],
        solves=_table(rows),
        failures=[{"count": n, "error": redact(str(error))} for error, n in failures.items()],
        verify_command=f"qnn verify {folder.label}",
        config=redact(_text(folder)),
    )  # fmt: skip
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


def solved(rows: list[Row]) -> int:
    """Instances of which some value is proven to be the maximum."""
    return len({row["shard"] for row in rows if row["optimal"]})


def _facts(rows: list[Row]) -> list[tuple[str, str]]:
    instances = len({row["shard"] for row in rows})
    worst = f"{max(row['gap'] for row in rows):.3%}" if rows else "–"
    return [
        (f"{len(rows)}", "bounds, each with a certificate"),
        (f"{solved(rows)} of {instances}", "instances whose value is proven to be the maximum"),
        (worst, "largest gap between bound and value"),
        (f"{sum(row['seconds'] for row in rows):.0f} s", "of solving, all together"),
    ]


def _table(rows: list[Row]) -> dict[str, Any]:
    def cell(value: Any, how: str | None) -> dict[str, str]:
        if how is None:
            return {"sort": value, "text": value}
        if value is None:
            return {"sort": "", "text": "–"}
        return {"sort": f"{value:.10g}", "text": format(value, how)}

    return {
        "columns": [{"title": title, "text": how is None} for title, _, how in _COLUMNS],
        "rows": [
            {"chosen": False, "cells": [cell(row[name], how) for _, name, how in _COLUMNS]}
            for row in rows
        ],
    }


def _text(folder: RunFolder) -> str:
    try:
        return folder.read(CONFIG_FILE).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _name(folder: RunFolder) -> str:
    lines = [line for line in _text(folder).splitlines() if line.startswith("name:")]
    return lines[0].removeprefix("name:").strip().strip("'\"") if lines else "csp"
