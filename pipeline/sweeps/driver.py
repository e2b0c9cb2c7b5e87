"""The driver: runs what is missing of a sweep, chooses, refits the champion, tracks and reports.

Everything that counts lies in the run's folder, so the driver may die at any moment: the next run
of the same command finds what is finished and does the rest.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from rich.console import Console

from pipeline.configuration.reading import dump_config
from pipeline.logs.log_lines import EVENTS
from pipeline.plans.studies import study_of
from pipeline.plans.study import FINAL_SHARD, Prepared, Step, StudyConfig, Unit, ids_of, needed_by
from pipeline.reports.origin import add_session
from pipeline.results.folder import CONFIG_FILE, RESULTS, RunFolder, StoreError
from pipeline.results.ledger import read_results, results_file, unit_id_of, write_lost
from pipeline.results.verification.manifest import MANIFEST, Manifest
from pipeline.sweeps.background import TrackerStart, TrackerStarting
from pipeline.sweeps.cluster.session import check_address
from pipeline.sweeps.dispatch import Events, TaskOptions, run_inline
from pipeline.sweeps.events import Event, UnitDone, UnitLost
from pipeline.sweeps.interrupts import Interrupts, SweepInterrupted
from pipeline.sweeps.lease import Lease
from pipeline.sweeps.progress import Tally, reporter
from pipeline.sweeps.resume import claim, completed_units
from pipeline.sweeps.under_way import Hearing
from pipeline.sweeps.worker.batch import Work
from qnn.errors import InputError

log = logging.getLogger(__name__)
events = logging.getLogger(EVENTS)

# Paths lost in a row because the folder could not be written, after which the sweep gives up.
STORAGE_PATIENCE = 3

Runner = Callable[[Sequence[Unit], Work, TaskOptions], Events]


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is run; nothing here changes a result.

    `address`: a running Ray, None for one of our own with `cpus` CPUs (None: all). `max_failures`:
    failed trials up to which the sweep still counts as done. `retry_failed`: compute paths with
    failed rows again. `inline`: run the paths in this process, without Ray.
    """

    address: str | None = None
    cpus: int | None = None
    max_failures: int = 0
    retry_failed: bool = False
    inline: bool = False


def prepare(config: Any) -> Any:
    """A sweep as its study prepares it. Raises `InputError` where data and config do not fit."""
    return study_of(config).prepare(config)


@dataclass(frozen=True)
class SweepOutcome:
    """What became of a sweep. `champion` is the row of the best refit; `exit_code` 0 or 1.

    `cautions`: why the champion must not be put to use; `findings`: a study's main figures.
    """

    location: str
    results: pa.Table
    choice: Any
    champion: Any
    failed: int
    reused_paths: int
    report: str | None
    tracking_command: str | None
    tracking_error: str | None
    exit_code: int
    timings: dict[str, float] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    findings: tuple[tuple[str, str], ...] = ()


def run_sweep(
    config: StudyConfig,
    out: str,
    options: SweepOptions | None = None,
    console: Console | None = None,
    start_tracking: TrackerStart | None = None,
) -> SweepOutcome:
    """Run, or finish, the sweep of `config` in the folder `out` (a path or a `pyarrow.fs` URI).

    Must be called on the main thread. `start_tracking` is called on another one; None: no tracking.

    Raises:
        InputError: the data or the config do not make a sweep, no sweep can run at the address,
            another sweep is running in the folder, or the folder holds a different one.
        StoreError: the folder cannot be written, or another sweep took it over.
        SweepInterrupted: SIGHUP, SIGINT or SIGTERM; what is finished is kept.
    """
    options = options or SweepOptions()
    check_address(options.address)
    with Interrupts(out) as interrupts:
        driver = _Driver(config, options, interrupts, console)
        return driver.run(RunFolder.open(out), start_tracking)


@dataclass(frozen=True)
class _Workplace:
    """The folder that a run writes to, its lease there, and what its tasks are given."""

    folder: RunFolder
    lease: Lease
    work: Work


