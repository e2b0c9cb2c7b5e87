"""How the command ends: one line, without secrets, whatever went wrong."""

import sys
from pathlib import Path

import pytest

from pipeline.commands.cli import main
from pipeline.results.folder import RunFolder, StoreError
from pipeline.sweeps.cluster.session import ClusterError
from qnn.errors import CertificateError, InputError, QnnError
from tests.pipeline.small import config_text


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["qnn", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.mark.parametrize("command", ["report", "verify"])
def test_a_store_that_is_away_is_one_line_and_exit_code_one(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def away(folder: RunFolder, *_: object) -> None:
        raise StoreError(
            f"{folder.label}: cannot be listed:\nconnection to s3://K:canary@b refused"
        )

    for method in ("read", "_infos"):
        monkeypatch.setattr(RunFolder, method, away)
    assert ended(monkeypatch, command, str(tmp_path)) == 1
    said = capsys.readouterr().err
    assert said == (f"error: {tmp_path}: cannot be listed: connection to s3://***@b refused\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError, 2), (CertificateError, 1), (StoreError, 1), (ClusterError, 1)],
)
def test_what_a_command_raises_is_told_without_secrets(
    error: type[QnnError],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(*_: object) -> None:
        raise error("me:canary@host:5000: away")

    monkeypatch.setattr("pipeline.commands.sweep.verify_command", wrong)
    assert ended(monkeypatch, "verify", "x") == code
    assert capsys.readouterr().err == "error: ***@host:5000: away\n"


@pytest.mark.parametrize("form", ["me:canary@host:5000", "http:me:canary@host", "s3:K:can/ary@b/x"])
def test_passwords_of_addresses_that_are_none_are_not_told(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(config_text(tmp_path))
    for key in ("tracking.uri", "data.source"):
        assert ended(monkeypatch, "sweep", "small.yaml", "--dry-run", "--set", f"{key}={form}") == 2
        assert "ary@" not in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", form)
    assert ended(monkeypatch, "sweep", "small.yaml", "--dry-run") == 2
    said = capsys.readouterr().err
    assert "MLFLOW_TRACKING_URI: ***@" in said


def test_a_file_with_a_name_like_a_password_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(config_text(tmp_path))
    (tmp_path / "small.csv").rename("a:b@c.csv")
    asked = ("sweep", "small.yaml", "--dry-run", "--set", "data.source=a:b@c.csv")
    assert not ended(monkeypatch, *asked)
