"""Child runs of a sweep's run in MLflow: the champion and the best network of each best setting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from pipeline.reports.certificate import render_certificate, render_outputs
from pipeline.results import summary
from pipeline.results.folder import RunFolder
from pipeline.results.parts import parts_of
from pipeline.results.record import NetworkRow
from pipeline.results.summary import Shown
from pipeline.tracking import text
from pipeline.tracking.aliases import CHAMPION
from pipeline.tracking.model import log_network
from pipeline.tracking.run import Point, TrackedRun
from pipeline.tracking.store import SWEEP_TAG, TRIAL_TAG, Store, active_run
from pipeline.tracking.versions import CERTIFICATE_PAGE, MODEL_TAG

_DONE, _ROLE = "qnn.logged", "qnn.role"


@dataclass(frozen=True)
class NetworkRuns:
    """The child runs of the run `parent`; `sweep` is the key of the sweep, which all have as a tag.

    `results`: all rows, those of the outputs of a joined network too.
    """

    store: Store
    folder: RunFolder
    parent: str
    sweep: str
    results: pa.Table

    def log(
        self, work: Path, data: pd.DataFrame, champion: Shown | None, top: int
    ) -> TrackedRun | None:
        """Log the champion and the best of the `top` settings; return the champion's run.

        The runs of earlier choices go. `data` is the frame of the results.
        """
        wanted: dict[str, tuple[Shown, str]] = {}
        if champion is not None:
            wanted[champion.row.identity.trial] = (champion, CHAMPION)
        for shown in summary.best_shown(data, top):
            wanted.setdefault(shown.row.identity.trial, (shown, "top"))
        present = self._present()
        for trial in set(present) - set(wanted):
            self.store.client.delete_run(present[trial].run_id)
        metric, crowned = summary.metric_of(data), None
        for trial, (shown, role) in wanted.items():
            run = present.get(trial) or self._new(shown, role)
            if run.tags.get(_DONE) != "true" or run.tags.get(_ROLE) != role:
                self._log_one(work / trial, run, shown, role, metric)
            crowned = run if role == CHAMPION else crowned
        return crowned

    def _present(self) -> dict[str, TrackedRun]:
        """Those that are there, by trial."""
        found: dict[str, TrackedRun] = {}
        token = None
        while True:
            page = self.store.client.search_runs(
                [self.store.experiment_id],
                filter_string=f"tags.`{SWEEP_TAG}` = '{self.sweep}' and tags.`{_ROLE}` != 'sweep'",
                page_token=token,
            )
            found |= {run.data.tags[TRIAL_TAG]: TrackedRun(self.store.client, run) for run in page}
            token = page.token
            if not token:
                return found

    def _new(self, shown: Shown, role: str) -> TrackedRun:
        tags = {
            "mlflow.parentRunId": self.parent,
            "mlflow.source.name": "qnn sweep",
            SWEEP_TAG: self.sweep,
            TRIAL_TAG: shown.row.identity.trial,
            _ROLE: role,
        }
        run = self.store.client.create_run(
            self.store.experiment_id, run_name=text.network_name(shown, role), tags=tags
        )
        return TrackedRun(self.store.client, run)

    def _log_one(
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
        model = run.tags.get(MODEL_TAG)
        if model is None:
            # Before the metrics: MLflow copies a run's to its model, reading each one's history.
            with active_run(self.store, run.run_id):
                model = log_network(
                    network_file,
                    "network",
                    tags={TRIAL_TAG: row.identity.trial, _ROLE: role},
                    work=work / "code",
                )
            run.log(tags={MODEL_TAG: model})
        run.log(
            parameters=text.network_parameters(row),
            points=[*points_of(text.network_metrics(row)), *text.bound_points(row)],
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


def points_of(values: Mapping[str, float]) -> list[Point]:
    """Numbers that are told once."""
    return [(key, value, 0) for key, value in values.items()]
