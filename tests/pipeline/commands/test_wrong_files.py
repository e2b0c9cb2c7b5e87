"""A wrong file given to any command ends in one line: exit code 2, no traceback, no file."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.commands.cli import app
from qnn.errors import InputError

COMMANDS = {
    "sweep": ["sweep", "FILE", "--dry-run"],
    "sweep into": ["sweep", "FILE", "--out", "out"],
    "retrain": ["retrain", "FILE", "--dry-run", "--out", "out"],
    "submit": ["submit", "FILE", "--address", "http://127.0.0.1:1", "--out", "/nowhere"],
    "report": ["report", "FILE"],
    "compare": ["compare", "FILE"],
    "export": ["export", "FILE", "--format", "c", "--out", "out"],
    "bell": ["bell", "FILE"],
    "csp": ["csp", "FILE"],
    "robustness": ["robustness", "FILE", "rows.csv", "--radius", "0.1"],
    "quantize": ["quantize", "FILE", "--calibration", "rows.csv", "--budget", "3", "--out", "out"],
    "verify": ["verify", "FILE"],
    "predict": ["predict", "FILE", "rows.csv", "--out", "out.csv"],
}
FILES = ["text.npz", "folder.npz", "empty.npz", "table.yaml", "list.yaml", "empty.yaml",
         "folder.yaml", "binary.yaml", "text.parquet", "empty.csv", "text.onnx", "missing.npz",
         "missing.yaml"]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        kind = name.partition(".")[0]
        path = tmp_path / name
        if kind == "folder":
            path.mkdir()
        elif kind != "missing":
            content = {"text": b"hello\n", "empty": b"", "table": b"a,b\n1,2\n3,4\n",
                       "list": b"- 1\n- 2\n", "binary": bytes(range(128, 256))}  # fmt: skip
            path.write_bytes(content[kind])
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_file_is_one_line_and_exit_code_two(command, file, place):
    asked = [file if word == "FILE" else word for word in COMMANDS[command]]
    before = sorted(place.rglob("*"))
    result = CliRunner().invoke(app, asked)
    if isinstance(result.exception, InputError):
        assert "\n" not in str(result.exception)
        assert str(result.exception)
    elif command == "verify" and file in ("text.npz", "empty.npz"):
        # What is there and no certificate is a verdict.
        assert result.exit_code == 1
        assert result.output.startswith(f"FAIL  {file}  ")
    else:
        assert result.exit_code == 2, (result.exception, result.output)
    assert [path for path in sorted(place.rglob("*")) if path not in before] == []
