"""The report of a study of quantization: one HTML page, from the run's files alone."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.reports.study_pages import Cell, drawn, number_cell, table, text_cell, write_page
from pipeline.results.folder import RunFolder
from pipeline.studies.quantization.figures import divergence_figure, kept_figure
from pipeline.studies.quantization.rows import ROWS
from pipeline.studies.quantization.summary import Point, Row, finished, points

WORDS = (
    "A line a method, a point a budget; means over the seeds, on rows that the calibration never "
    "saw. Lower and further to the left is better."
)
KEPT_WORDS = (
    "The same networks by their answers. Higher and further to the left is better; the dashed line "
    "is the float network."
)
_POINTS = (
    ("model", True), ("method", True), ("budget", False), ("seeds", False), ("bits", False),
    ("bytes", False), ("of float", False), ("divergence", False), ("agreement", False),
    ("accuracy", False), ("neurons", False), ("optimal", False), ("at step", False),
    ("bounded", False), ("bits' gap", False), ("seconds", False),
)  # fmt: skip
_LAYERS = (
    ("model", True), ("method", True), ("budget", False), ("seed", False), ("layer", True),
    ("inputs", False), ("neurons", False), ("bits", False), ("bytes", False), ("damp", False),
    ("error %", False), ("bound %", False), ("optimal", False), ("at step", False),
    ("bounded", False),
)  # fmt: skip


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_page(folder, "quantization", ROWS, _shown)


def _shown(results: pa.Table) -> dict[str, Any]:
    rows = finished(results)
    found = points(rows)
    return {
        "facts": _facts(found, rows),
        "figures": [
            drawn("divergence", "Divergence from the float network, against bytes",
                  divergence_figure(found), WORDS),
            drawn("kept", "Right answers, against bytes", kept_figure(found), KEPT_WORDS),
        ],
        "groups": table(_POINTS, map(_point_cells, found)),
        "layers": table(_LAYERS, map(_layer_cells, rows)),
    }  # fmt: skip


def _facts(found: list[Point], rows: list[Row]) -> list[tuple[str, str]]:
    neurons, states = sum(p.neurons for p in found), _states(found)
    return [
        (f"{len({row['path'] for row in rows})}", "networks quantized, each run by onnxruntime"),
        (f"{neurons:,}", "neurons in their layers"),
        (f"{states['optimal']:,}", "proven optimal over all codes and steps"),
        (f"{states['optimal_at_scale']:,}", "proven optimal at their step"),
        (f"{states['bounded']:,}", "with a proven bound below their error"),
    ]


def _states(found: list[Point]) -> dict[str, int]:
    names = ("optimal", "optimal_at_scale", "bounded")
    return {name: sum(getattr(point, name) for point in found) for name in names}


def _point_cells(p: Point) -> list[Cell]:
    numbers: list[tuple[float | None, str]] = [
        (p.budget, "g"), (p.seeds, "d"), (p.mean_bits, ".2f"), (p.file_bytes, ",.0f"),
        (p.file_bytes / p.float_bytes, ".1%"), (p.divergence, ".3g"), (p.agreement, ".2%"),
        (p.accuracy, ".2%"), (p.neurons, ",d"), (p.optimal, ",d"), (p.optimal_at_scale, ",d"),
        (p.bounded, ",d"), (p.bits_lagrangian_gap, ".1e"), (p.seconds, ".1f"),
    ]  # fmt: skip
    return [text_cell(p.model), text_cell(p.method), *(number_cell(*pair) for pair in numbers)]


def _layer_cells(row: Row) -> list[Cell]:
    bound = row["bound_share"]
    return [
        text_cell(row["model"]), text_cell(row["method"]), number_cell(row["budget"], "g"),
        number_cell(row["seed"], "d"), text_cell(row["layer"]), number_cell(row["inputs"], ",d"),
        number_cell(row["neurons"], ",d"), number_cell(row["mean_bits"], ".2f"),
        number_cell(row["bytes"], ",d"), number_cell(row["damp"], ".0e"),
        number_cell(100.0 * row["error_share"], ".4f"),
        number_cell(None if bound is None else 100.0 * bound, ".4f"),
        *(number_cell(row[name], ",d") for name in ("optimal", "optimal_at_scale", "bounded")),
    ]  # fmt: skip
