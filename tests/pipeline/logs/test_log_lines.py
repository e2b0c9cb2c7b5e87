"""Logs that programs read: one object a line, with ids, without secrets."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.logs.console import set_up_logging
from pipeline.logs.log_lines import JsonFormatter
from tests.pipeline.small import config_text

BROKEN = """
import sys
import pipeline.sweeps.worker.path
from pipeline.commands.sweep import set_up_logging
from pipeline.configuration.reading import load_config
from pipeline.sweeps.driver import SweepOptions, run_sweep
from rich.console import Console

def fail(*arguments):
    raise ValueError("broken canary-canary-canary")

pipeline.sweeps.worker.path.round_relaxation = fail
set_up_logging(Console(stderr=True))
run_sweep(load_config(sys.argv[1]), sys.argv[2], SweepOptions(inline=True))
"""


def test_a_record_becomes_one_line_with_its_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-canary-canary")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("pipeline.test")
    logger.addHandler(handler)
    logger.warning("key %s\nof %s", "canary-canary-canary", "β", extra={"trial": "abc", "gap": 0.5})
    try:
        raise ValueError("canary-canary-canary")
    except ValueError:
        logger.exception("failed", extra={"path": "p"})
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == "key ***\nof β"
    assert (first["trial"], first["gap"], first["level"]) == ("abc", 0.5, "warning")
    assert first["time"].endswith("+00:00")
    assert second["path"] == "p"
    assert "ValueError: ***" in second["exception"]


@pytest.mark.parametrize("terminal", [False, True])
def test_lines_of_text_hold_no_secrets(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "canary-canary-canary")
    monkeypatch.delenv("QNN_LOG", raising=False)
    package = logging.getLogger("pipeline")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(package, name, getattr(package, name))
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging(Console(file=stream, force_terminal=terminal, width=200))
    try:
        raise ValueError("canary-canary-canary")
    except ValueError:
        package.exception("key %s of s3://me:it@b", "canary-canary-canary")
    assert "key *** of s3://***@b" in re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert "ValueError" in stream.getvalue()
    assert "canary" not in stream.getvalue()


def test_a_sweep_logs_each_path_and_each_failing_trial(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(config_text(tmp_path, rounding=["krivine"]))
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(config), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "QNN_LOG": "json", "API_TOKEN": "canary-canary-canary"},
    )
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    problems = [entry for entry in entries if entry["message"] == "problem done"]
    assert len(problems) == 6
    assert {entry["shard"] for entry in problems} == {"fold-00", "fold-01", "fold-02"}
    assert len({entry["path"] for entry in entries if entry["message"] == "path done"}) == 3
    trials = [entry for entry in entries if "trial" in entry]
    assert len({entry["trial"] for entry in trials}) == 3 * 2 * 4
    assert all(len(entry["path"]) == 16 and "exception" in entry for entry in trials)
    assert "canary" not in done.stderr
    assert any(entry.get("failed") == 24 for entry in entries)


def test_text_stays_the_default(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(config_text(tmp_path, rounding=["krivine"]))
    environment = {name: value for name, value in os.environ.items() if name != "QNN_LOG"}
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(config), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert "24 failed" in done.stderr
    assert "problem done" not in done.stderr
