"""The files of a sweep's run in MLflow: results, their table, figures, report and config."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.configuration.reading import SweepConfig
from pipeline.reports.figures import plots
from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import REPORT_FILE
from pipeline.reports.page import collect, render_report
from pipeline.results import summary
from pipeline.results.folder import RunFolder
from pipeline.tracking.text import config_text

# Rows of the table that the UI shows; the Parquet file beside it has all.
TABLE_ROWS = 1000
# What a reviewer compares comes first: the UI shows some five columns without scrolling.
_AXES = ("beta_fraction", "width", "rounding", "shard", "seed")
_REST = ("neurons", "upper_bound", "lower_bound", "beta", "trial", "seconds", "status", "error")


def write_sweep_files(
    work: Path, config: SweepConfig, results: pa.Table, data: pd.DataFrame, report: bytes
) -> None:
    """Write them under `work`; `data` is the frame of `results`."""
    (work / "results").mkdir(parents=True)
    (work / "figures").mkdir()
    pq.write_table(results.replace_schema_metadata(), work / "results" / "results.parquet")
    shown = _shown_rows(data)
    (work / "results" / "table.json").write_text(shown.to_json(orient="split", index=False))
    for figure in plots.FIGURES:
        (work / "figures" / f"{figure.name}.png").write_bytes(to_png(figure.draw(results)))
    (work / REPORT_FILE).write_bytes(report)
    (work / "sweep.yaml").write_text(config_text(config), encoding="utf-8")


def report_of(folder: RunFolder, champion: str | None) -> bytes:
    """The report that the driver has just written; made here where it could not."""
    try:
        return folder.read(REPORT_FILE)
    except FileNotFoundError:
        return render_report(collect(folder, champion)).encode()


def _shown_rows(data: pd.DataFrame) -> pd.DataFrame:
    """The rows of the UI's table: best first, failures last."""
    metric = summary.metric_of(data)
    validation = metric.column("validation")
    kind = ["problem"] if len(summary.problems(data)) > 1 else []
    columns = [validation, metric.column("test"), "gap", "bytes", *kind, *_AXES, *_REST]
    ordered = data.sort_values(
        ["status", validation, "gap"],
        ascending=[False, not metric.higher_is_better, True],
        kind="stable",
    )
    return ordered[columns].head(TABLE_ROWS).map(_rounded)


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value
