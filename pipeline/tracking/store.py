"""Where MLflow keeps a sweep: which store, which experiment, and the one run of a run's folder."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import re
import shlex
import sqlite3
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.configuration.paths import URI_VARIABLE
from pipeline.configuration.reading import SweepConfig
from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from pipeline.results.folder import RunFolder, StoreError
from pipeline.tracking.moved import DATABASE, TRACKING_FILE, database_uri, follow_move
from pipeline.tracking.run import TrackedRun
from qnn.errors import InputError, QnnError

SWEEP_TAG, TRIAL_TAG = "qnn.sweep", "qnn.trial"

log = logging.getLogger(__name__)

# Set only where the user has not: no reports home, no git, no banners, and a server that is away is
# noticed in seconds (the default is seven retries with growing pauses).
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_EXPERIMENT_NOTE = (
    "Sweeps of quantized networks, a run each, newest first. A sweep's run has the figures, the "
    "table of its networks and `report.html`; its child runs are the best networks, each with a "
    "certificate of how far from optimal it can be.\n\n[The sweeps with their key figures as "
    "columns](#/experiments/{id}/runs?viewStateShareKey=qnn)"
)
# A shared view of MLflow's list of runs: what the link above opens.
_VIEW_TAG = "mlflow.sharedViewState.qnn"
_METRICS = (
    *("champion_test_accuracy", "champion_test_rmse", "champion_gap", "champion_bytes"),
    *("trials_done", "trials_failed"),
)
_TAGS = ("qnn.verdict", "drift")
_VIEW = {
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "selectedColumns": [
        "attributes.`Created`",
        *(f"metrics.`{name}`" for name in _METRICS),
        *(f"tags.`{name}`" for name in _TAGS),
    ],
}
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_CHATTER = ("alembic", "mlflow", "mlflow.store.db.utils", "mlflow.pyfunc")


@dataclass(frozen=True)
class Store:
    """An MLflow store and the experiment in it. `embedded`: the SQLite file of the run's folder."""

    client: Any
    uri: str
    experiment_id: str
    embedded: bool

    def command(self, run_id: str) -> str:
        """The command that opens the UI on this store, or the address of the run on a server."""
        if self.uri.startswith(("http://", "https://")):
            page = f"#/experiments/{self.experiment_id}/runs/{run_id}"
            return f"open {redact(self.uri.rstrip('/'))}/{page}"
        return f"mlflow ui --backend-store-uri {shlex.quote(redact(self.uri))}"


def tracking_uri(config: SweepConfig, folder: RunFolder) -> str:
    """The config's URI, else MLFLOW_TRACKING_URI, else a SQLite file in the run's folder.

    Raises:
        InputError: none of the first two, and the folder is not on this machine.
    """
    given = config.tracking.uri or os.environ.get(URI_VARIABLE)
    if given:
        return given
    if folder.local_path is None:
        raise InputError(
            f"{folder.label}: is not on this machine, so MLflow's database cannot lie in it; set "
            f"tracking.uri or {URI_VARIABLE}"
        )
    return database_uri(folder.local_path)


def open_store(config: SweepConfig, folder: RunFolder) -> Store:
    """Connect, and find or make the experiment. What MLflow raises is left to the caller."""
    uri = tracking_uri(config, folder)
    embedded = not (config.tracking.uri or os.environ.get(URI_VARIABLE))
    if embedded:
        set_aside_damaged(folder)
        if (moved := follow_move(folder)) is not None:
            log.warning(moved)
        if _ESCAPE.search(str(folder.local_path)):
            log.warning(
                "%s: MLflow reads %% and two digits in a folder's name as a character, so its "
                "`load_model` will not find the models; rename the folder",
                folder.label,
            )
    quiet()
    from mlflow import MlflowClient
    from mlflow.entities import LifecycleStage

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(config.experiment)
    if found is None:
        place = f"{folder.local_path}/mlartifacts"
        identifier = client.create_experiment(
            config.experiment,
            artifact_location=Path(place).as_uri() if embedded else None,
            # Without a kind the UI asks every visitor what the experiment is about.
            tags={
                "mlflow.experimentKind": "custom_model_development",
                _VIEW_TAG: json.dumps(_VIEW),
            },
        )
        note = _EXPERIMENT_NOTE.format(id=identifier)
        client.set_experiment_tag(identifier, "mlflow.note.content", note)
        return Store(client, uri, identifier, embedded)
    if found.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InputError(
            f"tracking: the experiment '{config.experiment}' was deleted; restore it with `mlflow "
            f"experiments restore -x {found.experiment_id}` or set tracking.experiment"
        )
    return Store(client, uri, found.experiment_id, embedded)


