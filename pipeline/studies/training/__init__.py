"""Training: networks along β on shards of a table, each with a bound. What no `kind:` means."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.configuration.settings import SweepConfig
from pipeline.logs.log_lines import DATA
from pipeline.plans.study import Study
from pipeline.results.folder import RunFolder
from pipeline.results.record import RESULTS_ROWS, NetworkRow

if TYPE_CHECKING:
    from pipeline.results.verification import Check
    from pipeline.studies.training.prepared import Prepared
    from pipeline.tracking.tracker import SweepTracker

# What there is to say of the data, as those say that read them.
log = logging.getLogger(f"{DATA}.plan")

__all__ = ["STUDY", "Training", "automatic", "prepared", "source", "units"]


class Training(Study[SweepConfig]):
    """The study of this project's own networks."""

    name = "training"
    config = SweepConfig
    rows = RESULTS_ROWS
    extendable = ("seeds", "widths", "beta", "rounding")

    def prepare(self, config: SweepConfig) -> Prepared:
        """Read the table and plan paths and joins."""
        from pipeline.studies.training.prepared import prepare

        prepared = prepare(config)
        for note in prepared.plan.warnings:
            log.info("%s", note)
        return prepared

    def told(self, results: pa.Table, config: SweepConfig) -> pa.Table:
        """With the form in which β was written, and the metric that chooses."""
        from pipeline.results.summary import written_as

        return written_as(results, config.beta.form, config.chosen_by)

    def extended(self, prepared: Any, folder: RunFolder, complete: set[str]) -> Any:
        """With what an earlier plan has finished left out."""
        from pipeline.studies.training.extension import extended

        units = extended(prepared.config, prepared.plan.units, folder, complete)
        return prepared if units is None else replace(prepared, own_units=units)

    def done(self, prepared: Any, folder: RunFolder) -> tuple[int, int]:
        """Networks, whichever path they are in."""
        from pipeline.results.ledger import read_results
        from pipeline.studies.training.extension import done_and_wanted

        results = read_results(folder, self.rows)
        ok = results.filter(pc.equal(results["status"], "ok"))
        return done_and_wanted(prepared.plan.units, set(ok["trial"].to_pylist()))

    def cautions(self, results: pa.Table, choice: Any, champion: Any) -> list[str]:
        """A network that says the same of every row, and parts that lack a class."""
        from pipeline.results.fitness import reasons_against_choice

        return reasons_against_choice(results, choice, champion)

    def findings(self, results: pa.Table, config: SweepConfig) -> list[tuple[str, str]]:
        """What learned bounds saved, or that they did not, where they were asked for."""
        from pipeline.results.summary import frame, left_out

        if config.bounds != "learned":
            return []
        return [("learned", f"SDPs left out {left_out(frame(results))}")]

    def files_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Certificate and network, those of the outputs, and the training matrix."""
        known = NetworkRow.exactly(row)
        yield known.identity.data_file
        yield from known.bounds.files
        if known.fit.network is not None:
            yield known.fit.network

    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Prove certificates and measure networks again."""
        from pipeline.results.verification import verify_paths
        from pipeline.studies.training.source import RereadSource

        yield from verify_paths([location], data, fast, RereadSource)

    def write_report(self, folder: RunFolder, champion: str | None = None) -> str | None:
        """The page of the sweep."""
        from pipeline.reports import page

        return page.write_report(folder, champion)

    def start_tracking(self, config: SweepConfig, folder: RunFolder) -> SweepTracker:
        """One run a sweep, child runs for the best, one champion."""
        from pipeline.tracking import tracker

        return tracker.start(config, folder)


STUDY = Training()
