"""The report of a study of CSPs: one HTML page, from the run's files alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.reports.cells import Column, by_name, table_of, words
from pipeline.reports.frame import drawn
from pipeline.reports.study_pages import write_study_report
from pipeline.results.folder import RunFolder
from pipeline.studies.csp.figures import gap_figure, rounds_figure
from pipeline.studies.csp.rows import ROWS
from pipeline.studies.csp.solves import depth

Row = dict[str, Any]

WORDS = (
    "No assignment is worth more than the bound; the value is that of an assignment that was found."
    " Beside each number of rounds the threshold rank of the constraint graph at the loss that the "
    "theory allows them."
)
GAP_WORDS = (
    "What is still open between the proven bound and the value, as a share of the bound, on a "
    "logarithm: a gap of 0 is an optimum that is proven."
)


_COLUMNS: tuple[Column[Row], ...] = (
    words("instance and rule", lambda r: f"{r['shard']}, {r['rule']}, {depth(r['rounds'])}",
          wrap=True),
    by_name("bound", "upper_bound", ".8g"),
    by_name("value", "value", ".8g"),
    by_name("gap", "gap", ".3%"),
    by_name("rounds", "rounds", "d"),
    by_name("seed", "seed", "d"),
    by_name("derandomized", "derandomized", ".6g"),
    by_name("propagated", "propagated", ".6g"),
    by_name("nodes", "nodes", "d"),
    by_name("leaves", "leaves", "d"),
    by_name("cuts", "cuts", "d"),
    by_name("threshold rank", "threshold_rank", "d"),
    by_name("guarantee", "guarantee", ".3g"),
    by_name("local corr.", "local_correlation", ".3g"),
    by_name("global corr.", "global_correlation", ".3g"),
    by_name("seconds", "seconds", ".1f"),
    by_name("bytes", "bytes", "d"),
    words("certificate", lambda row: "file", link=lambda row: row["certificate"]),
)  # fmt: skip


def finished(results: Any) -> list[Row]:
    """The rows that are no failures, by instance, rule, rounds and seed."""
    rows = [row for row in results.to_pylist() if row["status"] == "ok"]
    return sorted(rows, key=_place)


def _place(row: Row) -> tuple[str, str, bool, int, int]:
    """By instance, rule, rounds, the exact last, and seed."""
    rounds = row["rounds"]
    return row["shard"], row["rule"], rounds is None, rounds or 0, row["seed"]


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_study_report(folder, ROWS, "csp_page.html", _told)


def _told(results: pa.Table) -> dict[str, Any]:
    rows = finished(results)
    return {
        "facts": _facts(rows),
        "figures": [
            drawn("rounds", "Bound and value against rounds", rounds_figure(rows), WORDS),
            drawn("gap", "The gap between them", gap_figure(rows), GAP_WORDS),
        ],
        "solves": table_of(_COLUMNS, rows),
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
