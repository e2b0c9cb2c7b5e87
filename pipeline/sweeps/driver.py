"""The driver: runs what is missing of a sweep, chooses, refits the champion, tracks and reports.

Everything that counts lies in the run's folder, so the driver may die at any moment: the next run
of the same command finds what is finished and does the rest.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from rich.console import Console

from pipeline.configuration.reading import SweepConfig, dump_config
from pipeline.datasets.shards import Split, make_layout, make_split
from pipeline.datasets.sources import Table, load_table
from pipeline.logs.log_lines import EVENTS
from pipeline.plans.plan import Plan, make_plan, make_unit
from pipeline.plans.units import JoinSpec, PathSpec, Unit, narrow_unit, paths_of
from pipeline.results.folder import RESULTS, RunFolder, StoreError
from pipeline.results.ledger import path_of, read_results, results_file, write_lost
from pipeline.results.lock import FolderLock, acquire_lock
from pipeline.results.selection import FINAL_SHARD, Choice, best_refit, choose
from pipeline.sweeps.background import TrackerStart, TrackerStarting
from pipeline.sweeps.cluster.session import check_address
from pipeline.sweeps.dispatch import Events, TaskOptions, run_inline
from pipeline.sweeps.events import BetaJoined, Event, PathDone, PathLost, ProblemDone
from pipeline.sweeps.interrupts import Interrupts, SweepInterrupted
from pipeline.sweeps.progress import Tally, reporter
from pipeline.sweeps.resume import claim, completed_paths
from pipeline.sweeps.worker.path import Work
from pipeline.sweeps.worker.rows import lost_rows
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout

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


@dataclass(frozen=True)
class Prepared:
    """A sweep's data and plan: what is known before anything is computed or written."""

    config: SweepConfig
    table: Table
    split: Split
    layout: FeatureLayout
    plan: Plan

    def refit(self, choice: Choice) -> Unit:
        """What trains the chosen setting on all rows but the test rows."""
        shard = self.split.shard(FINAL_SHARD)
        kind = next(kind for kind in self.config.kinds if kind.resolved() == choice.kind)
        whole = make_unit(self.config, self.table, self.split, self.layout, shard, kind)
        return narrow_unit(whole, choice.beta, choice.width, choice.rounding)


def prepare(config: SweepConfig) -> Prepared:
    """Read the data and plan the sweep. Raises `InputError` where they do not fit together."""
    table = load_table(config)
    split = make_split(table, config)
    layout = make_layout(table, config, split)
    return Prepared(config, table, split, layout, make_plan(config, table, split, layout))


@dataclass(frozen=True)
class SweepOutcome:
    """What became of a sweep. `champion` is the row of the best refit; `exit_code` 0 or 1."""

    location: str
    results: pa.Table
    choice: Choice | None
    champion: dict[str, Any] | None
    failed: int
    reused_paths: int
    report: str | None
    tracking_command: str | None
    tracking_error: str | None
    exit_code: int
    timings: dict[str, float] = field(default_factory=dict)