def set_aside_damaged(folder: RunFolder) -> None:
    """Quarantine an embedded database that SQLite cannot read, so that a new one is made.

    A database that is only busy stays. Everything in it is logged again from the run's files.
    """
    file = f"{folder.local_path}/{DATABASE}"
    if not os.path.exists(file):
        return
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(file).as_uri()}?mode=ro", uri=True)) as db:
            (reason,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        log.warning("%s: cannot be checked: %s", file, error)
        return
    except sqlite3.DatabaseError as error:
        reason = str(error)
    if reason == "ok":
        return
    for name in (DATABASE, *(f"{DATABASE}-{part}" for part in ("wal", "shm", "journal"))):
        if folder.exists(name):
            folder.quarantine(name, one_line(reason))


def take_up_run(store: Store, folder: RunFolder, name: str, tags: dict[str, str]) -> str:
    """The id of the folder's one run, marked RUNNING: the one of earlier, or a new one.

    The folder's key is written before the run is made and stands in the run's tags, so that a
    driver killed in between does not leave a run that nobody finds again.
    """
    record = _read_record(folder)
    key = record.get("key") or uuid.uuid4().hex
    if "key" not in record:
        _write_record(folder, {"key": key})
    run = _find(store, key)
    if run is None:
        run = store.client.create_run(
            store.experiment_id, run_name=name, tags={**tags, SWEEP_TAG: key, "qnn.role": "sweep"}
        )
    else:
        store.client.update_run(run.info.run_id, status="RUNNING")
        TrackedRun(store.client, run).log(tags=tags)
    run_id = str(run.info.run_id)
    current = {
        "key": key,
        "run_id": run_id,
        "experiment_id": store.experiment_id,
        "uri": redact(store.uri),
    }
    if current != record:
        _write_record(folder, current)
    return run_id


def sweep_key(folder: RunFolder) -> str:
    """The key under which the folder's runs are tagged."""
    return str(_read_record(folder)["key"])


def recorded_key(folder: RunFolder) -> str | None:
    """The same, None for a folder that was never tracked."""
    return _read_record(folder).get("key")


@contextmanager
def said_in_a_line(uri: str) -> Iterator[None]:
    """A block in which faults of MLflow, its database or files are a `StoreError` of one line."""
    quiet()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except QnnError:
        raise
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise StoreError(f"MLflow: {redact(uri)}: {redact(one_line(error))}") from error


@contextmanager
def pointed_at(store: Store) -> Iterator[None]:
    """MLflow's global URI set to the store, and put back: some calls use nothing else."""
    import mlflow

    before = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(store.uri)
    try:
        yield
    finally:
        # set_tracking_uri also sets the variable, which would decide where the next sweep goes.
        mlflow.set_tracking_uri(None)
        if before is None:
            os.environ.pop(URI_VARIABLE, None)
        else:
            os.environ[URI_VARIABLE] = before


@contextmanager
def active_run(store: Store, run_id: str) -> Iterator[None]:
    """A run of the store as MLflow's active one; its warnings to model authors are left out."""
    import mlflow

    with pointed_at(store), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mlflow.start_run(run_id=run_id):
            yield


def quiet() -> None:
    """Import MLflow without telemetry, git, banners, or a line for each migration."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow sets its log levels as it is imported, so they are changed after that.
    importlib.import_module("mlflow")
    for name in _CHATTER:
        logging.getLogger(name).setLevel(logging.WARNING)


def find_run(store: Store, key: str) -> str | None:
    """The id of the run of the sweep with this key; None where there is none."""
    run = _find(store, key)
    return None if run is None else str(run.info.run_id)


def _find(store: Store, key: str) -> Any:
    found = store.client.search_runs(
        [store.experiment_id],
        filter_string=f"tags.`{SWEEP_TAG}` = '{key}' and tags.`qnn.role` = 'sweep'",
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return found[0] if found else None


def _read_record(folder: RunFolder) -> dict[str, Any]:
    try:
        record = json.loads(folder.read(TRACKING_FILE))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(folder: RunFolder, record: dict[str, Any]) -> None:
    folder.write(TRACKING_FILE, json.dumps(record, indent=2).encode())
