"""A study of quantization in MLflow: one run with its figures, tables, networks, certificates."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import REPORT_FILE
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, NETWORKS, RunFolder
from pipeline.studies.quantization.config import QuantizationConfig
from pipeline.studies.quantization.figures import divergence_figure, kept_figure
from pipeline.studies.quantization.rows import ROWS
from pipeline.studies.quantization.summary import Point, finished, points
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.study_run import StudyRun
from pipeline.tracking.text import parameters

# Files of a kind that go with the run; all are in its folder.
MOST_FILES = 100


def start(config: QuantizationConfig, folder: RunFolder) -> QuantizationTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return QuantizationTracker(config, folder, ROWS)


class QuantizationTracker(StudyRun):
    """The study's run in MLflow."""

    def log(self, run: TrackedRun, results: pa.Table) -> None:
        """Figures, tables, networks and certificates."""
        rows = finished(results)
        found = points(rows)
        figures = metrics(found) | {
            "layers_done": float(len(rows)),
            "layers_failed": float(results.num_rows - len(rows)),
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
            (work / "figures" / "divergence.png").write_bytes(to_png(divergence_figure(found)))
            (work / "figures" / "kept.png").write_bytes(to_png(kept_figure(found)))
            networks = self.folder.files(NETWORKS, ".onnx")[:MOST_FILES]
            certificates = self.folder.files(CERTIFICATES, ".npz")[:MOST_FILES]
            self.copy(work, [CONFIG_FILE, REPORT_FILE, *networks, *certificates])
            self.store.client.log_artifacts(self.run_id, str(work))


def metrics(found: Iterable[Point]) -> dict[str, float]:
    """Bytes, divergence, agreement, accuracy and the allocation's gap of each point."""
    figures = {}
    for point in found:
        place = f"{point.model}/{point.method}/{point.budget:g}"
        for name in ("file_bytes", "divergence", "agreement", "accuracy", "bits_lagrangian_gap"):
            value = getattr(point, name)
            if value is not None:
                figures[f"{place}/{name}"] = float(value)
    return figures
