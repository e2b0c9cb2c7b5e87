"""A study's run in MLflow: taken up where an earlier process left it, logged once, ended."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reports.figures.chart import Chart
from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import REPORT_FILE
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, RunFolder
from pipeline.results.schema import RowSchema
from pipeline.tracking.run import TrackedRun, paths_for
from pipeline.tracking.store import open_store, take_up_run
from pipeline.tracking.text import parameters

# Files of a kind that go with a run; all are in its folder.
MOST_FILES = 100
_DONE = "qnn.logged"


class StudyRun(ABC):
    """The life of a study's run; a subclass says in `log` what goes into it.

    `home` is the folder of the embedded store (default: `folder`). Raises InputError for a store
    that cannot be meant, and what MLflow raises where it is away.
    """

    def __init__(
        self, config: Any, folder: RunFolder, schema: RowSchema, home: RunFolder | None = None
    ) -> None:
        self.config, self.folder, self.schema = config, folder, schema
        self.store = open_store(config, home or folder)
        self.run_id = take_up_run(self.store, folder, config.name, self.tags())
        self.champion: str | None = None

    @property
    def command(self) -> str:
        """The command that opens the MLflow UI on this run's store."""
        return self.store.command(self.run_id)

    def end(self, status: str) -> None:
        """Mark the run as "KILLED" or "FAILED" (or "FINISHED")."""
        self.store.client.set_terminated(self.run_id, status=status)

    def finish(self, results: pa.Table, choice: Any, champion: str | None) -> None:
        """Log everything from the result table and end the run.

        `champion`: trial id of the chosen network. A table that was logged before is not logged
        again, unless what is kept beside the run is gone. Raises what MLflow raises; the run is
        then marked FAILED if that still works.
        """
        self.champion = champion
        try:
            mark = self._digest(results)
            run = TrackedRun(self.store.client, self.store.client.get_run(self.run_id))
            if run.tags.get(_DONE) != mark or not self.is_whole():
                self.log(run, results, choice)
                run.log(tags={_DONE: mark})
            self.end("FINISHED")
        except Exception:
            with contextlib.suppress(Exception):
                self.end("FAILED")
            raise

    def tags(self) -> dict[str, str]:
        """Tags of the run that are known before anything is computed."""
        return {
            "mlflow.source.name": "qnn sweep",
            "mlflow.source.type": "LOCAL",
            "qnn.kind": str(self.config.kind),
        }

    def is_whole(self) -> bool:
        """Whether what was logged outside of the run is there."""
        return True

    @abstractmethod
    def log(self, run: TrackedRun, results: pa.Table, choice: Any) -> None:
        """Log parameters, metrics and artifacts of the finished results."""

    def logged(self, rows: list[dict[str, Any]]) -> Any:
        """What is logged, as plain values, from the rows without their timings."""
        return rows

    def _digest(self, results: pa.Table) -> str:
        """Digest of all that is logged, timings aside."""
        columns = [name for name in results.schema.names if name not in self.schema.timings]
        content = repr(self.logged(results.select(columns).to_pylist()))
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Told:
    """What a study without training tells of its results: metrics, figures by name, and files.

    `files` are of the run's folder; its configuration, report and certificates go without saying.
    """

    metrics: Mapping[str, float]
    figures: Mapping[str, Chart]
    files: Iterable[str] = field(default=())


class PlainRun(StudyRun):
    """A run without child runs or models; a subclass says in `tell` what is in it."""

    @abstractmethod
    def tell(self, results: pa.Table) -> Told:
        """Metrics, figures and files of the finished results."""

    def log(self, run: TrackedRun, results: pa.Table, choice: Any) -> None:
        """Log parameters, metrics, the table, figures, certificates and the report."""
        told = self.tell(results)
        names = paths_for(told.metrics)
        points = [(names[name], value, 0) for name, value in told.metrics.items()]
        run.log(parameters=parameters(self.config), points=points)
        certificates = self.folder.files(CERTIFICATES, ".npz")[:MOST_FILES]
        with tempfile.TemporaryDirectory(prefix="qnn-mlflow-") as place:
            work = Path(place)
            (work / "figures").mkdir()
            (work / "results").mkdir()
            pq.write_table(results, work / "results" / "results.parquet")
            for name, figure in told.figures.items():
                (work / "figures" / f"{name}.png").write_bytes(to_png(figure))
            self._copy(work, [CONFIG_FILE, REPORT_FILE, *certificates, *told.files])
            self.store.client.log_artifacts(self.run_id, str(work))

    def _copy(self, work: Path, names: Iterable[str]) -> None:
        """Put files of the run's folder, those that are there, under `work`."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                content = self.folder.read(name)
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes(content)
