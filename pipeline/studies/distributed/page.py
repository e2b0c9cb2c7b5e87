"""The report of a distributed sweep: one HTML page, from the run's files alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.reports.cells import by_name, table_of
from pipeline.reports.figures.chart import Axis, Chart, Line, Panel
from pipeline.reports.figures.palette import AMBER, BLUE, GREEN
from pipeline.reports.figures.width_plots import gap_axis
from pipeline.reports.frame import drawn
from pipeline.reports.study_pages import write_study_report
from pipeline.results.folder import RunFolder
from pipeline.studies.distributed.rows import ROWS

Row = dict[str, Any]

WORDS = (
    "No network of any width has a training objective below the proven bound; the convex problem's "
    "value lies between it and that of the network that was found."
)
_LINES = (
    ("upper_bound", "network", GREEN), ("relaxation", "convex problem", AMBER),
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


def path_figure(rows: list[Row]) -> Chart:
    """Objective and bounds against β, and on a logarithm the gap between them."""
    if not rows:
        return Chart(empty="Nothing is finished.")
    known = sorted(rows, key=lambda row: row["beta"])
    beta = Axis("β", log=True)
    at = [row["beta"] for row in known]
    lines = tuple(
        Line(at, [row[column] for row in known], colour, name, marker="o")
        for column, name, colour in _LINES
    )
    gaps = np.array([100.0 * row["gap"] for row in known])
    gap = Panel(beta, gap_axis(gaps), (Line(at, gaps, BLUE, marker="o"),), "The gap between them")
    return Chart((Panel(beta, Axis("training objective"), lines, "Objective and bounds"), gap))


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_study_report(folder, ROWS, "distributed_page.html", _shown)


def _shown(results: pa.Table) -> dict[str, Any]:
    rows = finished(results)
    return {
        "facts": _facts(rows),
        "figures": [drawn("path", "Objective and bounds", path_figure(rows), WORDS)],
        "betas": table_of([by_name(*one) for one in _COLUMNS], rows),
    }


def _facts(rows: list[Row]) -> list[tuple[str, str]]:
    if not rows:
        return [("0", "networks")]
    return [
        (f"{rows[0]['n']:,}", "rows, of which no machine needs to hold all"),
        (f"{rows[0]['blocks']}", "blocks, each checked alone"),
        (f"{len(rows)}", "networks, each with a certificate"),
        (f"{min(row['gap'] for row in rows):.2%}", "smallest gap of a network to its bound"),
    ]
