"""The one run that a study without training keeps in MLflow: taken up, logged once, ended."""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.results.folder import RunFolder
from pipeline.results.schema import RowSchema
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.store import open_store, take_up_run

_DONE = "qnn.logged"


class StudyRun(ABC):
    """A study's run; a subclass says in `log` what goes into it."""

    def __init__(self, config: Any, folder: RunFolder, schema: RowSchema) -> None:
        self.config, self.folder, self.schema = config, folder, schema
        self.store = open_store(config, folder)
        tags = {
            "mlflow.source.name": "qnn sweep",
            "mlflow.source.type": "LOCAL",
            "qnn.kind": str(config.kind),
        }
        self.run_id = take_up_run(self.store, folder, config.name, tags)

    @property
    def command(self) -> str:
        """The command that opens the MLflow UI on this run's store."""
        return self.store.command(self.run_id)

    def end(self, status: str) -> None:
        """Mark the run as "KILLED" or "FAILED" (or "FINISHED")."""
        self.store.client.set_terminated(self.run_id, status=status)

    def finish(self, results: pa.Table, choice: Any, champion: str | None) -> None:
        """Log everything once and end the run; what was logged before is left alone."""
        try:
            mark = self._digest(results)
            run = TrackedRun(self.store.client, self.store.client.get_run(self.run_id))
            if run.tags.get(_DONE) != mark:
                self.log(run, results)
                run.log(tags={_DONE: mark})
            self.end("FINISHED")
        except Exception:
            with contextlib.suppress(Exception):
                self.end("FAILED")
            raise

    @abstractmethod
    def log(self, run: TrackedRun, results: pa.Table) -> None:
        """Log parameters, metrics and artifacts of the finished results."""

    def copy(self, work: Path, names: Iterable[str]) -> None:
        """Put files of the run's folder, those that are there, under `work`."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                content = self.folder.read(name)
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes(content)

    def _digest(self, results: pa.Table) -> str:
        """Digest of all that is logged, timings aside."""
        columns = [name for name in results.schema.names if name not in self.schema.timings]
        return hashlib.sha256(repr(results.select(columns).to_pylist()).encode()).hexdigest()
