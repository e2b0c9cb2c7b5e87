"""The aliases on a real store, and a crash at every single call of a move."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.retraining import rollback_command
from pipeline.results.folder import RunFolder, StoreError
from pipeline.retraining.champion import champion_version, find_champion
from pipeline.tracking.aliases import (
    CHAMPION,
    JOURNAL,
    PREVIOUS,
    ROLLED_BACK,
    aliases,
    promote,
    roll_back,
)
from pipeline.tracking.store import Store, quiet, said_in_a_line
from qnn.errors import InputError
from tests.pipeline.tracked import new_folder

NAME = "model"


@pytest.fixture
def client(tmp_path: Path) -> Any:
    """A store with three versions of a model."""
    new_folder(tmp_path)
    quiet()
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_registered_model(NAME)
    for _ in range(3):
        client.create_model_version(NAME, source=str(tmp_path))
    return client


def test_promotions_and_a_rollback(client: Any) -> None:
    move = promote(client, NAME, "1")
    assert move is not None
    assert move.text == "promotion: champion is version 1"
    assert aliases(client, NAME) == {CHAMPION: "1"}
    move = promote(client, NAME, "2")
    assert move is not None
    assert move.text == "promotion: champion is version 2 (was 1), previous is 1"
    assert promote(client, NAME, "2") is None
    assert aliases(client, NAME) == {CHAMPION: "2", PREVIOUS: "1"}
    assert roll_back(client, NAME).text == "rollback: champion is version 1 (was 2), previous is 2"
    assert aliases(client, NAME) == {CHAMPION: "1", PREVIOUS: "2"}
    assert ROLLED_BACK in client.get_model_version(NAME, "2").tags
    roll_back(client, NAME)
    assert aliases(client, NAME) == {CHAMPION: "2", PREVIOUS: "1"}
    assert ROLLED_BACK not in client.get_model_version(NAME, "2").tags
    assert ROLLED_BACK in client.get_model_version(NAME, "1").tags


class Crash(BaseException):
    pass


class Fragile:
    """A client that dies before its k-th call that changes anything."""

    def __init__(self, client: Any, calls: int) -> None:
        self.client, self.left = client, calls

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        if name.startswith("get"):
            return call

        def counted(*arguments: Any) -> Any:
            if self.left == 0:
                raise Crash
            self.left -= 1
            return call(*arguments)

        return counted


def state(client: Any) -> tuple[dict[str, str], list[str], bool]:
    marked = [v for v in "123" if ROLLED_BACK in client.get_model_version(NAME, v).tags]
    return aliases(client, NAME), marked, JOURNAL in client.get_registered_model(NAME).tags


@pytest.mark.parametrize("kind", ["promotion", "rollback"])
def test_a_crash_anywhere_is_made_good_by_the_same_call(client: Any, kind: str) -> None:
    def start() -> None:
        promote(client, NAME, "1")
        promote(client, NAME, "2")

    move: Callable[[Any], Any] = (
        (lambda c: promote(c, NAME, "3")) if kind == "promotion" else (lambda c: roll_back(c, NAME))
    )
    start()
    move(client)
    undisturbed = state(client)
    crashes = 0
    while True:
        start()
        fragile = Fragile(client, crashes)
        try:
            move(fragile)
        except Crash:
            crashes += 1
        else:
            break
        move(client)
        assert state(client) == undisturbed
    assert crashes == {"promotion": 4, "rollback": 5}[kind]


def test_a_rollback_after_an_interrupted_promotion_undoes_it(client: Any) -> None:
    promote(client, NAME, "1")
    with pytest.raises(Crash):
        promote(Fragile(client, 2), NAME, "2")
    assert aliases(client, NAME) == {CHAMPION: "1", PREVIOUS: "1"}
    assert roll_back(client, NAME).champion == "1"
    assert aliases(client, NAME) == {CHAMPION: "1", PREVIOUS: "2"}


@pytest.mark.parametrize("calls", [1, 2])
def test_a_promotion_to_a_version_that_was_deleted_is_dropped(
    client: Any, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    promote(client, NAME, "1")
    with pytest.raises(Crash):
        promote(Fragile(client, calls), NAME, "2")
    client.delete_model_version(NAME, "2")
    assert champion_version(client, NAME) == "1"
    assert "interrupted promotion to version 2 is dropped, the version was deleted" in caplog.text
    assert JOURNAL not in client.get_registered_model(NAME).tags
    move = promote(client, NAME, "3")
    assert move is not None
    assert aliases(client, NAME) == {CHAMPION: "3", PREVIOUS: "1"}


def test_a_rollback_from_a_version_that_was_deleted_is_finished(client: Any) -> None:
    promote(client, NAME, "1")
    promote(client, NAME, "2")
    with pytest.raises(Crash):
        roll_back(Fragile(client, 1), NAME)
    # With the version goes its alias.
    client.delete_model_version(NAME, "2")
    assert CHAMPION not in aliases(client, NAME)
    assert roll_back(client, NAME).champion == "1"
    assert aliases(client, NAME)[CHAMPION] == champion_version(client, NAME) == "1"


def test_a_model_that_is_not_there_has_no_champion(client: Any) -> None:
    assert champion_version(client, "other") is None
    assert champion_version(client, NAME) is None


def test_nothing_to_go_back_to_is_one_line(client: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no version has the alias champion"):
        roll_back(client, NAME)
    promote(client, NAME, "1")
    with pytest.raises(InputError, match="version 1 and there is no earlier one to go back to"):
        rollback_command(NAME, str(tmp_path))
    with pytest.raises(InputError, match="no registered model 'other'"):
        rollback_command("other", str(tmp_path))


def test_a_champion_of_no_run_cannot_be_compared(client: Any, tmp_path: Path) -> None:
    promote(client, NAME, "1")
    with pytest.raises(InputError, match="version 1: its run has no network file to compare with"):
        find_champion(Store(client, "", "0", False), NAME, RunFolder.open(tmp_path), None)


def test_a_damaged_database_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    assert rollback_command(NAME, str(tmp_path)) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: MLflow: sqlite:///{tmp_path}/mlflow.db: DatabaseError: ")
    assert told.count("\n") == 1
    assert "Traceback" not in told


def test_faults_of_mlflow_are_one_line_and_ours_stay() -> None:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    uri = "http://name:secret@server:5000"
    faults = (MlflowException("a\nb"), OperationalError("x", {}, Exception()), ConnectionError("y"))
    for fault in faults:
        with (
            pytest.raises(StoreError, match=r"^MLflow: http://.*$") as told,
            said_in_a_line(uri),
        ):
            raise fault
        assert "secret" not in str(told.value)
    for own in (InputError("ours"), StoreError("ours")):
        with pytest.raises(type(own), match=r"^ours$"), said_in_a_line(uri):
            raise own


def test_rollback_needs_a_store_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError, match="which MLflow"):
        rollback_command(NAME, None)
    with pytest.raises(InputError, match=r"mlflow\.db: no such MLflow database"):
        rollback_command(NAME, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
