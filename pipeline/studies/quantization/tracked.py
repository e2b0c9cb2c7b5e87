"""A study of quantization in MLflow: one run with its figures, tables, networks, certificates."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from pipeline.results.folder import NETWORKS, RunFolder
from pipeline.studies.quantization.config import QuantizationConfig
from pipeline.studies.quantization.figures import divergence_figure, kept_figure
from pipeline.studies.quantization.rows import ROWS
from pipeline.studies.quantization.summary import Point, finished, points
from pipeline.tracking.study_run import MOST_FILES, PlainRun, Told


def start(config: QuantizationConfig, folder: RunFolder) -> QuantizationTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return QuantizationTracker(config, folder, ROWS)


class QuantizationTracker(PlainRun):
    """The study's run in MLflow."""

    def tell(self, results: pa.Table) -> Told:
        """Sizes, divergence and accuracy; both figures; the networks."""
        rows = finished(results)
        found = points(rows)
        counts = {
            "layers_done": float(len(rows)),
            "layers_failed": float(results.num_rows - len(rows)),
        }
        figures = {"divergence": divergence_figure(found), "kept": kept_figure(found)}
        networks = self.folder.files(NETWORKS, ".onnx")[:MOST_FILES]
        return Told(metrics(found) | counts, figures, networks)


def metrics(found: Iterable[Point]) -> dict[str, float]:
    """Bytes, divergence, agreement, accuracy and the allocation's gap of each point."""
    figures = {}
    for point in found:
        place = f"{point.model}/{point.method}/{point.budget:g}"
        for name in ("file_bytes", "divergence", "calibration_divergence", "agreement", "accuracy",
                     "bits_lagrangian_gap"):  # fmt: skip
            value = getattr(point, name)
            if value is not None:
                figures[f"{place}/{name}"] = float(value)
    return figures
