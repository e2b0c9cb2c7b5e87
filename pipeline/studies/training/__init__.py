"""Training: networks along β on shards of a table, each with a bound. What no `kind:` means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.configuration.settings import SweepConfig
from pipeline.plans.study import Study
from pipeline.results.folder import RunFolder, data_file
from pipeline.results.schema import RESULTS_ROWS

if TYPE_CHECKING:
    from pipeline.results.verification import Check
    from pipeline.studies.training.prepared import Prepared
    from pipeline.tracking.tracker import SweepTracker

__all__ = ["STUDY", "Training", "prepared", "units"]


class Training(Study[SweepConfig]):
    """The study of this project's own networks."""

    name = "training"
    config = SweepConfig
    rows = RESULTS_ROWS

    def prepare(self, config: SweepConfig) -> Prepared:
        """Read the table and plan paths and joins."""
        from pipeline.studies.training.prepared import prepare

        return prepare(config)

    def files_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Certificate and network, those of the outputs, and the training matrix."""
        yield from super().files_of(row)
        yield data_file(row["dataset"], row["shard"])
        yield from row["certificates"] or ()

    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Prove certificates and measure networks again."""
        from pipeline.results.verification import verify_paths

        yield from verify_paths([location], data, fast)

    def write_report(self, folder: RunFolder, champion: str | None = None) -> str | None:
        """The page of the sweep."""
        from pipeline.reports import page

        return page.write_report(folder, champion)

    def start_tracking(self, config: SweepConfig, folder: RunFolder) -> SweepTracker:
        """One run a sweep, child runs for the best, one champion."""
        from pipeline.tracking import tracker

        return tracker.start(config, folder)


STUDY = Training()
