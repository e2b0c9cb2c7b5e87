import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.qnn.networks.exports.cases import network

QNN = Path(sys.executable).parent / "qnn"


def export(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(QNN), "export", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_export_writes_beside_you_or_where_told(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    net = network("thermometer")
    net.save(tmp_path / "runs" / "best.npz")
    done = export(tmp_path, "runs/best.npz", "--format", "c")
    assert (done.returncode, done.stdout) == (0, "best.h\nbest_main.c\n"), done.stderr
    assert '#include "best.h"' in (tmp_path / "best_main.c").read_text()
    done = export(tmp_path, "runs/best.npz", "--format", "json", "--out", "runs/other.json")
    assert (done.returncode, done.stdout) == (0, "runs/other.json\n"), done.stderr
    assert json.loads((tmp_path / "runs/other.json").read_text())["neurons"] == net.neurons


def test_one_output_of_several_is_written_alone(tmp_path: Path) -> None:
    network("none", classes=("a", "b,c", "d")).save(tmp_path / "best.npz")
    done = export(tmp_path, "best.npz", "--format", "json", "--output", "b,c")
    assert (done.returncode, done.stdout) == (0, "best.json\n"), done.stderr
    told = json.loads((tmp_path / "best.json").read_text())
    assert told["preprocessing"]["target"]["classes"] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.npz", "--format", "c"), "error: none.npz: "),
        (("best.npz", "--format", "tar"), "error: format 'tar' is not known: choose one of onnx,"),
        (("best.npz", "--format", "onnx", "--out", "x.bin"), "error: x.bin: a file of format onnx"),
        (
            ("best.npz", "--format", "c", "--output", "z"),
            "error: the network has one output:",
        ),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    network("thermometer").save(tmp_path / "best.npz")
    done = export(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["best.npz"]
