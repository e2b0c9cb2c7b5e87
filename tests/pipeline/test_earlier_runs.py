"""Folders and certificates made by the version before the rooms: they verify, resume and export.

The same sweeps run again give the same ids, files and rows (`tests/data/ORIGIN.md` says how they
were made), bounds within the gap that was asked for; arms that stop by the clock are compared by
their ids alone.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import qnn
from pipeline.configuration.reading import load_config
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.verification import verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.certificates import Certificate, verify
from qnn.certificates.streaming import verify_stream
from qnn.networks.exports import FORMATS, export_network
from qnn.networks.quantized import QuantizedNetwork

RUNS = Path(__file__).parents[1] / "data" / "runs"
NAMES = ("branching", "classes", "exact", "kinds", "plain", "targets")
# What depends on the machine or the clock.
UNLIKE = ("seconds", "versions", "bounds", "host", "started")
TIMED = ("straight_through",)
# What a solve tells up to the gap that it was asked for, so that another order of its sums moves
# it, and what follows the trace of its matrices in rows whose neurons have one common weight.
SOLVED, GAP = ("lower_bound", "relaxation_value", "gap"), 1e-4
# The matrices themselves are only determined to the order of the gap's root, 1e-2.
WEIGHED, ONE_WEIGHT, ROOT = ("upper_bound", "loss_value", "gap"), "krivine", 2e-3


def frame(location: Path) -> pd.DataFrame:
    folder = RunFolder.open(location)
    table = read_results(folder).to_pandas()
    # Columns that its version did not know yet say nothing.
    known = {
        name for file in folder.files("results") for name in folder.read_table(file).schema.names
    }
    names = [name for name in table if name in known and not any(word in name for word in UNLIKE)]
    return table[names].sort_values("trial").reset_index(drop=True)


def rerun(name: str, location: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
    outcome = run_sweep(
        load_config(RUNS / f"{name}.yaml"), str(location), SweepOptions(inline=True)
    )
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    return location


@pytest.mark.parametrize("name", NAMES)
def test_an_earlier_folder_verifies(name: str) -> None:
    checks = list(verify_paths([str(RUNS / name)]))
    assert len(checks) >= 4
    assert [check.line for check in checks if not (check.ok and check.proven)] == []


def assert_alike(one: QuantizedNetwork, two: QuantizedNetwork, X: np.ndarray, near: float) -> None:
    """The same function of rows X.

    The order of its neurons is the search's, and which factor is u, and weights that no row tells
    apart, as those of the features of two categories.
    """
    left, right = one.decision_function(X), two.decision_function(X)
    np.testing.assert_allclose(left, right, atol=near * float(np.abs(left).max(initial=1.0)))
    weights = [np.sort(np.abs(network.alpha), axis=None) for network in (one, two)]
    np.testing.assert_allclose(*weights, rtol=10.0 * near, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_an_earlier_folder_is_finished(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(RUNS / name, tmp_path / name)
    before = {path: path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")}

    def computed(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("qnn.training.relaxation.choice._zero_network", computed)
    rerun(name, tmp_path / name, monkeypatch)
    assert {path: path.read_bytes() for path in (tmp_path / name).rglob("*.parquet")} == before


@pytest.mark.parametrize("name", NAMES)
def test_the_same_sweep_gives_the_same_rows_and_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = rerun(name, tmp_path / name, monkeypatch)
    old, new = frame(RUNS / name), frame(again)
    assert list(old) == [column for column in new if column in set(old)]
    assert old["trial"].tolist() == new["trial"].tolist()
    # Joined rows stated the size of their first output's preprocessing.
    joined = old["certificates"].notna() & old["certificate"].isna()
    assert (new["preprocessing_bytes"] >= old["preprocessing_bytes"])[joined].all()
    new.loc[joined, "preprocessing_bytes"] = old.loc[joined, "preprocessing_bytes"]
    mine, weighed = ~old["rounding"].isin(TIMED), old["rounding"] == ONE_WEIGHT
    for column in old:
        left, right = old.loc[mine, column], new.loc[mine, column]
        if pd.api.types.is_float_dtype(left):
            near = np.where(weighed[mine] & (column in WEIGHED), ROOT, 1e-7)
            near = np.maximum(near, GAP if column in SOLVED else 0.0)
            missing = left.isna().to_numpy()
            np.testing.assert_array_equal(missing, right.isna(), err_msg=column)
            allowed = near * np.maximum(left.abs(), 1.0 if column == "gap" else 1e-2)
            assert ((left - right).abs() <= allowed)[~missing].all(), column
        else:
            assert left.astype(str).tolist() == right.astype(str).tolist(), column
    for path in sorted((RUNS / name / "networks").glob("*.npz")):
        row = old[old["network"] == f"networks/{path.name}"].iloc[0]
        if row["rounding"] not in TIMED:
            one, two = QuantizedNetwork.load(path), QuantizedNetwork.load(again / row["network"])
            rows = pd.read_parquet(
                RUNS / name / "data" / row["dataset"] / f"{row['shard']}.parquet"
            )
            X = rows.to_numpy()[:, : one.d]
            assert_alike(one, two, X, ROOT if row["rounding"] == ONE_WEIGHT else 1e-7)
    assert {path.name for path in (RUNS / name / "certificates").iterdir()} == {
        path.name for path in (again / "certificates").iterdir()
    }


@pytest.mark.parametrize("name", ["branching", "branching-form", "cuts", "cuts-form", "streamed"])
def test_an_earlier_certificate_verifies(name: str, tmp_path: Path) -> None:
    certificate = Certificate.load(RUNS / "certificates" / f"{name}.npz")
    with np.load(RUNS / "certificates" / "data.npz") as data:
        X, y = data["X"][:, : certificate.d], data["y"]
    if name == "streamed":
        assert verify_stream(certificate, [(X[:12], y[:12]), (X[12:], y[12:])]) >= 2.9
    else:
        assert verify(certificate, X, y) >= certificate.lower_bound > 0.0
    certificate.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (
        RUNS / "certificates" / f"{name}.npz"
    ).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_earlier_network_is_exported(name: str, tmp_path: Path) -> None:
    path = min((RUNS / name / "networks").glob("*.npz"))
    network = qnn.QuantizedNetwork.load(path)
    for kind, (suffix, _) in FORMATS.items():
        main, *_ = export_network(network, kind, tmp_path / f"network{suffix}")
        assert main.stat().st_size > 0
