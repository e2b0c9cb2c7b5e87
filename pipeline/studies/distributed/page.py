"""The report of a distributed sweep: one HTML page, from the run's files alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure

from pipeline.reports.figures.drawing import BLUE, GREEN, ORANGE, new_figure, say_nothing, style
from pipeline.reports.study_pages import Cell, drawn, number_cell, table, write_page
from pipeline.results.folder import RunFolder
from pipeline.studies.distributed.rows import ROWS

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
    return write_page(folder, "distributed", ROWS, _shown)


def _shown(results: pa.Table) -> dict[str, Any]:
    rows = finished(results)
    return {
        "facts": _facts(rows),
        "figures": [drawn("path", "Objective and bounds", path_figure(rows), WORDS)],
        "betas": table([(title, False) for title, _, _ in _COLUMNS], map(_cells, rows)),
    }


def _cells(row: Row) -> list[Cell]:
    return [number_cell(row[name], how) for _, name, how in _COLUMNS]


def _facts(rows: list[Row]) -> list[tuple[str, str]]:
    if not rows:
        return [("0", "networks")]
    return [
        (f"{rows[0]['n']:,}", "rows, of which no machine needs to hold all"),
        (f"{rows[0]['blocks']}", "blocks, each checked alone"),
        (f"{len(rows)}", "networks, each with a certificate"),
        (f"{min(row['gap'] for row in rows):.2%}", "smallest gap of a network to its bound"),
    ]
