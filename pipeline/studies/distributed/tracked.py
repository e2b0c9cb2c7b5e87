"""A distributed sweep in MLflow: one run with its figure, its rows and its certificates."""

from __future__ import annotations

import pyarrow as pa

from pipeline.results.folder import NETWORKS, RunFolder
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.studies.distributed.page import finished, path_figure
from pipeline.studies.distributed.rows import ROWS
from pipeline.tracking.study_run import MOST_FILES, PlainRun, Told


def start(config: DistributedConfig, folder: RunFolder) -> DistributedTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return DistributedTracker(config, folder, ROWS)


class DistributedTracker(PlainRun):
    """The sweep's run in MLflow."""

    def tell(self, results: pa.Table) -> Told:
        """Counts and gaps, β by β; objective and bounds against β; the networks."""
        rows = finished(results)
        figures = {"betas_done": float(len(rows)), "failed": float(results.num_rows - len(rows))}
        for place, row in enumerate(rows):
            figures |= {f"beta_{place}/{name}": float(row[name]) for name in ("beta", "gap")}
        networks = self.folder.files(NETWORKS, ".npz")[:MOST_FILES]
        return Told(figures, {"path": path_figure(rows)}, networks)