def run_sweep(
    config: SweepConfig,
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
        StoreError: the folder cannot be written.
        SweepInterrupted: SIGINT or SIGTERM; what is finished is kept.
    """
    options = options or SweepOptions()
    check_address(options.address)
    with Interrupts() as interrupts:
        driver = _Driver(config, options, interrupts, console)
        try:
            return driver.run(RunFolder.open(out), start_tracking)
        except BaseException:
            # Libraries turn signals into errors of their own; the signal is what happened.
            interrupts.check()
            raise


class _Driver:
    """One run of a sweep: the stages, and how long each took."""

    def __init__(
        self,
        config: SweepConfig,
        options: SweepOptions,
        interrupts: Interrupts,
        console: Console | None,
    ) -> None:
        self.config, self.options, self.interrupts = config, options, interrupts
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
            prepared = prepare(self.config)
        folder.create()
        lock = acquire_lock(folder)
        try:
            with self._timed("folder"):
                claim(folder, dump_config(self.config))
                complete = completed_paths(folder, self.options.retry_failed)
                _refuse_foreign(folder, complete, prepared.plan)
            tracking = None
            if start_tracking is not None:
                tracking = TrackerStarting(start_tracking, self.config, folder)
            try:
                return self._finish(folder, lock, prepared, complete, tracking)
            except BaseException as error:
                if tracking is not None:
                    killed = isinstance(error, SweepInterrupted) or self.interrupts.seen is not None
                    tracking.end("KILLED" if killed else "FAILED")
                raise
        finally:
            lock.release()

    def _finish(
        self,
        folder: RunFolder,
        lock: FolderLock,
        prepared: Prepared,
        complete: set[str],
        tracking: TrackerStarting | None,
    ) -> SweepOutcome:
        plan = prepared.plan
        pending = [spec for spec in plan.paths if spec.id not in complete]
        reused = len(plan.paths) - len(pending)
        if reused:
            log.info("%d of %d paths are finished already", reused, len(plan.paths))
        work = Work(prepared.table, prepared.split, prepared.layout, folder.location, lock.token)
        with self._runner(pending) as run:
            with self._timed("paths"):
                self._run_units(run, plan.units, complete, work, folder, lock)
            results = read_results(folder)
            choice = choose(results, self.config.beta.kind, self.config.task)
            refit = None if choice is None else prepared.refit(choice)
            if refit is not None and not complete.issuperset(_ids(refit)):
                with self._timed("refit"):
                    self._run_units(run, [refit], complete, work, folder, lock)
        _drop_stale_refits(folder, refit)
        results = read_results(folder)
        champion = None if refit is None else best_refit(results, refit.id)
        trial = None if champion is None else str(champion["trial"])
        report = self._report(folder, trial)
        if tracking is not None:
            with self._timed("tracking"):
                tracking.finish(results, choice, trial)
            self.timings["tracking start (alongside)"] = tracking.seconds
        failed = _failed_trials(results, plan, refit)
        tracking_error = None if tracking is None else tracking.error
        wrong = failed > self.options.max_failures or tracking_error is not None
        return SweepOutcome(
            location=folder.label,
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
        )

    @contextmanager
    def _runner(self, pending: Sequence[PathSpec]) -> Generator[Runner, None, None]:
        """How paths are run; Ray is only started where there is more to do than a refit."""
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

    def _run_units(
        self,
        run: Runner,
        units: Sequence[Unit],
        complete: set[str],
        work: Work,
        folder: RunFolder,
        lock: FolderLock,
    ) -> None:
        """Run what is missing of all paths, then of the joins of their outputs."""
        paths = [path for unit in units for path in paths_of(unit)]
        pending = [path for path in paths if path.id not in complete]
        joins = [unit for unit in units if isinstance(unit, JoinSpec)]
        missing = [join for join in joins if not complete.issuperset(_ids(join))]
        for join in missing:
            # A driver that dies before it is made again must not leave it beside new parts.
            folder.remove(results_file(join.id))
        self._run_specs(run, pending, paths, work, folder, lock)
        self._run_specs(run, missing, joins, work, folder, lock)

    def _run_specs(
        self,
        run: Runner,
        specs: Sequence[Unit],
        planned: Sequence[Unit],
        work: Work,
        folder: RunFolder,
        lock: FolderLock,
    ) -> None:
        """Run specs to their end, showing progress; lost ones leave failed rows, not results."""
        if not specs:
            return
        todo = sum(spec.networks for spec in specs)
        known = sum(spec.networks for spec in planned)
        tally = Tally(max(known, todo), max(0, known - todo)) if len(specs) > 1 else Tally(todo)
        by_id = {spec.id: spec for spec in specs}
        refused = 0
        with closing(run(specs, work, self.tasks)) as events, reporter(tally, self.console) as bar:
            for event in events:
                self.interrupts.check()
                lock.renew()
                if event is not None:
                    tally.add(event)
                    _tell(event, by_id[event.path].shard)
                bar.update()
                if isinstance(event, PathDone):
                    refused = 0
                elif isinstance(event, PathLost):
                    shard = by_id[event.path].shard
                    log.warning(
                        "path %s (%s): %s",
                        event.path,
                        shard,
                        event.error,
                        extra={"path": event.path, "shard": shard},
                    )
                    refused = refused + 1 if event.storage else 0
                    if refused >= STORAGE_PATIENCE:
                        raise StoreError(event.error)
                    if not event.storage:
                        write_lost(folder, event.path, lost_rows(by_id[event.path], event.error))

    def _report(self, folder: RunFolder, trial: str | None) -> str | None:
        from pipeline.reports.page import write_report

        with self._timed("report"):
            try:
                return write_report(folder, trial)
            except InputError as error:
                log.warning("no report: %s", error)
                return None


def _tell(event: Event, shard: str) -> None:
    """Log what happened, for logs that are read by programs."""
    fields: dict[str, Any] = {"path": event.path, "shard": shard}
    if isinstance(event, ProblemDone | BetaJoined):
        known = {"beta": event.beta, "done": event.trials, "failed": event.failed}
        fields |= {**known, "gap": event.best_gap, "seconds": event.seconds}
        events.info(
            "problem done" if isinstance(event, ProblemDone) else "beta joined", extra=fields
        )
    elif isinstance(event, PathDone):
        events.info("path done", extra={**fields, "done": event.trials, "failed": event.failed})


def _ids(unit: Unit) -> set[str]:
    """The ids of the results files of a unit and of the paths that it needs."""
    return {unit.id, *(path.id for path in paths_of(unit))}


def _refuse_foreign(folder: RunFolder, complete: set[str], plan: Plan) -> None:
    """Refuse results of other data or another version under the same config."""
    foreign = sorted(complete.difference(*(_ids(unit) for unit in plan.units)))
    for path in foreign:
        shards = folder.read_table(results_file(path))["shard"].unique().to_pylist()
        if shards != [FINAL_SHARD]:
            raise InputError(
                f"{folder.label}: has results of other data under the same config (path {path}, "
                f"shard {shards[0]}); give another --out"
            )


def _drop_stale_refits(folder: RunFolder, refit: Unit | None) -> None:
    """Remove rows of refits that an earlier, incomplete run chose: one champion a sweep."""
    keep = set() if refit is None else _ids(refit)
    for file in folder.files(RESULTS, ".parquet"):
        if path_of(file) in keep:
            continue
        table = folder.read_table(file)
        if table["shard"].unique().to_pylist() == [FINAL_SHARD]:
            log.info("%s: an earlier choice, removed", file)
            folder.remove(file)


def _failed_trials(results: pa.Table, plan: Plan, refit: Unit | None) -> int:
    """Whole networks that failed, and those of paths and joins that have no rows at all."""
    rows = results.select(["status", "output"]).to_pylist()
    ok = sum(row["status"] == "ok" and row["output"] is None for row in rows)
    return plan.trials + (0 if refit is None else refit.networks) - ok
