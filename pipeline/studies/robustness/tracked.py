"""A study of robustness in MLflow: one run with its curves, tables and certificates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pyarrow as pa

from pipeline.results.folder import RunFolder
from pipeline.studies.robustness.config import RobustnessConfig
from pipeline.studies.robustness.page import curves_figure
from pipeline.studies.robustness.rows import ROWS
from pipeline.studies.robustness.summary import (
    Group,
    Reach,
    Row,
    choosables,
    finished,
    groups,
    reaches,
)
from pipeline.tracking.study_run import PlainRun, Told


def start(config: RobustnessConfig, folder: RunFolder) -> RobustnessTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    return RobustnessTracker(config, folder, ROWS)


class RobustnessTracker(PlainRun):
    """The study's run in MLflow."""

    def tell(self, results: pa.Table) -> Told:
        """Shares and times; the curves."""
        rows = finished(results)
        found, far = groups(rows), reaches(rows)
        counts = {
            "rows_done": float(len(rows)),
            "rows_failed": float(results.num_rows - len(rows)),
        }
        figures = metrics(found) | reach_metrics(far) | choice_metrics(rows) | counts
        return Told(figures, {"curves": curves_figure(found, far)})


def metrics(found: Iterable[Group]) -> dict[str, float]:
    """Shares and processor time of each group."""
    figures: dict[str, float] = {}
    for group in found:
        place = f"{group.network}/{group.norm}/{group.radius:g}"
        figures |= {f"{place}/{name}": share for name, share in group.shares.items()}
        figures[f"{place}/cpu_seconds"] = group.cpu_seconds
    return figures


def reach_metrics(found: Iterable[Reach]) -> dict[str, float]:
    """What half of the rows reach, proven and, where it is known, attacked."""
    figures: dict[str, float] = {}
    for one in found:
        place = f"{one.network}/{one.norm}"
        proven, attacked = one.medians
        figures[f"{place}/certified_radius"] = proven
        if math.isfinite(attacked):
            figures[f"{place}/attacked_radius"] = attacked
    return figures


def choice_metrics(rows: list[Row]) -> dict[str, float]:
    """Of a sweep's settings: the most that any proves at each radius."""
    figures: dict[str, float] = {}
    for one in choosables(rows):
        for radius, share in one.proven.items():
            name = f"best_setting/{one.norm}/{radius:g}/proven"
            figures[name] = max(share, figures.get(name, 0.0))
    return figures
