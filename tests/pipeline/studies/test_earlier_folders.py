"""Folders of studies made by an earlier version: they verify, are resumed and export.

What is training's has its own in `tests/pipeline/test_earlier_runs.py`; `tests/data/ORIGIN.md` says
how these were made.
"""

import shutil
from pathlib import Path

import pytest

from pipeline.plans.studies import TRAINING, get_study, study_at, study_names
from pipeline.results.folder import KEPT
from qnn.networks.exports import FORMATS, export_network
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.studies.cases import run

HOME = Path(__file__).parents[2] / "data" / "runs" / "studies"
NAMES = sorted(set(study_names()) - {TRAINING})
each = pytest.mark.parametrize("name", NAMES)
# Rows that no folder has are looked for where the config of its time says.
ROWS = {"distributed": HOME / "distributed" / "blocks.parquet"}


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in KEPT
        for path in sorted((out / folder).rglob("*.*"))
    }


def test_every_study_has_a_folder() -> None:
    assert sorted(path.name for path in HOME.iterdir()) == NAMES


@each
def test_it_verifies(name: str) -> None:
    out = HOME / name / "out"
    assert study_at(str(out)) is get_study(name)
    data = str(ROWS[name]) if name in ROWS else None
    checks = list(get_study(name).verify(str(out), data))
    assert len(checks) >= 3
    assert [check.line for check in checks if not (check.ok and check.proven)] == []


@each
def test_it_is_taken_for_finished(name: str, tmp_path: Path) -> None:
    shutil.copytree(HOME / name, tmp_path / name)
    out = tmp_path / name / "out"
    # Its config says where files lay: beside it, whereto they have moved.
    kept = (out / "sweep.yaml").read_text()
    (out / "sweep.yaml").write_text(kept.replace("source: ", f"source: {tmp_path / name}/"))
    before = contents(out)
    assert any(file.startswith("results/") for file in before)
    outcome = run(tmp_path / name / f"{name}.yaml", out)
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    # Made again, rows would have other seconds.
    assert contents(out) == before


def test_its_networks_are_exported(tmp_path: Path) -> None:
    files = sorted(HOME.glob("*/out/networks/*.npz"))
    assert {file.parts[-4] for file in files} == {"distributed", "robustness"}
    for file in files:
        network = QuantizedNetwork.load(file)
        for kind, (suffix, _) in FORMATS.items():
            main, *_ = export_network(network, kind, tmp_path / f"{file.stem}{suffix}")
            assert main.stat().st_size > 0
