"""The aliases of a registered model: `champion`, and `previous`, the one to go back to.

Two aliases cannot be moved at once. So the move is written down first, as a tag of the registered
model, and whoever comes next finishes it: a crash in between leaves nothing half-moved for long.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from qnn.errors import InputError

log = logging.getLogger(__name__)

CHAMPION, PREVIOUS = "champion", "previous"
JOURNAL = "qnn.alias_move"
ROLLED_BACK = "qnn.rolled_back"


@dataclass(frozen=True)
class Move:
    """A move of the aliases: `kind` is "promotion" or "rollback", the rest are versions."""

    kind: str
    champion: str
    previous: str | None
    resumed: bool = False

    @property
    def text(self) -> str:
        """One line that says what moved."""
        before = "" if self.previous is None else f" (was {self.previous}), {PREVIOUS} is "
        how = "finished an interrupted " if self.resumed else ""
        return f"{how}{self.kind}: {CHAMPION} is version {self.champion}{before}" + (
            self.previous or ""
        )


def aliases(client: Any, name: str) -> dict[str, str]:
    """The versions that the aliases of a registered model are on. Raises what MLflow raises."""
    return {key: str(value) for key, value in client.get_registered_model(name).aliases.items()}


def promote(client: Any, name: str, version: str) -> Move | None:
    """Put `champion` on a version and `previous` on the one before; None if it is there already.

    An interrupted move is finished first.
    """
    finish_interrupted(client, name)
    champion = aliases(client, name).get(CHAMPION)
    if champion == version:
        return None
    return _move(client, name, Move("promotion", version, champion))


def roll_back(client: Any, name: str) -> Move:
    """Put `champion` back on `previous`, and `previous` on what was the champion.

    The version that leaves is tagged, so that no rerun promotes it again. Called again after a
    crash in the middle it finishes that rollback and does no other. Raises `InputError` where there
    is nothing to go back to.
    """
    interrupted = finish_interrupted(client, name)
    if interrupted is not None and interrupted.kind == "rollback":
        return interrupted
    found = aliases(client, name)
    champion, previous = found.get(CHAMPION), found.get(PREVIOUS)
    if champion is None:
        raise InputError(f"model '{name}': no version has the alias {CHAMPION}")
    if previous is None or previous == champion:
        raise InputError(
            f"model '{name}': {CHAMPION} is version {champion} and there is no earlier one to go "
            f"back to (alias {PREVIOUS})"
        )
    return _move(client, name, Move("rollback", previous, champion))


def finish_interrupted(client: Any, name: str) -> Move | None:
    """Finish the move that a crash left in the middle; None if there is none.

    A version may have been deleted since. Without the one that was to be the champion the move is
    dropped, with a warning; without the one that was left the rest of it is done.
    """
    tag = client.get_registered_model(name).tags.get(JOURNAL)
    if not tag:
        return None
    record = json.loads(tag)
    champion, previous = record["champion"], record["previous"]
    if not is_there(client.get_model_version, name, champion):
        log.warning(
            "model '%s': an interrupted %s to version %s is dropped, the version was deleted",
            name,
            record["kind"],
            champion,
        )
        client.delete_registered_model_tag(name, JOURNAL)
        return None
    if previous is not None and not is_there(client.get_model_version, name, previous):
        previous = None
    move = Move(record["kind"], champion, previous, resumed=True)
    _carry_out(client, name, move)
    return move


def is_there(get: Callable[..., Any], *what: str) -> bool:
    """Whether a client's call finds what it is asked for. Raises what else MLflow raises."""
    from mlflow.exceptions import MlflowException

    try:
        get(*what)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _move(client: Any, name: str, move: Move) -> Move:
    record = {"kind": move.kind, "champion": move.champion, "previous": move.previous}
    client.set_registered_model_tag(name, JOURNAL, json.dumps(record))
    _carry_out(client, name, move)
    return move


def _carry_out(client: Any, name: str, move: Move) -> None:
    """Every step may be repeated; the journal goes last."""
    if move.previous is not None:
        client.set_registered_model_alias(name, PREVIOUS, move.previous)
    if move.kind == "rollback" and move.previous is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        client.set_model_version_tag(name, move.previous, ROLLED_BACK, now)
    if ROLLED_BACK in client.get_model_version(name, move.champion).tags:
        client.delete_model_version_tag(name, move.champion, ROLLED_BACK)
    client.set_registered_model_alias(name, CHAMPION, move.champion)
    client.delete_registered_model_tag(name, JOURNAL)
