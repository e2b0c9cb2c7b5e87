"""CSP: problems over pairs bounded by conditioning, rounds by rounds, each bound with its proof."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.plans.study import Prepared, Study, Tracker
from pipeline.results.folder import RunFolder
from pipeline.studies.csp.config import CspConfig
from pipeline.studies.csp.rows import ROWS

if TYPE_CHECKING:
    from pipeline.results.verification import Check

__all__ = ["STUDY", "CspStudy", "checks", "config", "figures", "page", "plan", "rows", "solves",
           "tracked"]  # fmt: skip


class CspStudy(Study[CspConfig]):
    """What rounds of conditioning prove and reach, on instances of CSPs over pairs."""

    name = "csp"
    config = CspConfig
    rows = ROWS

    def prepare(self, config: CspConfig) -> Prepared:
        """Read or make the instances, and plan the solves."""
        from pipeline.studies.csp.plan import prepare

        return prepare(config)

    def files_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """The certificate and the problem it is about."""
        yield from (row[name] for name in ("certificate", "problem") if row[name] is not None)

    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Prove every bound from the problem's file, and count what the rows state."""
        from pipeline.studies.csp.checks import verify

        yield from verify(location, data, fast)

    def write_report(self, folder: RunFolder, champion: str | None = None) -> str:
        """The page: bound and value against rounds."""
        from pipeline.studies.csp.page import write_report

        return write_report(folder)

    def start_tracking(self, config: CspConfig, folder: RunFolder) -> Tracker:
        """One run with the figure, the rows and the certificates."""
        from pipeline.studies.csp.tracked import start

        return start(config, folder)


STUDY = CspStudy()
