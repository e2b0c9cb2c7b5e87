"""A distributed sweep in MLflow: one run with its figure, its rows and its certificates."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reports.figures.drawing import to_png
from pipeline.reports.page import REPORT_FILE
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, NETWORKS, RunFolder
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.studies.distributed.page import finished, path_figure
from pipeline.studies.distributed.rows import ROWS
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.study_run import StudyRun
from pipeline.tracking.text import parameters


def start(config: DistributedConfig, folder: RunFolder) -> DistributedTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return DistributedTracker(config, folder, ROWS)


class DistributedTracker(StudyRun):
    """The sweep's run in MLflow."""

    def log(self, run: TrackedRun, results: pa.Table) -> None:
        """Bounds and gaps β by β, the table, networks and certificates."""
        rows = finished(results)
        points = [
            (name, float(row[name]), step)
            for step, row in enumerate(rows)
            for name in ("beta", "lower_bound", "upper_bound", "gap", "neurons")
        ]
        points.append(("failed", float(results.num_rows - len(rows)), 0))
        run.log(parameters=parameters(self.config), points=points)
        with tempfile.TemporaryDirectory(prefix="qnn-mlflow-") as place:
            work = Path(place)
            (work / "figures").mkdir()
            (work / "results").mkdir()
            pq.write_table(results, work / "results" / "results.parquet")
            (work / "figures" / "path.png").write_bytes(to_png(path_figure(rows)))
            kept = [*self.folder.files(CERTIFICATES, ".npz"), *self.folder.files(NETWORKS, ".npz")]
            self.copy(work, [CONFIG_FILE, REPORT_FILE, *kept])
            self.store.client.log_artifacts(self.run_id, str(work))
