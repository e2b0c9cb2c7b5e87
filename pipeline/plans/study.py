"""What a sweep asks of a study, and what a study has to say: the protocol, with an example.

A *study* is one question that a sweep can put to many inputs. Training is the one that a YAML file
without `kind:` means; `kind: robustness` names another. Every study is a room of its own under
`pipeline/studies/`, found by the folder's name, and a room's `__init__` holds one value, `STUDY`.
The driver, the dispatcher, the ledger, resume, `qnn verify`, `qnn report` and the tracking know
nothing but what stands here.

Five parts, from small to large:

- `Step`: what a unit tells while it works. A study adds what it wants logged in a subclass.
- `Unit`: the smallest thing that is done whole or not at all, run by one task on one core. It has
  an id that follows from content alone, names what it works on, says what it costs and how many
  rows it will give, and runs. What it writes last, its results file, commits it.
- `RowSchema` (`pipeline.results.schema`): the columns of one row of the results. Those of
  `COMMON` are in every study's, whatever else it has.
- `Prepared`: a config with its data read: the units of the sweep, and what they share.
- `Study`: the verbs: read a config, prepare, name a row's files, verify, report, track.

An example, whole: certificates of robustness for the rows of a table, in chunks.

    # pipeline/studies/robustness/__init__.py: light, for `qnn --help` imports it
    class Robustness(Study[RobustnessConfig]):
        name = "robustness"
        config = RobustnessConfig       # a Section with kind: Literal["robustness"], name,
                                        # tracking, resources, and its own keys
        rows = RowSchema.of(RobustnessRow)      # a frozen record, its fields are the columns

        def prepare(self, config):
            from pipeline.studies.robustness.plan import prepare    # reads the data: InputError
            return prepare(config)

        def verify(self, location, data=None, fast=False):
            from pipeline.studies.robustness.checks import verify
            return verify(location, data, fast)

        def write_report(self, folder, champion=None):
            from pipeline.studies.robustness.page import write_report
            return write_report(folder)

        def start_tracking(self, config, folder):
            from pipeline.studies.robustness.tracked import start
            return start(config, folder)

    STUDY = Robustness()

    # pipeline/studies/robustness/plan.py
    @dataclass(frozen=True)
    class Chunk:                                # a Unit
        network: str; radius: float; norm: str; first: int; last: int; content: str
        shard: str = "test"
        needs: tuple[Unit, ...] = ()

        @cached_property
        def id(self): return digest_of(["robustness", self.content, self.radius, ...])
        networks = property(lambda self: self.last - self.first)
        estimated_seconds = property(lambda self: 0.01 * self.networks)
        estimated_bytes = property(lambda self: 300e6)
        title = property(lambda self: f"{self.network} rows {self.first} to {self.last}")

        def titles(self, units): return [unit.title for unit in units]

        def run(self, data, folder, tools):     # in a worker; `data` is Prepared.data
            rows = []
            for row in range(self.first, self.last):
                start = time.perf_counter()
                rows.append(certified_row(self, data, row, folder))     # writes its certificate
                yield Step(unit=self.id, shard=self.shard, trials=1, failed=0, best_gap=None,
                           seconds=time.perf_counter() - start, error=None)
            write_results(folder, self.id, rows, STUDY.rows)    # last: this commits the unit

        def lost_rows(self, error): return [failed_row(self, row, error) for row in ...]

`kind: robustness` then plans, runs on Ray, resumes, verifies and reports; what stands beside
the room says docs/studies.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import pyarrow as pa

from pipeline.configuration.section import Section
from pipeline.configuration.settings import Resources, TrackingConfig
from pipeline.results.folder import KEPT, RESULTS, RunFolder
from pipeline.results.schema import RowSchema
from pipeline.results.selection import FINAL_SHARD
from qnn.errors import InputError

__all__ = [
    "FINAL_SHARD",
    "NothingFollows",
    "Prepared",
    "Step",
    "Study",
    "StudyConfig",
    "Tools",
    "Tracker",
    "Unit",
    "ids_of",
    "needed_by",
]

if TYPE_CHECKING:
    from pipeline.results.verification import Check

    # The compiler, which it imports, takes a second: only exact proofs need it.
    from qnn.moments.csp import Crew
    from qnn.training.pricing.enumeration import Scanner


class StudyConfig(Protocol):
    """What every study's config has beside its own keys; a frozen `Section`."""

    @property
    def name(self) -> str:
        """The sweep's name."""

    @property
    def tracking(self) -> TrackingConfig:
        """Where MLflow keeps the run."""

    @property
    def resources(self) -> Resources:
        """What a task may use."""


