"""A finished run in a temporary folder, and MLflow's view of it."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.configuration.reading import SweepConfig
from pipeline.results.folder import RunFolder
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.tracking.store import Store, open_store, pointed_at, quiet


def run_small(config: SweepConfig, out: Path) -> RunFolder:
    """Compute the sweep in this process, without Ray and without tracking."""
    run_sweep(config, str(out), SweepOptions(inline=True))
    return RunFolder.open(out)


def runs_of(store: Store, role: str) -> list[Any]:
    """The live runs of one role, oldest first."""
    found = store.client.search_runs(
        [store.experiment_id],
        filter_string=f"tags.`qnn.role` = '{role}'",
        order_by=["attributes.start_time ASC"],
    )
    return list(found)


def artifacts_of(store: Store, run_id: str) -> set[str]:
    """All artifact paths of a run."""
    found: set[str] = set()
    folders = [""]
    with pointed_at(store):
        while folders:
            entries = store.client.list_artifacts(run_id, folders.pop())
            folders += [entry.path for entry in entries if entry.is_dir]
            found |= {entry.path for entry in entries if not entry.is_dir}
    return found


@cache
def _empty_database() -> bytes:
    """A migrated SQLite store: making one takes seconds, so the tests copy it."""
    quiet()
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


def new_folder(where: Path) -> RunFolder:
    """A run's folder with an empty embedded store in it."""
    folder = RunFolder.open(where)
    folder.create()
    folder.write("mlflow.db", _empty_database())
    return folder


__all__ = ["artifacts_of", "new_folder", "open_store", "run_small", "runs_of"]
