"""Quantization: trained networks in few bits, by several methods and budgets, a row a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.plans.study import Prepared, Study, Tracker
from pipeline.results.folder import RunFolder
from pipeline.studies.quantization.config import QuantizationConfig
from pipeline.studies.quantization.rows import ROWS

if TYPE_CHECKING:
    from pipeline.results.verification import Check

__all__ = [
    "STUDY", "QuantizationStudy", "checks", "config", "figures", "page", "plan", "rows", "summary",
    "tracked", "units",
]  # fmt: skip


class QuantizationStudy(Study[QuantizationConfig]):
    """What is left of trained networks in 2 to 8 bits, and how good each layer provably is."""

    name = "quantization"
    config = QuantizationConfig
    rows = ROWS

    def prepare(self, config: QuantizationConfig) -> Prepared:
        """Read the models and the rows, and plan."""
        from pipeline.studies.quantization.plan import prepare

        return prepare(config)

    def files_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """The network, the certificates and the rows that they speak of."""
        if row["network"] is not None:
            yield row["network"]
        yield from row["certificates"] or ()
        yield from row["evidence"] or ()

    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Prove every certificate again, and hold rows and networks against them."""
        from pipeline.studies.quantization.checks import verify

        yield from verify(location, data, fast)

    def write_report(self, folder: RunFolder, champion: str | None = None) -> str:
        """The page: what is kept against bytes, for all methods; every layer."""
        from pipeline.studies.quantization.page import write_report

        return write_report(folder)

    def start_tracking(self, config: QuantizationConfig, folder: RunFolder) -> Tracker:
        """One run with figures, tables, networks and certificates."""
        from pipeline.studies.quantization.tracked import start

        return start(config, folder)


STUDY = QuantizationStudy()