@dataclass(frozen=True)
class Step:
    """A step of a unit is finished: what the driver shows and logs while the unit goes on.

    `unit` is the unit's id, `shard` what it works on; `trials` rows are new, `failed` of them are
    failures, the first of which says `error`. `best_gap`: the least gap of its rows, None where
    that says nothing. `what` heads the line of the log; `counted`: whether the rows count as trials
    done in metrics, which those that are made of other units' rows do not.
    """

    unit: str
    shard: str
    trials: int
    failed: int
    best_gap: float | None
    seconds: float
    error: str | None

    what: ClassVar[str] = "step done"
    counted: ClassVar[bool] = True

    @property
    def told(self) -> dict[str, Any]:
        """Further fields of the log's line."""
        return {}

    @property
    def solved(self) -> tuple[str, float] | None:
        """Who solved its problem and the seconds that took, for the histogram; None: no one."""
        return None


@dataclass(frozen=True)
class Tools:
    """What the place of execution gives a unit.

    `scanner`: who scans the sign vectors of exact proofs, None for threads. `say`: shows a line
    while a step takes long, None where nobody looks. `crew`: who bounds leaves of a tree ahead,
    None for nobody.
    """

    scanner: Scanner | None = None
    say: Callable[[str], None] | None = None
    crew: Crew | None = None


class Unit(Protocol):
    """A unit of work: done whole or not at all. A frozen, small value that can be pickled."""

    @property
    def id(self) -> str:
        """From content alone: not from where the data lie, the machine, or the order of axes."""

    @property
    def shard(self) -> str:
        """What it works on, in a word; `FINAL_SHARD` for one that follows from results."""

    @property
    def needs(self) -> tuple[Unit, ...]:
        """The units that must be done before it, and that need none themselves; mostly none."""

    @property
    def networks(self) -> int:
        """Number of rows that it gives, whatever becomes of them."""

    @property
    def estimated_seconds(self) -> float:
        """Rough time on one core, what it needs not counted."""

    @property
    def estimated_bytes(self) -> float:
        """Rough peak memory, the interpreter included."""

    def titles(self, units: Sequence[Any]) -> list[str]:
        """For each of several units of its class a few words that tell it from the others."""

    def run(self, data: Any, folder: RunFolder, tools: Tools) -> Iterator[Step]:
        """Do it, in a worker: write its files, tell each step, commit it by its results file.

        A fault of one row makes that row failed and the unit goes on. What is raised makes the
        whole unit lost: `StoreError` where the folder cannot be written.
        """

    def lost_rows(self, error: str) -> list[Any]:
        """Failed rows for all that it would have given, where it could not be finished."""


def needed_by(unit: Unit) -> tuple[Unit, ...]:
    """The units without needs of their own that a unit stands for: what it needs, or itself."""
    return unit.needs or (unit,)


def ids_of(unit: Unit) -> set[str]:
    """The ids of the results files of a unit and of what it needs."""
    return {unit.id, *(need.id for need in unit.needs)}


class Prepared(Protocol):
    """A sweep whose data are read: what is known before anything is computed or written."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units whose rows the sweep is about; what they need is done first."""

    @property
    def data(self) -> Any:
        """What all units share, put before the workers once; it can be pickled."""

    def describe(self) -> str:
        """The plan as plain text, for `--dry-run`."""

    def choose(self, results: pa.Table) -> Any:
        """What the results lead to, for the follow-up unit and the tracking; None: nothing."""

    def follow_up(self, choice: Any) -> Unit | None:
        """The unit that a choice asks for, of `FINAL_SHARD`; never called without a choice."""

    def champion(self, results: pa.Table, follow_up: Unit) -> Any:
        """The row of the follow-up that the sweep ends with; None where it has none.

        A record with its id as `row.identity.trial`.
        """

    def finished(self, results: pa.Table) -> int:
        """Number of rows of `units` and the follow-up that are no failures."""


