"""A study of CSPs in MLflow: one run with its figure, its rows and its certificates."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import REPORT_FILE
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, RunFolder
from pipeline.studies.csp.config import CspConfig
from pipeline.studies.csp.figures import rounds_figure
from pipeline.studies.csp.page import Row, finished, solved
from pipeline.studies.csp.rows import ROWS
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.study_run import StudyRun
from pipeline.tracking.text import parameters

# Certificates that go with the run; all are in its folder.
MOST_CERTIFICATES = 100


def start(config: CspConfig, folder: RunFolder) -> CspTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return CspTracker(config, folder, ROWS)


class CspTracker(StudyRun):
    """The study's run in MLflow."""

    def log(self, run: TrackedRun, results: pa.Table) -> None:
        """Figures, the table and certificates."""
        rows = finished(results)
        figures = metrics(rows) | {"solves_failed": float(results.num_rows - len(rows))}
        run.log(
            parameters=parameters(self.config),
            points=[(name, value, 0) for name, value in figures.items()],
        )
        with tempfile.TemporaryDirectory(prefix="qnn-mlflow-") as place:
            work = Path(place)
            (work / "figures").mkdir()
            (work / "results").mkdir()
            pq.write_table(results, work / "results" / "results.parquet")
            (work / "figures" / "rounds.png").write_bytes(to_png(rounds_figure(rows)))
            certificates = self.folder.files(CERTIFICATES, ".npz")[:MOST_CERTIFICATES]
            self.copy(work, [CONFIG_FILE, REPORT_FILE, *certificates])
            self.store.client.log_artifacts(self.run_id, str(work))


def metrics(rows: list[Row]) -> dict[str, float]:
    """Counts, the largest gap, and of each number of rounds the mean gap."""
    figures = {"solves_done": float(len(rows)), "instances_solved": float(solved(rows))}
    if rows:
        figures["worst_gap"] = max(row["gap"] for row in rows)
    for rounds in sorted({row["rounds"] for row in rows}):
        gaps = [row["gap"] for row in rows if row["rounds"] == rounds]
        figures[f"rounds_{rounds}/mean_gap"] = sum(gaps) / len(gaps)
    return figures
