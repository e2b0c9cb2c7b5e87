"""Bell: blocks of behaviours decided inside or outside a level of moment matrices, with proofs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.plans.study import Prepared, Study, Tracker
from pipeline.results.folder import RunFolder
from pipeline.studies.bell.config import BellConfig
from pipeline.studies.bell.rows import LEFT, ROWS, TRAINING

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.results.verification import Check

__all__ = [
    "STUDY", "BellStudy", "behaviours", "blocks", "checks", "config", "figures", "nearest",
    "networks", "page", "plan", "rows", "summary", "tracked",
]  # fmt: skip


class BellStudy(Study[BellConfig]):
    """Which behaviours are quantum, as far as levels of moment matrices can tell."""

    name = "bell"
    config = BellConfig
    rows = ROWS
    kept = LEFT

    def prepare(self, config: BellConfig) -> Prepared:
        """Read the behaviours' file, if any, and plan the blocks."""
        from pipeline.studies.bell.plan import prepare

        return prepare(config)

    def findings(self, results: pa.Table, config: BellConfig) -> list[tuple[str, str]]:
        """What is decided, and for each level what is left open, and at what cost."""
        from pipeline.studies.bell.summary import findings

        return findings(results)

    def files_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """The verdicts' table and the certificates; or the network that was trained."""
        if row["set"] == TRAINING and row["model_file"] is not None:
            yield row["model_file"]
        if row["verdicts"] is not None:
            yield row["verdicts"]
        yield from row["certificates"] or ()

    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Decide every block again from its table, and prove every certificate exactly."""
        from pipeline.studies.bell.checks import verify

        yield from verify(location, fast)

    def write_report(self, folder: RunFolder, champion: str | None = None) -> str:
        """The page: the set's boundary in a plane, what was decided, what it cost."""
        from pipeline.studies.bell.page import write_report

        return write_report(folder)

    def start_tracking(self, config: BellConfig, folder: RunFolder) -> Tracker:
        """One run with figures, tables and certificates."""
        from pipeline.studies.bell.tracked import start

        return start(config, folder)


STUDY = BellStudy()
