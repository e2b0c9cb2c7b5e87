"""The report of a distributed sweep: one HTML page, from the run's files alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from matplotlib.figure import Figure

from pipeline.logs.redact import redact
from pipeline.reports.figures.drawing import BLUE, GREEN, ORANGE, new_figure, say_nothing, style
from pipeline.reports.page import REPORT_FILE, page_script, render_page
from pipeline.reports.study_pages import config_text, drawn, name_of
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.distributed.rows import ROWS
from qnn.errors import InputError

Row = dict[str, Any]

WORDS = (
    "No network of any width has a training objective below the proven bound; the convex problem's "
    "value lies between it and that of the network that was found."
)
_LINES = (
    ("upper_bound", "network", GREEN), ("relaxation", "convex problem", ORANGE),
    ("lower_bound", "proven bound", BLUE),
)  # fmt: skip
_COLUMNS = (
    ("β", "beta", ".4g"), ("β / β max", "beta_fraction", ".4g"), ("bound", "lower_bound", ".8g"),
    ("network", "upper_bound", ".8g"), ("gap", "gap", ".3%"),
    ("gap of the bound", "relaxation_gap", ".2g"), ("neurons", "neurons", "d"),
    ("bytes", "bytes", "d"), ("passes", "passes", "d"), ("sent", "sent", "d"),
    ("received", "received", "d"), ("seconds", "seconds", ".1f"),
)  # fmt: skip


def finished(results: Any) -> list[Row]:
    """The rows that are no failures, from large to small β."""
    rows = [row for row in results.to_pylist() if row["status"] == "ok"]
    return sorted(rows, key=lambda row: -row["beta"])


def path_figure(rows: list[Row]) -> Figure:
    """Objective and bounds against β."""
    figure, axes = new_figure(6.4, 3.4)
    if not rows:
        return say_nothing(figure, axes, "nothing is finished")
    with style():
        for column, name, colour in _LINES:
            axes.plot(
                [row["beta"] for row in rows], [row[column] for row in rows], "o-", color=colour,
                label=name, markersize=4,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel("β")
        axes.set_ylabel("training objective")
        axes.legend(frameon=False)
    return figure


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    results = read_results(folder, ROWS)
    if not results.num_rows:
        raise InputError(f"{folder.label}: no results here; give the folder of a sweep")
    rows = finished(results)
    failures = Counter(row["error"] for row in results.to_pylist() if row["status"] != "ok")
    script, script_hash = page_script()
    page = render_page(
        "distributed_page.html",
        script=script,
        script_hash=script_hash,
        name=name_of(folder, "distributed"),
        facts=_facts(rows),
        figures=[drawn("path", "Objective and bounds", path_figure(rows), WORDS)],
        solves=_table(rows),
        failures=[{"count": n, "error": redact(str(error))} for error, n in failures.items()],
        verify_command=f"qnn verify {folder.label}",
        config=redact(config_text(folder)),
    )
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


def _facts(rows: list[Row]) -> list[tuple[str, str]]:
    if not rows:
        return [("0", "networks")]
    return [
        (f"{rows[0]['n']:,}", "rows, of which no machine needs to hold all"),
        (f"{rows[0]['blocks']}", "blocks, each checked alone"),
        (f"{len(rows)}", "networks, each with a certificate"),
        (f"{min(row['gap'] for row in rows):.2%}", "smallest gap of a network to its bound"),
    ]


def _table(rows: list[Row]) -> dict[str, Any]:
    def cell(value: Any, how: str) -> dict[str, str]:
        if value is None:
            return {"sort": "", "text": "–"}
        return {"sort": f"{value:.10g}", "text": format(value, how)}

    return {
        "columns": [{"title": title, "text": False} for title, _, _ in _COLUMNS],
        "rows": [
            {"chosen": False, "cells": [cell(row[name], how) for _, name, how in _COLUMNS]}
            for row in rows
        ],
    }