class NothingFollows:
    """What a study without a choice prepares: its units are all there is. To be inherited from."""

    def choose(self, results: pa.Table) -> Any:
        """Nothing."""

    def follow_up(self, choice: Any) -> Unit | None:
        """None."""

    def champion(self, results: pa.Table, follow_up: Unit) -> Any:
        """None."""

    def finished(self, results: pa.Table) -> int:
        """Number of rows that are no failures."""
        return int(results["status"].to_pylist().count("ok"))


class Tracker(Protocol):
    """The sweep's run in MLflow, taken up again where an earlier process left it."""

    def finish(self, results: pa.Table, choice: Any, champion: str | None) -> None:
        """Log everything from the result table; `champion` is the trial id of the best refit."""

    def end(self, status: str) -> None:
        """Mark the run as "KILLED" or "FAILED"."""

    @property
    def command(self) -> str:
        """The command that opens the MLflow UI on this run's store."""


C = TypeVar("C", bound=Section)


class Study(ABC, Generic[C]):
    """What a sweep's `kind:` names. Heavy imports belong inside the methods.

    `extendable`: keys of the config whose lists may grow in a finished folder.
    `kept`: the folders in a run's that hold what a finished sweep leaves for good; its manifest has
    all files in them.
    """

    name: ClassVar[str]
    config: type[C]
    rows: RowSchema
    kept: ClassVar[tuple[str, ...]] = KEPT
    extendable: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def prepare(self, config: C) -> Prepared:
        """Read the data and plan. Raises `InputError` where they do not fit together."""

    def told(self, results: pa.Table, config: C) -> pa.Table:
        """The results as report and tracking get them, with what only the config knows of them."""
        return results

    def extended(self, prepared: Any, folder: RunFolder, complete: set[str]) -> Any:
        """The sweep as prepared, with what units of an earlier, smaller plan have done left out.

        `complete`: the ids of the folder's finished units. Raises `InputError` where the folder
        has what the sweep does not ask for: results of other data, or of a larger plan.
        """
        known: set[str] = set().union(*(ids_of(unit) for unit in prepared.units))
        for path in sorted(complete - known):
            shards = folder.read_table(f"{RESULTS}/{path}.parquet")["shard"].unique().to_pylist()
            if shards != [FINAL_SHARD]:
                raise InputError(
                    f"{folder.label}: has results of other data under the same config (path "
                    f"{path}, shard {shards[0]}); give another --out"
                )
        return prepared

    def done(self, prepared: Any, folder: RunFolder) -> tuple[int, int]:
        """How many rows of the sweep a folder has, and how many it is to have."""
        there = set(folder.files(RESULTS, ".parquet"))
        units = [unit for unit in prepared.units if f"{RESULTS}/{unit.id}.parquet" in there]
        return sum(one.networks for one in units), sum(one.networks for one in prepared.units)

    def cautions(self, results: pa.Table, choice: Any, champion: Any) -> list[str]:
        """Why what a sweep ends with must not be put to use; nothing where nothing is against it.

        `choice` and `champion` are what `Prepared` returned.
        """
        return []

    def findings(self, results: pa.Table, config: C) -> list[tuple[str, str]]:
        """What a sweep ends with on the terminal beside its networks: a head and words a line."""
        return []

    def files_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """The files without which a finished row counts as not done, as the columns name them."""
        yield from (row[name] for name in ("certificate", "network") if row.get(name) is not None)

    @abstractmethod
    def verify(self, location: str, data: str | None = None, fast: bool = False) -> Iterator[Check]:
        """Check a run's folder, or one of its files, from the files alone: a verdict a file.

        `data`: the file of the data for a file outside a run; `fast`: skip what takes long, and
        say so. Raises `InputError` where there is nothing to check.
        """

    @abstractmethod
    def write_report(self, folder: RunFolder, champion: str | None = None) -> str | None:
        """Make `report.html` from a run's files alone; return where it lies.

        `champion` is the trial of the row that `Prepared.champion` chose, None: choose again.
        Raises `InputError` where there are no results.
        """

    @abstractmethod
    def start_tracking(self, config: C, folder: RunFolder) -> Tracker:
        """Take up the folder's run in MLflow, or make it. Raises what MLflow raises."""
