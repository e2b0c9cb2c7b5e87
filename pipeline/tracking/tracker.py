"""MLflow, written by the driver alone: one run a sweep, child runs for the best, one champion.

Runs are few (MLflow writes some 5 to 20 a second), so the trials themselves are a table. All is
written at the end from the result table and can be written again: whatever is there already is
found by its tag and not doubled.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.configuration.reading import SweepConfig
from pipeline.reports.certificate import render_certificate, render_outputs
from pipeline.reports.figures import plots
from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import REPORT_FILE
from pipeline.reports.page import collect, render_report
from pipeline.results import summary
from pipeline.results.fitness import reasons_against_choice
from pipeline.results.folder import RunFolder
from pipeline.results.parts import parts_of
from pipeline.results.record import RESULTS_SCHEMA, TIMING_COLUMNS, NetworkRow
from pipeline.results.selection import Choice
from pipeline.results.summary import Shown
from pipeline.tracking import text
from pipeline.tracking.aliases import CHAMPION, promote
from pipeline.tracking.model import log_network
from pipeline.tracking.run import Point, TrackedRun
from pipeline.tracking.store import (
    SWEEP_TAG,
    Store,
    active_run,
    open_store,
    pointed_at,
    sweep_key,
    take_up_run,
)
from qnn.certificates.record import Certificate

CERTIFICATE_PAGE = "certificate.html"
# Rows of the table that the UI shows; the Parquet file beside it has all.
TABLE_ROWS = 1000
# What a reviewer compares comes first: the UI shows some five columns without scrolling.
_AXES = ("beta_fraction", "width", "rounding", "shard", "seed")
_REST = ("neurons", "upper_bound", "lower_bound", "beta", "trial", "seconds", "status", "error")
_DONE, _TRIAL, _MODEL, _ROLE = "qnn.logged", "qnn.trial", "qnn.model_id", "qnn.role"


def start(
    config: SweepConfig, folder: RunFolder, home: RunFolder | None = None, crown: bool = True
) -> SweepTracker:
    """Open the store and take up the folder's run, or make it.

    `home` is the folder of the embedded store (default: `folder`); `crown` False registers the
    chosen network without giving it the alias of the champion. Raises InputError for a store that
    cannot be meant, and what MLflow raises where it is away.
    """
    store = open_store(config, home or folder)
    run_id = take_up_run(store, folder, config.name, text.sweep_tags(config))
    return SweepTracker(config, folder, store, run_id, crown)


class SweepTracker:
    """A sweep's run in MLflow."""

    def __init__(
        self,
        config: SweepConfig,
        folder: RunFolder,
        store: Store,
        run_id: str,
        crown: bool = True,
    ) -> None:
        self.config, self.folder, self.store, self.run_id = config, folder, store, run_id
        self.crown = crown
        self.results = RESULTS_SCHEMA.empty_table()
        self.cautions: list[str] = []
        self.key = sweep_key(folder)
        self._begin = time.monotonic()

    @property
    def command(self) -> str:
        """The command that opens the MLflow UI on this run's store."""
        return self.store.command(self.run_id)

    def end(self, status: str) -> None:
        """Mark the run as "KILLED" or "FAILED" (or "FINISHED")."""
        self.store.client.set_terminated(self.run_id, status=status)

    def finish(self, results: pa.Table, choice: Choice | None, champion: str | None) -> None:
        """Log everything from the result table and end the run.

        `champion`: trial id of the chosen network. A table that was logged before is not logged
        again. Raises what MLflow raises; the run is then marked FAILED if that still works.
        """
        try:
            mark = _digest(results, champion, self.config)
            run = TrackedRun(self.store.client, self.store.client.get_run(self.run_id))
            if run.tags.get(_DONE) != mark:
                self._log(run, results, choice, champion)
                spent = time.monotonic() - self._begin
                run.log(points=[("wall_seconds", spent, 0)], tags={_DONE: mark})
            self.end("FINISHED")
        except Exception:
            with contextlib.suppress(Exception):
                self.end("FAILED")
            raise

    def _log(
        self, run: TrackedRun, results: pa.Table, choice: Choice | None, champion: str | None
    ) -> None:
        self.results = results
        data = summary.frame(results)
        row = summary.champion_of(data, champion)
        self.cautions = reasons_against_choice(results, choice, None if row is None else row.row)
        figures = _points(text.sweep_metrics(data, row, choice))
        run.log(
            parameters=text.parameters(self.config), points=[*figures, *text.path_metrics(data)]
        )
        if row is not None and not run.has_data:
            self._log_data(row.row)
        with tempfile.TemporaryDirectory(prefix="qnn-mlflow-") as work:
            self._log_sweep_files(Path(work) / "sweep", results, data, champion)
            self._log_networks(Path(work), data, row)
        tags = {
            "mlflow.loggedArtifacts": '[{"path": "results/table.json", "type": "table"}]',
            "mlflow.note.content": text.sweep_description(
                self.config, data, row, self.folder.label
            ),
        }
        versions = results["versions"].drop_null()
        if len(versions):
            tags["qnn.versions"] = versions[0].as_py()
        run.log(tags=tags)

    def _log_sweep_files(
        self, work: Path, results: pa.Table, data: pd.DataFrame, champion: str | None
    ) -> None:
        (work / "results").mkdir(parents=True)
        (work / "figures").mkdir()
        pq.write_table(results.replace_schema_metadata(), work / "results" / "results.parquet")
        shown = _shown_rows(data)
        (work / "results" / "table.json").write_text(shown.to_json(orient="split", index=False))
        for kind in plots.FIGURES:
            (work / "figures" / f"{kind.name}.png").write_bytes(to_png(kind.draw(results)))
        (work / REPORT_FILE).write_bytes(self._report(champion))
        (work / "sweep.yaml").write_text(text.config_text(self.config), encoding="utf-8")
        self.store.client.log_artifacts(self.run_id, str(work))

    def _report(self, champion: str | None) -> bytes:
        """The report that the driver has just written; made here where it could not."""
        try:
            return self.folder.read(REPORT_FILE)
        except FileNotFoundError:
            return render_report(collect(self.folder, champion)).encode()

    def _log_data(self, row: NetworkRow) -> None:
        """The training matrix of the chosen network, with the digest that its certificate names."""
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        # Those of several outputs speak of one matrix; the first has the digest with its target.
        name = row.bounds.files[0]
        certificate = Certificate.from_bytes(self.folder.read(name), name)
        source = CodeDatasetSource(
            tags={
                "mlflow.source.name": text.sweep_tags(self.config)["dataset"],
                "training_matrix": certificate.data,
                "sha256": certificate.data_sha256,
            }
        )
        # The store keeps 36 characters of a digest.
        dataset = MetaDataset(
            source, name=row.identity.dataset, digest=certificate.data_sha256[:32]
        )
        given = DatasetInput(
            dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "train")]
        )
        self.store.client.log_inputs(self.run_id, datasets=[given])

    def _log_networks(self, work: Path, data: pd.DataFrame, champion: Shown | None) -> None:
        """Child runs of the champion and of the best settings; those of earlier choices go."""
        wanted: dict[str, tuple[Shown, str]] = {}
        if champion is not None:
            wanted[champion.row.identity.trial] = (champion, CHAMPION)
        for record in summary.best_networks(data, self.config.tracking.top).to_dict("records"):
            shown = Shown.of({str(name): value for name, value in record.items()})
            wanted.setdefault(shown.row.identity.trial, (shown, "top"))
        present = self._children()
        for trial in set(present) - set(wanted):
            self.store.client.delete_run(present[trial].run_id)
        metric = summary.metric_of(data)
        for trial, (row, role) in wanted.items():
            run = present.get(trial) or self._new_child(row, role)
            if run.tags.get(_DONE) != "true" or run.tags.get(_ROLE) != role:
                self._log_network(work / trial, run, row, role, metric)
            if role == CHAMPION:
                self._register(run, row, metric)

    def _children(self) -> dict[str, TrackedRun]:
        """The child runs by trial."""
        found: dict[str, TrackedRun] = {}
        token = None
        while True:
            page = self.store.client.search_runs(
                [self.store.experiment_id],
                filter_string=f"tags.`{SWEEP_TAG}` = '{self.key}' and tags.`{_ROLE}` != 'sweep'",
                page_token=token,
            )
            found |= {run.data.tags[_TRIAL]: TrackedRun(self.store.client, run) for run in page}
            token = page.token
            if not token:
                return found

    def _new_child(self, row: Shown, role: str) -> TrackedRun:
        tags = {
            "mlflow.parentRunId": self.run_id,
            "mlflow.source.name": "qnn sweep",
            SWEEP_TAG: self.key,
            _TRIAL: row.row.identity.trial,
            _ROLE: role,
        }
        run = self.store.client.create_run(
            self.store.experiment_id, run_name=text.network_name(row, role), tags=tags
        )
        return TrackedRun(self.store.client, run)

    def _log_network(
        self,
        work: Path,
        run: TrackedRun,
        shown: Shown,
        role: str,
        metric: summary.Metric,
    ) -> None:
        row = shown.row
        file = str(row.fit.network)
        network = self.folder.read(file)
        files = work / "files"
        for place in ("network", "certificate"):
            (files / place).mkdir(parents=True)
        network_file = files / "network" / os.path.basename(file)
        network_file.write_bytes(network)
        self._write_certificates(files / "certificate", row, network)
        self.store.client.log_artifacts(run.run_id, str(files))
        model = run.tags.get(_MODEL)
        if model is None:
            # Before the metrics: MLflow copies a run's to its model, reading each one's history.
            with active_run(self.store, run.run_id):
                model = log_network(
                    network_file,
                    "network",
                    tags={_TRIAL: row.identity.trial, _ROLE: role},
                    work=work / "code",
                )
            run.log(tags={_MODEL: model})
        run.log(
            parameters=text.network_parameters(row),
            points=[*_points(text.network_metrics(row)), *text.bound_points(row)],
            tags={
                "mlflow.note.content": text.network_description(shown, metric, role),
                "mlflow.runName": text.network_name(shown, role),
                _ROLE: role,
                _DONE: "true",
            },
            model=model,
        )
        self.store.client.set_terminated(run.run_id)

    def _write_certificates(self, place: Path, row: NetworkRow, network: bytes) -> None:
        """Each certificate with its page; for several outputs also the page of their sum."""
        parts = parts_of(self.results, row)
        for one in parts or [row]:
            name = str(one.bounds.certificate)
            content = self.folder.read(name)
            (place / os.path.basename(name)).write_bytes(content)
            own = self.folder.read(str(one.fit.network)) if parts else network
            page = f"output-{one.identity.output}.html" if parts else CERTIFICATE_PAGE
            (place / page).write_text(render_certificate(one, content, own), encoding="utf-8")
        if parts:
            page = render_outputs(row, parts, network)
            (place / CERTIFICATE_PAGE).write_text(page, encoding="utf-8")

    def _register(self, run: TrackedRun, shown: Shown, metric: summary.Metric) -> None:
        """The champion as a version of the registered model; where asked, with the alias on it.

        Not where something speaks against its use.
        """
        from mlflow.exceptions import MlflowException

        client, name = self.store.client, self.config.registered_model
        model = run.tags[_MODEL]
        try:
            client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_registered_model(name, description=(
                "Quantized networks with a proven bound on how far from optimal they can be. The "
                f"alias `{CHAMPION}` is on the one to use."))  # fmt: skip
        page = f"#/experiments/{self.store.experiment_id}/runs/{run.run_id}"
        version = self._version(name, run.run_id)
        if version is None:
            # Only by the global URI does MLflow find the logged model that the source names.
            with pointed_at(self.store):
                made = client.create_model_version(
                    name,
                    source=f"models:/{model}",
                    run_id=run.run_id,
                    model_id=model,
                    description=text.version_description(shown, metric, page, self.cautions),
                    tags={
                        **({"qnn.not_promoted": "; ".join(self.cautions)} if self.cautions else {}),
                        "run": page,
                        "certificate": f"{page}/artifacts/certificate/{CERTIFICATE_PAGE}",
                        "certified_gap": summary.percent(shown.row.fit.gap),
                        _TRIAL: shown.row.identity.trial,
                        SWEEP_TAG: self.key,
                    },
                )
            version = made.version
        if self.crown and not self.cautions:
            promote(client, name, version)

    def _version(self, name: str, run_id: str) -> str | None:
        escaped = name.replace("'", "")
        versions = self.store.client.search_model_versions(f"name = '{escaped}'")
        return next((v.version for v in versions if v.run_id == run_id), None)


def _points(values: Mapping[str, float]) -> list[Point]:
    """Numbers that are told once."""
    return [(key, value, 0) for key, value in values.items()]


def _shown_rows(data: pd.DataFrame) -> pd.DataFrame:
    """The rows of the UI's table: best first, failures last."""
    metric = summary.metric_of(data)
    validation = metric.column("validation")
    kind = ["problem"] if len(summary.problems(data)) > 1 else []
    columns = [validation, metric.column("test"), "gap", "bytes", *kind, *_AXES, *_REST]
    ordered = data.sort_values(
        ["status", validation, "gap"],
        ascending=[False, not metric.higher_is_better, True],
        kind="stable",
    )
    return ordered[columns].head(TABLE_ROWS).map(_rounded)


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value


def _digest(results: pa.Table, champion: str | None, config: SweepConfig) -> str:
    """Digest of all that is logged, timings aside."""
    columns = [name for name in results.schema.names if name not in TIMING_COLUMNS]
    rows = results.select(columns).to_pylist()
    content = repr((rows, champion, config.tracking.top, config.registered_model))
    return hashlib.sha256(content.encode()).hexdigest()
