"""The networks that are compared: the registered champion's file, and the challenger's version."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.results.folder import RunFolder, StoreError
from pipeline.retraining.state import State
from pipeline.tracking.aliases import CHAMPION, aliases, finish_interrupted
from pipeline.tracking.store import SWEEP_TAG, TRIAL_TAG, Store, pointed_at
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """The network in use; `version` of the registered model, None where MLflow forgot it."""

    network: QuantizedNetwork
    version: str | None

    @property
    def text(self) -> str:
        """How a message names it."""
        return "the last run's network" if self.version is None else f"version {self.version}"


def find_champion(store: Store, name: str, home: RunFolder, state: State | None) -> Champion | None:
    """The champion of a registered model, None before the first.

    Where the registry has none, but the last runs promoted one (a lost database), its file in
    their folder is taken. Raises `InputError` where there must be one and its file is gone.
    """
    version = champion_version(store.client, name)
    if version is not None:
        return Champion(_from_registry(store, name, version), version)
    if state is None or state.champion is None:
        return None
    log.warning(
        "MLflow has no champion of '%s', but the last runs promoted version %s: compared with its "
        "file",
        name,
        state.champion.version,
    )
    file = f"{state.champion.run}/{state.champion.network}"
    try:
        content = home.read(file)
    except FileNotFoundError:
        raise InputError(
            f"{home.label}/{file}: the champion is neither in MLflow nor here, so nothing can be "
            "compared with it; restore one, or set tracking.registered_model to start anew"
        ) from None
    return Champion(QuantizedNetwork.from_bytes(content, file), None)


def champion_version(client: Any, name: str) -> str | None:
    """The version that the alias is on, interrupted moves finished; None without one."""
    from mlflow.exceptions import MlflowException

    try:
        finish_interrupted(client, name)
        return aliases(client, name).get(CHAMPION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _from_registry(store: Store, name: str, version: str) -> QuantizedNetwork:
    """The network file beside a version's run: read as an archive of arrays, nothing unpickled."""
    run_id = store.client.get_model_version(name, version).run_id
    with pointed_at(store), tempfile.TemporaryDirectory(prefix="qnn-champion-") as work:
        found = [
            entry.path
            for entry in store.client.list_artifacts(run_id, "network")
            if entry.path.endswith(".npz")
        ]
        if not found:
            raise InputError(
                f"model '{name}', version {version}: its run has no network file to compare with; "
                f"put the alias {CHAMPION} on a version that a sweep registered"
            )
        local = store.client.download_artifacts(run_id, found[0], work)
        return QuantizedNetwork.from_bytes(Path(local).read_bytes(), found[0])


def registered_version(store: Store, name: str, key: str, trial: str) -> Any:
    """The version that the sweep with this key registered. Raises `StoreError` without one."""
    escaped = name.replace("'", "")
    for version in store.client.search_model_versions(f"name = '{escaped}'"):
        if version.tags.get(SWEEP_TAG) == key and version.tags.get(TRIAL_TAG) == trial:
            return version
    raise StoreError(f"model '{name}': the new network was not registered; run it again")
