"""The loss that docs/adding_a_loss.md shows works from its one file, everywhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from tests.test_docs import ROOT, blocks

CONFIG = """
name: quantiles
task: regression
data: {source: scores.csv, target: y}
shards: {kind: parts, count: 2, validation_fraction: 0.3}
loss: [quantile, absolute]
loss_parameter: 0.8
activation: [bilinear, {polynomial: {a: 1.0}}]
beta: {fractions: [0.3, 0.1]}
certify: exact
rounding: [refined]
widths: [4]
seeds: [0]
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout, with one file more."""
    tree = tmp_path_factory.mktemp("tree")
    (package := tree / "qnn").mkdir()
    for path in (ROOT / "qnn").iterdir():
        if path.name == "losses":
            shutil.copytree(path, package / "losses")
        else:
            (package / path.name).symlink_to(path)
    for name in ("pipeline", "tests", "pyproject.toml"):
        (tree / name).symlink_to(ROOT / name)
    (source,) = blocks("docs/adding_a_loss.md", "python")
    (package / "losses" / "quantile.py").write_text(source, encoding="utf-8")
    return tree


def run(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_losses_and_certificates_take_it_up(tree: Path) -> None:
    folders = ("losses", "certificates", "test_bounds.py", "training/rounding/test_refit.py")
    shown = run(
        tree,
        *("-m", "pytest", "-p", "no:cacheprovider", "-k", "quantile and not thousands"),
        *(f"tests/qnn/{folder}" for folder in folders),
    )
    passed = re.search(r"(\d+) passed", shown)
    assert passed is not None, shown
    assert int(passed[1]) >= 30


def test_a_sweep_trains_and_proves_with_it(tree: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4))
    y = X[:, 0] * X[:, 1] + rng.exponential(size=80)
    table = {f"x{k}": column for k, column in enumerate(X.T)}
    csv.write_csv(pa.table({**table, "y": y}), tree / "scores.csv")
    (tree / "sweep.yaml").write_text(CONFIG)
    run(tree, "-m", "pipeline", "sweep", "sweep.yaml", "--out", "out", "--cpus", "1")
    rows = pq.read_table(tree / "out" / "results").to_pandas()
    assert (rows["status"] == "ok").all()
    ours = rows[rows["loss"] == "quantile"]
    assert set(ours["loss_parameter"]) == {0.8}
    assert set(ours["activation"]) == {"bilinear", "polynomial"}
    assert (ours["lower_bound"] <= ours["upper_bound"]).all()
    assert ours["gap"].min() < 1e-6
    assert "all verified" in run(tree, "-m", "pipeline", "verify", "out")