class _Driver:
    """One run of a sweep: the stages, and how long each took."""

    def __init__(
        self,
        config: StudyConfig,
        options: SweepOptions,
        interrupts: Interrupts,
        console: Console | None,
    ) -> None:
        self.config, self.options, self.interrupts = config, options, interrupts
        self.study = study_of(config)
        self.console = console or Console(stderr=True)
        self.tasks = TaskOptions(
            cpus=config.resources.cpus_per_task,
            max_retries=config.resources.max_retries,
            max_in_flight=config.resources.max_in_flight,
            memory=config.resources.memory_per_task,
            sweep=config.name,
        )
        self.timings: dict[str, float] = {}

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.timings[stage] = time.monotonic() - begin

    def run(self, folder: RunFolder, start_tracking: TrackerStart | None) -> SweepOutcome:
        with self._timed("data"):
            prepared = self.study.prepare(self.config)
        folder.create()
        with Lease(folder) as lease:
            with self._timed("folder"):
                resolved = dump_config(self.config)
                claim(folder, resolved, self.study.extendable)
                complete = completed_units(folder, self.options.retry_failed, self.study)
                prepared = self.study.extended(prepared, folder, complete)
                # Not before it is sure that all of the folder has a place in it.
                folder.write(CONFIG_FILE, resolved.encode())
                # Until the run is over again nobody is to miss what it has not done yet.
                folder.remove(MANIFEST)
            tracking = None
            if start_tracking is not None:
                tracking = TrackerStarting(start_tracking, self.config, folder)
            run = _Workplace(folder, lease, Work(prepared.data, folder.location, lease.token))
            try:
                return self._finish(run, prepared, complete, tracking)
            except BaseException as error:
                if tracking is not None:
                    killed = isinstance(error, SweepInterrupted) or self.interrupts.seen is not None
                    tracking.end("KILLED" if killed else "FAILED")
                raise

    def _finish(
        self,
        run: _Workplace,
        prepared: Prepared,
        complete: set[str],
        tracking: TrackerStarting | None,
    ) -> SweepOutcome:
        begin, started = time.monotonic(), datetime.now(UTC)
        planned = [need for unit in prepared.units for need in needed_by(unit)]
        pending = [unit for unit in planned if unit.id not in complete]
        reused = len(planned) - len(pending)
        if reused:
            log.info("%d of %d paths are finished already", reused, len(planned))
        with self._runner(pending) as runner:
            with self._timed("paths"):
                self._run_all(runner, prepared.units, complete, run)
            read: dict[str, pa.Table] = {}
            results = read_results(run.folder, self.study.rows, read)
            choice = prepared.choose(results)
            refit = None if choice is None else prepared.follow_up(choice)
            if refit is not None and not complete.issuperset(ids_of(refit)):
                with self._timed("refit"):
                    self._run_all(runner, [refit], complete, run)
                ids = ids_of(refit)
                read = {file: rows for file, rows in read.items() if unit_id_of(file) not in ids}
        # From here on another holder of the folder would be harmed.
        run.lease.check()
        _drop_stale_refits(run.folder, refit, read)
        results = self.study.told(read_results(run.folder, self.study.rows, read), self.config)
        champion = None if refit is None else prepared.champion(results, refit)
        trial = None if champion is None else str(champion.identity.trial)
        cautions = self.study.cautions(results, choice, champion)
        for caution in cautions:
            # People read it beside the table.
            events.warning("not promoted: %s", caution)
        computed = len(pending) + (refit is not None and not complete.issuperset(ids_of(refit)))
        if computed:
            add_session(run.folder, started, time.monotonic() - begin, computed)
        if tracking is not None:
            # The page names the run in MLflow.
            tracking.wait()
        run.lease.check()
        report = self._report(run.folder, trial)
        run.lease.check()
        self._write_manifest(run.folder, prepared.units, refit)
        if tracking is not None:
            run.lease.check()
            with self._timed("tracking"):
                tracking.finish(results, choice, trial)
            self.timings["tracking start (alongside)"] = tracking.seconds
        wanted = sum(unit.networks for unit in prepared.units)
        wanted += 0 if refit is None else refit.networks
        # Units that have no rows at all count too.
        failed = wanted - prepared.finished(results)
        tracking_error = None if tracking is None else tracking.error
        wrong = failed > self.options.max_failures or tracking_error is not None
        return SweepOutcome(
            location=run.folder.label,
            results=results,
            choice=choice,
            champion=champion,
            failed=failed,
            reused_paths=reused,
            report=report,
            tracking_command=None if tracking is None else tracking.command,
            tracking_error=tracking_error,
            exit_code=1 if wrong else 0,
            timings=self.timings,
            cautions=tuple(cautions),
            findings=tuple(self.study.findings(results, self.config)),
        )

    @contextmanager
    def _runner(self, pending: Sequence[Unit]) -> Generator[Runner, None, None]:
        """How units are run; Ray is only started where there is more to do than a refit."""
        if self.options.inline or not pending:
            yield run_inline
            return
        from pipeline.sweeps.cluster.session import ray_session
        from pipeline.sweeps.dispatch import run_on_ray

        begin = time.monotonic()
        with ray_session(self.options.address, self.options.cpus):
            self.timings["ray"] = time.monotonic() - begin
            self.interrupts.check()
            yield run_on_ray

    def _run_all(
        self, runner: Runner, units: Sequence[Unit], complete: set[str], run: _Workplace
    ) -> None:
        """Run what is missing of what units need, then of the units themselves."""
        # Several units may need the same one.
        first = list({need.id: need for unit in units for need in needed_by(unit)}.values())
        pending = [unit for unit in first if unit.id not in complete]
        later = [unit for unit in units if unit.needs]
        missing = [unit for unit in later if not complete.issuperset(ids_of(unit))]
        for unit in missing:
            # A driver that dies before it is made again must not leave it beside new parts.
            run.folder.remove(results_file(unit.id))
        self._run_units(runner, pending, first, run)
        self._run_units(runner, missing, later, run)

    def _run_units(
        self, runner: Runner, units: Sequence[Unit], planned: Sequence[Unit], run: _Workplace
    ) -> None:
        """Run units to their end, showing progress; lost ones leave failed rows, not results."""
        if not units:
            return
        todo = sum(unit.networks for unit in units)
        known = sum(unit.networks for unit in planned)
        tally = Tally(max(known, todo), max(0, known - todo)) if len(units) > 1 else Tally(todo)
        tally.under_way = "" if runner is run_inline else tally.news
        by_id = {unit.id: unit for unit in units}
        refused = 0
        hearing = Hearing(run.folder)
        with (
            closing(hearing),
            closing(runner(units, run.work, self.tasks)) as events,
            reporter(tally, self.console) as bar,
        ):
            for event in events:
                self.interrupts.check()
                run.lease.heed()
                if event is not None:
                    tally.add(event)
                    _tell(event, by_id[event.unit].shard)
                tally.under_way = hearing.look() or tally.news
                bar.update()
                if isinstance(event, UnitDone):
                    refused = 0
                elif isinstance(event, UnitLost):
                    refused = refused + 1 if event.storage else 0
                    self._lose(event, by_id[event.unit], run.folder, refused)
            tally.under_way = ""

    def _lose(self, event: UnitLost, unit: Unit, folder: RunFolder, refused: int) -> None:
        """Say that a unit is lost, and leave failed rows where the folder can be written."""
        log.warning(
            "path %s (%s): %s",
            event.unit,
            unit.shard,
            event.error,
            extra={"path": event.unit, "shard": unit.shard},
        )
        if refused >= STORAGE_PATIENCE:
            raise StoreError(event.error)
        if not event.storage:
            write_lost(folder, event.unit, unit.lost_rows(event.error), self.study.rows)

    def _report(self, folder: RunFolder, trial: str | None) -> str | None:
        with self._timed("report"):
            try:
                return self.study.write_report(folder, trial)
            except InputError as error:
                log.warning("no report: %s", error)
                return None

    def _write_manifest(self, folder: RunFolder, units: Sequence[Unit], refit: Unit | None) -> None:
        """Say what the folder holds and how many rows the plan expects, now that all is done."""
        whole = [*units, *(() if refit is None else (refit,))]
        expected = {one.id: one.networks for unit in whole for one in (unit, *unit.needs)}
        Manifest.of(folder, expected, self.study.kept).write(folder)


def _tell(event: Event, shard: str) -> None:
    """Log what happened, for logs that are read by programs."""
    fields: dict[str, Any] = {"path": event.unit, "shard": shard}
    if isinstance(event, Step):
        known = {**event.told, "done": event.trials, "failed": event.failed}
        fields |= {**known, "gap": event.best_gap, "seconds": event.seconds}
        events.info(event.what, extra=fields)
    elif isinstance(event, UnitDone):
        events.info("path done", extra={**fields, "done": event.trials, "failed": event.failed})


def _drop_stale_refits(folder: RunFolder, refit: Unit | None, read: dict[str, pa.Table]) -> None:
    """Remove rows of refits that an earlier, incomplete run chose: one champion a sweep.

    `read`: files whose rows are known.
    """
    keep = set() if refit is None else ids_of(refit)
    for file in folder.files(RESULTS, ".parquet"):
        if unit_id_of(file) in keep:
            continue
        table = read[file] if file in read else folder.read_table(file, ["shard"])
        if table["shard"].unique().to_pylist() == [FINAL_SHARD]:
            log.info("%s: an earlier choice, removed", file)
            folder.remove(file)
