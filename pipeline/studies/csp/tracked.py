"""A study of CSPs in MLflow: one run with its figure, its rows and its certificates."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.reports.figures.drawing import to_png
from pipeline.reports.page import REPORT_FILE
from pipeline.results.folder import CERTIFICATES, CONFIG_FILE, RunFolder
from pipeline.studies.csp.config import CspConfig
from pipeline.studies.csp.figures import rounds_figure
from pipeline.studies.csp.page import Row, finished, solved
from pipeline.studies.csp.rows import ROWS
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.store import Store, open_store, take_up_run
from pipeline.tracking.text import parameters

_DONE = "qnn.logged"
# Certificates that go with the run; all are in its folder.
MOST_CERTIFICATES = 100


def start(config: CspConfig, folder: RunFolder) -> CspTracker:
    """Open the store and take up the folder's run, or make it. Raises what MLflow raises."""
    store = open_store(config, folder)  # type: ignore[arg-type]
    tags = {"mlflow.source.name": "qnn sweep", "mlflow.source.type": "LOCAL", "qnn.kind": "csp"}
    return CspTracker(config, folder, store, take_up_run(store, folder, config.name, tags))


class CspTracker:
    """The study's run in MLflow."""

    def __init__(self, config: CspConfig, folder: RunFolder, store: Store, run_id: str) -> None:
        self.config, self.folder, self.store, self.run_id = config, folder, store, run_id

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
            mark = _digest(results)
            run = TrackedRun(self.store.client, self.store.client.get_run(self.run_id))
            if run.tags.get(_DONE) != mark:
                self._log(run, results)
                run.log(tags={_DONE: mark})
            self.end("FINISHED")
        except Exception:
            with contextlib.suppress(Exception):
                self.end("FAILED")
            raise

    def _log(self, run: TrackedRun, results: pa.Table) -> None:
        rows = finished(results)
        figures = metrics(rows) | {"solves_failed": float(results.num_rows - len(rows))}
        run.log(
            parameters=parameters(self.config),  # type: ignore[arg-type]
            points=[(name, value, 0) for name, value in figures.items()],
        )
        with tempfile.TemporaryDirectory(prefix="qnn-mlflow-") as place:
            work = Path(place)
            (work / "figures").mkdir()
            (work / "results").mkdir()
            pq.write_table(results, work / "results" / "results.parquet")
            (work / "figures" / "rounds.png").write_bytes(to_png(rounds_figure(rows)))
            certificates = self.folder.files(CERTIFICATES, ".npz")[:MOST_CERTIFICATES]
            self._copy(work, [CONFIG_FILE, REPORT_FILE, *certificates])
            self.store.client.log_artifacts(self.run_id, str(work))

    def _copy(self, work: Path, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                content = self.folder.read(name)
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes(content)


def metrics(rows: list[Row]) -> dict[str, float]:
    """Counts, the largest gap, and of each number of rounds the mean gap."""
    figures = {"solves_done": float(len(rows)), "instances_solved": float(solved(rows))}
    if rows:
        figures["worst_gap"] = max(row["gap"] for row in rows)
    for rounds in sorted({row["rounds"] for row in rows}):
        gaps = [row["gap"] for row in rows if row["rounds"] == rounds]
        figures[f"rounds_{rounds}/mean_gap"] = sum(gaps) / len(gaps)
    return figures


def _digest(results: pa.Table) -> str:
    """Digest of all that is logged, timings aside."""
    columns = [name for name in results.schema.names if name not in ROWS.timings]
    return hashlib.sha256(repr(results.select(columns).to_pylist()).encode()).hexdigest()
