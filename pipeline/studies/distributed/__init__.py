"""Distributed: one training problem whose rows lie in blocks on many machines, β by β."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.plans.study import Prepared, Study, Tracker
from pipeline.results.folder import KEPT, RunFolder
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.studies.distributed.rows import ROWS

if TYPE_CHECKING:
    from pipeline.results.verification import Check

__all__ = ["STUDY", "DistributedStudy", "checks", "config", "page", "path", "plan", "rows",
           "state", "tracked"]  # fmt: skip


class DistributedStudy(Study[DistributedConfig]):
    """Networks and bounds of one table of rows that need not fit on one machine."""

    name = "distributed"
    config = DistributedConfig
    rows = ROWS
    kept = (*KEPT, "blocks")

    def prepare(self, config: DistributedConfig) -> Prepared:
        """Look at the files' footers, and plan the path."""
        from pipeline.studies.distributed.plan import prepare

        return prepare(config)

    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Prove every bound again from the rows, a block at a time."""
        from pipeline.studies.distributed.checks import verify

        yield from verify(location, data, fast)

    def write_report(self, folder: RunFolder, champion: str | None = None) -> str:
        """The page: networks and bounds against β."""
        from pipeline.studies.distributed.page import write_report

        return write_report(folder)

    def start_tracking(self, config: DistributedConfig, folder: RunFolder) -> Tracker:
        """One run with the figure, the rows and the certificates."""
        from pipeline.studies.distributed.tracked import start

        return start(config, folder)


STUDY = DistributedStudy()
