"""A study of robustness in MLflow: one run with its curves, tables and certificates."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import REPORT_FILE
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, RunFolder
from pipeline.studies.robustness.config import RobustnessConfig
from pipeline.studies.robustness.page import curves_figure
from pipeline.studies.robustness.rows import ROWS
from pipeline.studies.robustness.summary import Group, finished, groups
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.study_run import StudyRun
from pipeline.tracking.text import parameters

# Certificates that go with the run; all are in its folder.
MOST_CERTIFICATES = 100


def start(config: RobustnessConfig, folder: RunFolder) -> RobustnessTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return RobustnessTracker(config, folder, ROWS)


class RobustnessTracker(StudyRun):
    """The study's run in MLflow."""

    def log(self, run: TrackedRun, results: pa.Table) -> None:
        """Figures, the table and certificates."""
        rows = finished(results)
        found = groups(rows)
        figures = metrics(found) | {
            "rows_done": float(len(rows)),
            "rows_failed": float(results.num_rows - len(rows)),
        }
        run.log(
            parameters=parameters(self.config),
            points=[(name, value, 0) for name, value in figures.items()],
        )
        with tempfile.TemporaryDirectory(prefix="qnn-mlflow-") as place:
            work = Path(place)
            (work / "figures").mkdir()
            (work / "results").mkdir()
            pq.write_table(results, work / "results" / "results.parquet")
            (work / "figures" / "curves.png").write_bytes(to_png(curves_figure(found)))
            certificates = self.folder.files(CERTIFICATES, ".npz")[:MOST_CERTIFICATES]
            self.copy(work, [CONFIG_FILE, REPORT_FILE, *certificates])
            self.store.client.log_artifacts(self.run_id, str(work))


def metrics(found: Iterable[Group]) -> dict[str, float]:
    """Shares and processor time of each group."""
    figures: dict[str, float] = {}
    for group in found:
        place = f"{group.network}/{group.norm}/{group.radius:g}"
        figures |= {f"{place}/{name}": share for name, share in group.shares.items()}
        figures[f"{place}/cpu_seconds"] = group.cpu_seconds
    return figures
