"""The report of a study of quantization: one HTML page, from the run's files alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.logs.redact import redact
from pipeline.reports.page import REPORT_FILE, page_script, render_page
from pipeline.reports.study_pages import config_text, drawn, name_of
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.quantization.figures import divergence_figure, kept_figure
from pipeline.studies.quantization.rows import ROWS
from pipeline.studies.quantization.summary import Point, Row, finished, points
from qnn.errors import InputError

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
    results = read_results(folder, ROWS)
    if not results.num_rows:
        raise InputError(f"{folder.label}: no results here; give the folder of a sweep")
    rows = finished(results)
    found = points(rows)
    failures = Counter(row["error"] for row in results.to_pylist() if row["status"] != "ok")
    script, script_hash = page_script()
    page = render_page(
        "quantization_page.html",
        script=script,
        script_hash=script_hash,
        name=name_of(folder, "quantization"),
        facts=_facts(found, rows),
        figures=[
            drawn("divergence", "Divergence from the float network, against bytes",
                  divergence_figure(found), WORDS),
            drawn("kept", "Right answers, against bytes", kept_figure(found), KEPT_WORDS),
        ],
        groups=_table(_POINTS, [_point_cells(point) for point in found]),
        layers=_table(_LAYERS, [_layer_cells(row) for row in rows]),
        failures=[{"count": n, "error": redact(str(error))} for error, n in failures.items()],
        verify_command=f"qnn verify {folder.label}",
        config=redact(config_text(folder)),
    )  # fmt: skip
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


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


def _number(value: float | None, how: str) -> dict[str, str]:
    if value is None:
        return {"sort": "-1", "text": "–"}
    return {"sort": f"{value:.10g}", "text": format(value, how)}


def _text(value: str) -> dict[str, str]:
    return {"sort": value, "text": value}


def _point_cells(p: Point) -> list[dict[str, str]]:
    numbers: list[tuple[float | None, str]] = [
        (p.budget, "g"), (p.seeds, "d"), (p.mean_bits, ".2f"), (p.file_bytes, ",.0f"),
        (p.file_bytes / p.float_bytes, ".1%"), (p.divergence, ".3g"), (p.agreement, ".2%"),
        (p.accuracy, ".2%"), (p.neurons, ",d"), (p.optimal, ",d"), (p.optimal_at_scale, ",d"),
        (p.bounded, ",d"), (p.bits_lagrangian_gap, ".1e"), (p.seconds, ".1f"),
    ]  # fmt: skip
    return [_text(p.model), _text(p.method), *(_number(*pair) for pair in numbers)]


def _layer_cells(row: Row) -> list[dict[str, str]]:
    bound = row["bound_share"]
    return [
        _text(row["model"]), _text(row["method"]), _number(row["budget"], "g"),
        _number(row["seed"], "d"), _text(row["layer"]), _number(row["inputs"], ",d"),
        _number(row["neurons"], ",d"), _number(row["mean_bits"], ".2f"),
        _number(row["bytes"], ",d"), _number(row["damp"], ".0e"),
        _number(100.0 * row["error_share"], ".4f"),
        _number(None if bound is None else 100.0 * bound, ".4f"),
        *(_number(row[name], ",d") for name in ("optimal", "optimal_at_scale", "bounded")),
    ]  # fmt: skip


def _table(columns: tuple[tuple[str, bool], ...], rows: list[Any]) -> dict[str, Any]:
    return {
        "columns": [{"title": title, "text": text} for title, text in columns],
        "rows": [{"chosen": False, "cells": cells} for cells in rows],
    }
