"""Paths as people write them: `~`, variables, odd names; and what only looks like a URI."""

from pathlib import Path
from unicodedata import normalize

import pytest
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.configuration.paths import refuse_half_uri, refuse_unknown_tracking
from pipeline.configuration.reading import load_config
from pipeline.configuration.section import name_of
from pipeline.results.folder import RunFolder
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.tracking import tracker
from pipeline.tracking.store import open_store
from qnn.errors import InputError
from tests.pipeline.small import config_text, small_config
from tests.pipeline.tracked import runs_of


def test_tilde_and_variables_are_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLACE", str(tmp_path))
    text = config_text(tmp_path).replace(str(tmp_path), "~")
    (tmp_path / "tilde.yaml").write_text(text)
    (tmp_path / "variable.yaml").write_text(text.replace("~", "$PLACE"))
    for written in ("~/tilde.yaml", "$PLACE/variable.yaml"):
        assert load_config(written).data.source == str((tmp_path / "small.csv").resolve())
    assert RunFolder.open("~/run").root == RunFolder.open("$PLACE/run").root == f"{tmp_path}/run"
    assert RunFolder.open("$NOT_SET/run").root.endswith("/$NOT_SET/run")


def test_credentials_in_a_variable_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BUCKET", "s3://key:secret@bucket")
    text = config_text(tmp_path).replace(f"{tmp_path}/", "$BUCKET/")
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(InputError, match="credentials") as refused:
        load_config(tmp_path / "sweep.yaml")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["s3:bucket/x", "gs:/bucket", "localhost:9000/x", "10.0.0.1:80"])
def test_half_a_uri_is_refused_and_no_folder_of_that_name_made(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"://"):
        RunFolder.open(text)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / text).mkdir(parents=True)
    refuse_half_uri(text)


@pytest.mark.parametrize("uri", ["localhost:5000", "mybucket/x", "http:/host", "server"])
@pytest.mark.parametrize("place", ["config", "environment"])
def test_a_tracking_uri_that_is_none_is_refused(uri, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    refuse_unknown_tracking(None)
    if place == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    key = "tracking.uri" if place == "config" else "MLFLOW_TRACKING_URI"
    with pytest.raises(InputError, match=key):
        refuse_unknown_tracking(uri if place == "config" else None)


@pytest.mark.parametrize("uri", ["http://localhost:5000", "sqlite:///x.db", "databricks", "."])
def test_a_tracking_uri_is_taken(uri):
    refuse_unknown_tracking(uri)


@pytest.mark.parametrize("name", ["a ? b", "a#b", "Genève 日本", "100%", "a&b=c;d"])
def test_a_sweep_runs_and_verifies_under_any_name(name, tmp_path, monkeypatch):
    place = tmp_path / name
    place.mkdir()
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    config = small_config(place, seeds=[0], widths=[4], rounding=["refined"])
    outcome = run_sweep(config, str(place / "run"), SweepOptions(inline=True))
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    assert all(check.ok for check in verify_paths([str(place / "run")]))
    (file,) = list((place / "run" / "networks").glob("*.npz"))[:1]
    assert all(check.ok for check in verify_paths([str(file)]))


@pytest.mark.parametrize("name", ["Kündigung", "Ku\u0308ndigung-解約-किसान"])
def test_a_name_in_any_script_runs_is_tracked_verifies_and_is_reported(name, tmp_path, monkeypatch):
    # MLflow puts the artifacts of a database of one's own into the folder where one is.
    monkeypatch.chdir(tmp_path)
    tracking = {"uri": f"sqlite:///{tmp_path}/mlflow.db"}
    folder = tmp_path / "out" / name
    config = small_config(
        tmp_path, name=name, tracking=tracking, seeds=[0], widths=[4], rounding=["refined"]
    )
    assert config.name == config.registered_model == normalize("NFC", name)
    outcome = run_sweep(
        config, str(folder), SweepOptions(inline=True), start_tracking=tracker.start
    )
    assert outcome.exit_code == 0
    assert CliRunner().invoke(app, ["verify", str(folder)]).exit_code == 0
    store = open_store(config, RunFolder.open(folder))
    (run,) = runs_of(store, "sweep")
    assert run.info.run_name == config.name
    assert store.client.get_registered_model(config.name).name == config.name
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert config.name in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ü/x", "ü x", "_ü", ".ü", "\u0308u", "", "ü\n", "ü\0", "½%"])
def test_a_name_that_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"name: may hold letters, digits, '\.'"):
        small_config(tmp_path, name=name)


@pytest.mark.parametrize("name", ["team/model", "a:b", "o'hara", " ", ".", "..", ""])
def test_a_model_that_mlflow_could_not_register_or_find_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"^small\.yaml: tracking\.registered_model: must "):
        small_config(tmp_path, tracking={"registered_model": name})
    for taken in ("my model (1)", 'the "best"', "年龄"):
        config = small_config(tmp_path, tracking={"registered_model": taken})
        assert config.registered_model == taken


def test_the_longest_names_are_names_of_folders_too(tmp_path):
    for name in ("a" * 100, "ü" * 100, "解" * 80):
        (tmp_path / small_config(tmp_path, name=name).name).mkdir()
    for name in ("a" * 101, "解" * 81):
        with pytest.raises(InputError, match="name: must have at most 100 letters, and 240 bytes"):
            small_config(tmp_path, name=name)


def test_what_a_source_is_called_is_a_name(tmp_path):
    for text, name in {
        "ü": "ü",
        "a--b": "a--b",
        "-a b (1)-": "a-b-1",
        "日本 x": "日本-x",
        "%": "",
    }.items():
        assert name_of(text) == name
    assert small_config(tmp_path, name=name_of("解" * 300)).name == "解" * 80
