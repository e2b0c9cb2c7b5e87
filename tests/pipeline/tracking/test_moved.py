"""A run's folder elsewhere than where it was made: model, files and proofs are found there."""

import os
import shlex
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import sqlalchemy
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.commands.retraining import rollback_command
from pipeline.results import summary
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.selection import choose
from pipeline.tracking import tracker as tracking
from pipeline.tracking.moved import database_file, database_uri, follow_move
from pipeline.tracking.store import open_store, pointed_at
from qnn.errors import InputError
from tests.pipeline.small import small_config
from tests.pipeline.tracked import artifacts_of, new_folder, run_small, runs_of

ADDRESSES = (
    "SELECT artifact_location FROM experiments WHERE experiment_id > 0 "
    "UNION ALL SELECT artifact_uri FROM runs "
    "UNION ALL SELECT artifact_location FROM logged_models "
    "UNION ALL SELECT storage_location FROM model_versions"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A tracked sweep in a folder whose name a URI has to escape."""
    root = tmp_path_factory.mktemp("made")
    config, place = small_config(root, tracking={"top": 1}), root / "first run? 50%20 #1"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        new_folder(place)
        folder = run_small(config, place)
        results = read_results(folder)
        row = summary.champion_row(summary.frame(results))
        assert row is not None
        choice = choose(results, config.beta.form, config.task)
        tracking.start(config, folder).finish(results, choice, str(row["trial"]))
    return config, place


@pytest.fixture
def place(made: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Path(shutil.copytree(made[1], tmp_path / "second run?x=%#"))


def addresses(place: Path) -> list[str]:
    db = sqlite3.connect(place / "mlflow.db")
    found = [one for (one,) in db.execute(ADDRESSES)]
    db.close()
    return found


def follow(place: Path) -> str | None:
    return follow_move(RunFolder.open(place))


def test_a_copy_verifies_says_what_changed_and_has_its_model(
    made: tuple[Any, Path], place: Path
) -> None:
    config, first = made
    # As moved: what still points at the old place finds nothing.
    away = first.with_name("away")
    first.rename(away)
    try:
        done = CliRunner().invoke(app, ["verify", str(place)])
        assert done.exit_code == 0, done.output
        assert f"{place}: was moved or copied from {first}; " in done.stderr
        assert "addresses in mlflow.db now name this folder" in done.stderr
        assert "all verified" in done.stdout
        assert all(one.startswith(f"{place.as_uri()}/mlartifacts") for one in addresses(place))
        files = [*(place / "mlartifacts").rglob("MLmodel")]
        assert files
        assert not any(first.as_uri() in file.read_text() for file in files)
        store = open_store(config, RunFolder.open(place))
        (run,) = runs_of(store, "sweep")
        assert f"qnn verify {shlex.quote(str(place))}\n" in run.data.tags["mlflow.note.content"]
        assert "results/results.parquet" in artifacts_of(store, run.info.run_id)
        assert store.command(run.info.run_id).endswith(f"'{database_uri(place)}'")
        with pointed_at(store):
            model = mlflow.pyfunc.load_model("models:/small@champion")
        rows = pd.read_csv(first.parent / "small.csv").drop(columns="target")
        assert set(model.predict(rows)) <= {"yes", "no"}
        assert model.metadata.artifact_path.startswith(place.as_uri())
        # Said once; then there is nothing to change.
        again = CliRunner().invoke(app, ["verify", "--fast", str(place)])
        assert "moved" not in again.stderr
    finally:
        away.rename(first)


def test_a_place_that_may_not_be_looked_at_is_elsewhere(
    made: tuple[Any, Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.exists

    def denied(path: Path) -> bool:
        if path.is_relative_to(made[1]):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "exists", denied)
    assert f"{place}: was moved or copied from {made[1]}; " in str(follow(place))
    assert all(one.startswith(f"{place.as_uri()}/mlartifacts") for one in addresses(place))


def test_the_copied_one_stays_as_it_is(made: tuple[Any, Path], place: Path) -> None:
    first, content = made[1], (made[1] / "mlflow.db").read_bytes()
    assert follow(first) is None
    assert follow(place) is not None
    assert (first / "mlflow.db").read_bytes() == content
    assert follow(first) is None
    # Seen through a link it is the same folder.
    (place.parent / "link").symlink_to(first)
    assert follow(place.parent / "link") is None


@pytest.mark.parametrize("name", ["a", "a b", "a?b", "a%20b", "a%", "a#?b&c=%3F", "é:@"])
def test_the_address_of_a_database_leads_to_it(name: str, tmp_path: Path) -> None:
    uri = database_uri(tmp_path / name)
    assert database_file(uri) == tmp_path / name / "mlflow.db"
    # What opens it for MLflow.
    assert sqlalchemy.make_url(uri).database == f"{tmp_path}/{name}/mlflow.db"
    assert database_file("http://mlflow:5000") is None


def test_a_rollback_finds_the_models_of_a_moved_folder(
    made: tuple[Any, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="no earlier one to go back to"):
        rollback_command("small", str(place))
    said = capsys.readouterr().err
    assert said.startswith(f"note: {place}: was moved or copied from {made[1]}; ")
    assert all(one.startswith(f"{place.as_uri()}/mlartifacts") for one in addresses(place))
    with pytest.raises(InputError, match="no earlier one to go back to"):
        rollback_command("small", database_uri(place))
    assert capsys.readouterr().err == ""


def test_only_what_lies_in_the_old_place_is_changed(made: tuple[Any, Path], place: Path) -> None:
    near = f"{made[1].as_uri()}/mlartifacts-of-others/x"
    db = sqlite3.connect(place / "mlflow.db")
    db.execute("INSERT INTO experiments (name, artifact_location) VALUES ('other', ?)", (near,))
    db.execute(
        "INSERT INTO experiments (name, artifact_location) VALUES ('s3', 's3://b/mlartifacts')"
    )
    db.commit()
    db.close()
    assert follow(place) is not None
    assert {near, "s3://b/mlartifacts"} < set(addresses(place))


def test_a_copy_without_the_files_still_means_the_old_ones(
    made: tuple[Any, Path], place: Path
) -> None:
    shutil.rmtree(place / "mlartifacts")
    before = addresses(place)
    assert follow(place) is None
    assert addresses(place) == before


@pytest.mark.parametrize("hindrance", ["busy", "linked", "damaged", "no tables", "no database"])
def test_what_cannot_be_changed_stays_whole(
    place: Path, hindrance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place / "mlflow.db"
    monkeypatch.setattr("pipeline.tracking.moved._PATIENCE", 0.05)
    if hindrance == "damaged":
        file.write_bytes(os.urandom(9000))
    elif hindrance == "no tables":
        file.write_bytes(b"")
    elif hindrance == "no database":
        file.unlink()
    elif hindrance == "linked":
        os.link(file, place.parent / "other.db")
    before = file.read_bytes() if file.exists() else b""
    with sqlite3.connect(file if hindrance == "busy" else ":memory:") as other:
        if hindrance == "busy":
            other.execute("BEGIN IMMEDIATE")
        said = follow(place)
        other.rollback()
    other.close()
    assert (file.read_bytes() if file.exists() else b"") == before
    if hindrance in ("busy", "linked"):
        assert said is not None
        assert "mlflow.db cannot be changed" in said
        assert "\n" not in said
    else:
        assert said is None
