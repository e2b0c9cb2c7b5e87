"""A study of Bell scenarios in MLflow: one run with its figures, tables and certificates."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from pipeline.results.folder import RunFolder
from pipeline.studies.bell.config import BellConfig
from pipeline.studies.bell.figures import cost_figure, plane_figure, planes
from pipeline.studies.bell.rows import ROWS
from pipeline.studies.bell.summary import Group, contradictions, finished, groups, trained
from pipeline.tracking.study_run import PlainRun, Told


def start(config: BellConfig, folder: RunFolder) -> BellTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return BellTracker(config, folder, ROWS)


class BellTracker(PlainRun):
    """The study's run in MLflow."""

    def tell(self, results: pa.Table) -> Told:
        """Verdicts, shares and times; the plane and the cost; the networks."""
        rows = finished(results)
        found = groups(rows)
        wrong, _ = contradictions(self.folder, rows)
        counts = {
            "blocks_done": float(len(rows)),
            "blocks_failed": float(results["status"].to_pylist().count("failed")),
            "networks_trained": float(len(trained(results))),
            "contradictions": float(wrong),
        }
        plane = plane_figure(planes(self.folder, rows))
        return Told(
            metrics(found) | counts,
            {"plane": plane, "cost": cost_figure(found)},
            [row["model_file"] for row in trained(results)],
        )


def metrics(found: Iterable[Group]) -> dict[str, float]:
    """Sums over all groups, and the shares and times of each."""
    found = list(found)
    figures = {
        f"verdicts_{name}": float(sum(getattr(group, name) for group in found))
        for name in ("inside", "outside", "inconclusive", "refused", "certified")
    }
    for group in found:
        place = f"{group.scenario}/{group.level.replace('+', '_')}/{group.set}/{group.steps}"
        place += f"/{group.model}" if group.model else ""
        figures[f"{place}/decided_share"] = group.decided_share
        figures[f"{place}/cpu_per_1000"] = group.cpu_per_1000
    return figures
