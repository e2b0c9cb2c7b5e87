"""Robustness: networks asked about blocks of rows at several radii, every answer with a proof."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.plans.study import Prepared, Study, Tracker
from pipeline.results.folder import RunFolder
from pipeline.studies.robustness.config import RobustnessConfig
from pipeline.studies.robustness.rows import ROWS

if TYPE_CHECKING:
    from pipeline.results.verification import Check

__all__ = [
    "STUDY", "RobustnessStudy", "asked", "blocks", "checks", "config", "page", "plan", "rows",
    "subjects", "summary", "tracked",
]  # fmt: skip


class RobustnessStudy(Study[RobustnessConfig]):
    """What share of the rows no change within a radius can spoil."""

    name = "robustness"
    config = RobustnessConfig
    rows = ROWS

    def prepare(self, config: RobustnessConfig) -> Prepared:
        """Read the networks and the rows, and plan the blocks."""
        from pipeline.studies.robustness.plan import prepare

        return prepare(config)

    def files_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """The network and the row's certificate."""
        yield from (row[name] for name in ("network_file", "certificate") if row[name] is not None)

    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Prove every certificate again and ask the networks about every row and witness."""
        from pipeline.studies.robustness.checks import verify

        yield from verify(location, data)

    def write_report(self, folder: RunFolder, champion: str | None = None) -> str:
        """The page: proven and attacked accuracy against the radius."""
        from pipeline.studies.robustness.page import write_report

        return write_report(folder)

    def start_tracking(self, config: RobustnessConfig, folder: RunFolder) -> Tracker:
        """One run with the curves and the table."""
        from pipeline.studies.robustness.tracked import start

        return start(config, folder)


STUDY = RobustnessStudy()
