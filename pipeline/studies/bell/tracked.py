"""A study of Bell scenarios in MLflow: one run with its figures, tables and certificates."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import REPORT_FILE
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, RunFolder
from pipeline.studies.bell.config import BellConfig
from pipeline.studies.bell.figures import cost_figure, plane_figure, planes
from pipeline.studies.bell.rows import ROWS
from pipeline.studies.bell.summary import Group, contradictions, finished, groups
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.study_run import StudyRun
from pipeline.tracking.text import parameters

# Certificates that go with the run; all are in its folder.
MOST_CERTIFICATES = 100


def start(config: BellConfig, folder: RunFolder) -> BellTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return BellTracker(config, folder, ROWS)


class BellTracker(StudyRun):
    """The study's run in MLflow."""

    def log(self, run: TrackedRun, results: pa.Table) -> None:
        """Figures, tables and certificates."""
        rows = finished(results)
        found = groups(rows)
        wrong, _ = contradictions(self.folder, rows)
        figures = metrics(found) | {
            "blocks_done": float(len(rows)),
            "blocks_failed": float(results.num_rows - len(rows)),
            "contradictions": float(wrong),
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
            plane = plane_figure(planes(self.folder, rows))
            (work / "figures" / "plane.png").write_bytes(to_png(plane))
            (work / "figures" / "cost.png").write_bytes(to_png(cost_figure(found)))
            certificates = self.folder.files(CERTIFICATES, ".npz")[:MOST_CERTIFICATES]
            self.copy(work, [CONFIG_FILE, REPORT_FILE, *certificates])
            self.store.client.log_artifacts(self.run_id, str(work))


def metrics(found: Iterable[Group]) -> dict[str, float]:
    """Sums over all groups, and the shares and times of each."""
    found = list(found)
    figures = {
        f"verdicts_{name}": float(sum(getattr(group, name) for group in found))
        for name in ("inside", "outside", "inconclusive", "refused", "certified")
    }
    for group in found:
        place = f"{group.scenario}/{group.level.replace('+', '_')}/{group.set}/{group.steps}"
        figures[f"{place}/decided_share"] = group.decided_share
        figures[f"{place}/cpu_per_1000"] = group.cpu_per_1000
    return figures
