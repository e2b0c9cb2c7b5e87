"""A study of CSPs in MLflow: one run with its figure, its rows and its certificates."""

from __future__ import annotations

import pyarrow as pa

from pipeline.results.folder import RunFolder
from pipeline.studies.csp.config import CspConfig
from pipeline.studies.csp.figures import conditioned, rounds_figure
from pipeline.studies.csp.page import Row, finished, solved
from pipeline.studies.csp.rows import ROWS
from pipeline.tracking.study_run import PlainRun, Told


def start(config: CspConfig, folder: RunFolder) -> CspTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return CspTracker(config, folder, ROWS)


class CspTracker(PlainRun):
    """The study's run in MLflow."""

    def tell(self, results: pa.Table) -> Told:
        """Counts and gaps; bound and value against rounds."""
        rows = finished(results)
        failed = {"solves_failed": float(results.num_rows - len(rows))}
        return Told(metrics(rows) | failed, {"rounds": rounds_figure(rows)})


def metrics(rows: list[Row]) -> dict[str, float]:
    """Counts, the largest gap, and of each number of rounds the mean gap; the exact apart."""
    figures = {"solves_done": float(len(rows)), "instances_solved": float(solved(rows))}
    if rows:
        figures["worst_gap"] = max(row["gap"] for row in rows)
    exact = [row for row in rows if row["rounds"] is None]
    if exact:
        figures["exact/mean_gap"] = sum(row["gap"] for row in exact) / len(exact)
        figures["exact/nodes"] = float(sum(row["nodes"] for row in exact))
    rows = conditioned(rows)
    for rounds in sorted({row["rounds"] for row in rows}):
        gaps = [row["gap"] for row in rows if row["rounds"] == rounds]
        figures[f"rounds_{rounds}/mean_gap"] = sum(gaps) / len(gaps)
    return figures
