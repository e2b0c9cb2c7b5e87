"""The networks that are compared: the registered champion's file, and the challenger's version."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.examples import classes_of, place_of
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.ledger import read_results
from pipeline.retraining.partitions import beside
from pipeline.retraining.retention import RUNS
from pipeline.retraining.state import STATE_FILE, ChampionFiles, State
from pipeline.tracking.aliases import CHAMPION, aliases, finish_interrupted, is_there
from pipeline.tracking.store import SWEEP_TAG, TRIAL_TAG, Store, pointed_at, recorded_key
from pipeline.tracking.versions import version_of_sweep
from qnn.errors import InputError
from qnn.features.tables import brief, shorten
from qnn.features.targets import Label
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

    def predict(
        self, rows: dict[str, np.ndarray], target: np.ndarray, classes: Sequence[Label] | None
    ) -> np.ndarray:
        """What it says of rows with the target (n,) or (n, C), in the labels of their table.

        `classes`: those of the network that it is compared with, None in a regression. A label of
        the champion is the table's that says the same: 1, 1.0 and "1" are one. Raises `InputError`
        where it cannot read the rows, or knows none of the labels.
        """
        predicted = self.network.predict(rows)
        if predicted.shape != target.shape:
            told = "one target" if predicted.ndim == 1 else f"{predicted.shape[1]} targets"
            raise InputError(f"it predicts {told}")
        if classes is None:
            prepared = self.network.preprocessing
            if prepared is not None and prepared.classes is not None:
                raise InputError("it predicts labels, no numbers")
            return predicted
        own, spelt = classes_of(self.network), dict[Label, Label]()
        labels = dict.fromkeys([*classes, *target.tolist()])
        for label in labels:
            if (place := place_of(label, own)) is not None:
                spelt.setdefault(own[place], label)
        if not spelt:
            raise InputError(
                f"it knows the labels {listed(own)}, and the rows have {listed(labels)}"
            )
        return np.array([spelt.get(one, one) for one in predicted.tolist()], dtype=object)


def listed(labels: Iterable[Label]) -> str:
    """Labels on one line."""
    return shorten(map(brief, labels), 5)


def find_champion(store: Store, name: str, home: RunFolder, state: State | None) -> Champion | None:
    """The champion of a registered model, None before the first.

    Where the registry has none, but the last runs promoted one under this name (a lost database),
    its file in their folder is taken. Raises `InputError` where there must be one and its file is
    gone.
    """
    version = champion_version(store.client, name)
    if version is not None:
        return Champion(_from_registry(store, name, version), version)
    last = None if state is None else state.champion_of(name)
    if last is None:
        return None
    log.warning(
        "MLflow has no champion of '%s', but the last runs promoted version %s: compared with its "
        "file",
        name,
        last.version,
    )
    file = f"{last.run}/{last.network}"
    try:
        content = home.read(file)
    except FileNotFoundError:
        raise InputError(
            f"{home.label}/{file}: the champion is neither in MLflow nor here, so nothing can be "
            "compared with it; restore one, or set tracking.registered_model (or move "
            f"{STATE_FILE} away) to start anew"
        ) from None
    return Champion(QuantizedNetwork.from_bytes(content, file), None)


def champion_version(client: Any, name: str) -> str | None:
    """The version that the alias is on, interrupted moves finished; None without one."""
    if not is_there(client.get_registered_model, name):
        return None
    finish_interrupted(client, name)
    return aliases(client, name).get(CHAMPION)


def _from_registry(store: Store, name: str, version: str) -> QuantizedNetwork:
    """The network file beside a version's run: read as an archive of arrays, nothing unpickled."""
    run_id = store.client.get_model_version(name, version).run_id
    if not run_id:
        raise InputError(_no_file(name, version))
    with pointed_at(store), tempfile.TemporaryDirectory(prefix="qnn-champion-") as work:
        found = [
            entry.path
            for entry in store.client.list_artifacts(run_id, "network")
            if entry.path.endswith(".npz")
        ]
        if not found:
            raise InputError(_no_file(name, version))
        local = store.client.download_artifacts(run_id, found[0], work)
        return QuantizedNetwork.from_bytes(Path(local).read_bytes(), found[0])


def _no_file(name: str, version: str) -> str:
    return (
        f"model '{name}', version {version}: its run has no network file to compare with; put the "
        f"alias {CHAMPION} on a version that a sweep registered"
    )


def registered_version(store: Store, name: str, key: str, trial: str) -> Any:
    """The version that the sweep with this key registered. Raises `StoreError` without one."""
    version = version_of_sweep(store.client, name, key, trial)
    if version is None:
        raise StoreError(f"model '{name}': the new network was not registered; run it again")
    return version


def files_in_use(
    store: Store, name: str, home: RunFolder, known: Sequence[ChampionFiles | None]
) -> ChampionFiles | None:
    """Where the network lies that has the alias of the champion, None where that is not told.

    It is one of `known`, or is looked up among the runs of `home`. Raises what MLflow raises.
    """
    version = champion_version(store.client, name)
    for one in known:
        if one is not None and one.version == version:
            return one
    if version is None:
        return None
    tags = store.client.get_model_version(name, version).tags
    for run in home.newest(RUNS):
        folder = RunFolder.open(beside(home.location, run))
        if recorded_key(folder) == tags.get(SWEEP_TAG, ""):
            for row in read_results(folder).select(["trial", "network"]).to_pylist():
                if row["trial"] == tags.get(TRIAL_TAG) and row["network"]:
                    return ChampionFiles(run=run, network=row["network"], version=version)
    return None
