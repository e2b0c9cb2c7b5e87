"""Old nights' folders: the newest ones stay, and those that an alias of the model points to."""

from __future__ import annotations

import logging
from typing import Any

from pipeline.logs.messages import one_line
from pipeline.results.folder import RunFolder
from pipeline.retraining.partitions import beside
from pipeline.tracking.aliases import aliases
from pipeline.tracking.store import SWEEP_TAG, Store, recorded_key

log = logging.getLogger(__name__)

RUNS = "runs"


def prune(home: RunFolder, store: Store, name: str, keep: int, in_use: set[str]) -> list[str]:
    """Remove all but the newest `keep` folders of `runs/`; return the names of what went.

    Kept whatever their age: those in `in_use` (`runs/…`) and those of the sweeps whose versions of
    the registered model `name` have an alias, so that champion and previous can be verified and
    resumed. How old a folder is is told by its newest file. Nothing here is worth a failed night:
    what cannot be looked up or removed stays, with a warning.
    """
    try:
        ages = home.newest(RUNS)
        old = sorted(ages, key=lambda run: (ages[run], run), reverse=True)[keep:]
        if not set(old) - in_use:
            return []
        keys = _aliased(store.client, name)
        gone = [
            run
            for run in old
            if run not in in_use
            and recorded_key(RunFolder.open(beside(home.location, run))) not in keys
        ]
        for run in gone:
            home.remove_folder(run)
    except Exception as error:
        log.warning("old runs stay: %s", one_line(error))
        return []
    if gone:
        log.info("removed the files of %d old runs, up to %s", len(gone), gone[0])
    return gone


def _aliased(client: Any, name: str) -> set[str]:
    """The sweeps' keys of all versions that an alias is on."""
    numbers = set(aliases(client, name).values())
    tags = [client.get_model_version(name, number).tags for number in numbers]
    return {found[SWEEP_TAG] for found in tags if SWEEP_TAG in found}
