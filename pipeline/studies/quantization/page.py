"""The report of a study of quantization: one HTML page, from the run's files alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pipeline.reports.cells import Column, by_name, formatted, table_of, whole, words
from pipeline.reports.frame import drawn
from pipeline.reports.study_pages import write_study_report
from pipeline.results.folder import RunFolder
from pipeline.studies.quantization.figures import divergence_figure, kept_figure
from pipeline.studies.quantization.rows import ROWS
from pipeline.studies.quantization.summary import Point, Row, finished, points

WORDS = (
    "A line a method, a point a budget; means over the seeds, on rows that the calibration never "
    "saw. Lower and further to the left is better; the broad grey line joins the networks that no "
    "smaller one equals."
)
KEPT_WORDS = (
    "The same networks by their answers. Higher and further to the left is better; the dashed line "
    "is the float network, the broad one joins those that no smaller one equals."
)


def _percent(name: str) -> Callable[[Row], float | None]:
    return lambda row: None if row[name] is None else 100.0 * row[name]


_POINTS: tuple[Column[Point], ...] = (
    words("network", lambda p: p.title, wrap=True),
    Column("divergence", lambda p: p.divergence, formatted(".3g")),
    Column("on calibration", lambda p: p.calibration_divergence, formatted(".3g")),
    Column("agreement", lambda p: p.agreement, formatted(".2%")),
    Column("accuracy", lambda p: p.accuracy, formatted(".2%")),
    Column("bytes", lambda p: p.file_bytes, whole),
    Column("of float", lambda p: p.file_bytes / p.float_bytes, formatted(".1%")),
    Column("bits", lambda p: p.mean_bits, formatted(".2f")),
    Column("budget", lambda p: p.budget, formatted("g")),
    Column("seeds", lambda p: p.seeds, formatted("d")),
    Column("neurons", lambda p: p.neurons, formatted(",d")),
    Column("optimal", lambda p: p.optimal, formatted(",d")),
    Column("at step", lambda p: p.optimal_at_scale, formatted(",d")),
    Column("bounded", lambda p: p.bounded, formatted(",d")),
    Column("bits' gap", lambda p: p.bits_lagrangian_gap, formatted(".1e")),
    Column("processor seconds", lambda p: p.cpu_seconds, formatted(".1f")),
)
_LAYERS: tuple[Column[Row], ...] = (
    words("layer", lambda r: f"{r['model']} {r['layer']}, {r['method']}, {r['budget']:g} bits",
          wrap=True),
    Column("error %", _percent("error_share"), formatted(".4f")),
    Column("bound %", _percent("bound_share"), formatted(".4f")),
    by_name("inputs", "inputs", ",d"),
    by_name("neurons", "neurons", ",d"),
    by_name("optimal", "optimal", ",d"),
    by_name("at step", "optimal_at_scale", ",d"),
    by_name("bounded", "bounded", ",d"),
    by_name("bits", "mean_bits", ".2f"),
    by_name("bytes", "bytes", ",d"),
    by_name("budget", "budget", "g"),
    by_name("seed", "seed", "d"),
    by_name("damp", "damp", ".0e"),
    words("quantized network", lambda row: "file", link=lambda row: row["network"]),
)  # fmt: skip


def write_report(folder: RunFolder) -> str:
    """Make `report.html`; return where it lies. InputError where the folder has no results."""
    return write_study_report(folder, ROWS, "quantization_page.html", _told)


def _told(results: pa.Table) -> dict[str, Any]:
    rows = finished(results)
    found = points(rows)
    return {
        "facts": _facts(found, rows),
        "figures": [
            drawn("divergence", "Divergence from the float network, against bytes",
                  divergence_figure(found), WORDS),
            drawn("kept", "Right answers, against bytes", kept_figure(found), KEPT_WORDS),
        ],
        "groups": table_of(_POINTS, found),
        "layers": table_of(_LAYERS, rows),
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
