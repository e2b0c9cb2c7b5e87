"""What the last finished run saw and decided: `retrain.json`, replaced in one move."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.configuration.reading import SweepConfig
from pipeline.configuration.retraining import RetrainConfig
from pipeline.results.folder import RunFolder
from pipeline.studies.training.automatic import Keys
from qnn.errors import InputError

STATE_FILE = "retrain.json"
# What may change without a reason to train again: how it is run and kept, how the gates judge.
_FREE = {"tracking", "resources"}
_FREE_RETRAIN = {
    "tolerance", "significance", "max_bytes", "drift_threshold", "keep_runs", "robustness",
}  # fmt: skip


class ChampionFiles(BaseModel):
    """Where the promoted network lies: a run's folder and the file in it, relative to the home."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    run: str
    network: str
    version: str


class State(BaseModel):
    """One finished run: promoted or refused, on which partitions, under which configuration.

    `champion` is what has the alias in the registered model `model` (None in older files).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = 1
    config: str
    partitions: dict[str, str]
    run: str
    verdict: str
    reason: str
    finished: str
    champion: ChampionFiles | None = None
    model: str | None = None

    def champion_of(self, name: str) -> ChampionFiles | None:
        """The champion, where it is that of the registered model `name`."""
        return self.champion if self.model in (None, name) else None


def settings_digest(config: SweepConfig, unsettled: Keys = ()) -> str:
    """SHA-256 of all of the configuration that a result depends on, 16 digits."""
    content: dict[str, Any] = config.model_dump(mode="json", exclude=_FREE)
    retrain = config.retrain or RetrainConfig()
    content["retrain"] = retrain.model_dump(mode="json", exclude=_FREE_RETRAIN)
    if unsettled:
        content["chosen"] = [".".join(key) for key in unsettled]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_state(home: RunFolder) -> State | None:
    """The last finished run, None before the first. Raises `InputError` for a damaged file."""
    try:
        content = home.read(STATE_FILE)
    except FileNotFoundError:
        return None
    try:
        return State.model_validate_json(content)
    except ValidationError:
        raise InputError(
            f"{home.label}/{STATE_FILE}: is damaged; move it away to have everything trained and "
            "judged again (the champion in MLflow stays)"
        ) from None


def write_state(home: RunFolder, state: State) -> None:
    """Replace the state in one move: after this the run is over."""
    home.write(STATE_FILE, state.model_dump_json(indent=2).encode())
