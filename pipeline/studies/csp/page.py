"""The report of a study of CSPs: one HTML page, from the run's files alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.reports.study_pages import Cell, drawn, number_cell, table, text_cell, write_page
from pipeline.results.folder import RunFolder
from pipeline.studies.csp.figures import rounds_figure
from pipeline.studies.csp.rows import ROWS

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
    return write_page(folder, "csp", ROWS, _shown)


def _shown(results: pa.Table) -> dict[str, Any]:
    rows = finished(results)
    columns = [(title, how is None) for title, _, how in _COLUMNS]
    title = "Bound and value against rounds"
    return {
        "facts": _facts(rows),
        "figures": [drawn("rounds", title, rounds_figure(rows), WORDS)],
        "solves": table(columns, map(_cells, rows)),
    }


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


def _cells(row: Row) -> list[Cell]:
    return [
        text_cell(row[name]) if how is None else number_cell(row[name], how)
        for _, name, how in _COLUMNS
    ]
