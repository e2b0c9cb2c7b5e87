"""Paths as people write them: `~`, variables, odd names; and what only looks like a URI."""

from pathlib import Path

import pytest

from pipeline.configuration.paths import refuse_half_uri, refuse_unknown_tracking
from pipeline.configuration.reading import load_config
from pipeline.results.folder import RunFolder
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from tests.pipeline.small import config_text, small_config


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
