"""What is changed in the files of one output is found through the network that has it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.results.folder import RunFolder
from pipeline.results.verification import verify_files, verify_paths
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.certificates import Certificate
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.classes import classes_config
from tests.qnn.certificates.members import changed_bytes


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        config = classes_config(home, widths=[4], beta={"fractions": [0.1]})
        run_sweep(config, str(home / "run"), SweepOptions(inline=True))
    return home / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(original, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def joined(run: RunFolder) -> tuple[str, str, list[str]]:
    """Results file, network and certificates of a joined row."""
    for file in run.files("results"):
        row = run.read_table(file).to_pylist()[0]
        if row["certificates"]:
            return file, row["network"], row["certificates"]
    raise AssertionError("no joined row")


def verdict(run: RunFolder) -> str:
    """What the check of the joined network alone says: "" where it is right."""
    _, network, _ = joined(run)
    (check,) = verify_files(run.location, [network])
    (single,) = verify_paths([f"{run.location}/{network}"])
    assert check.ok == single.ok
    return "" if check.ok else check.text


def edit_certificate(run: RunFolder, name: str, **changes: object) -> None:
    old = Certificate.load(f"{run.location}/{name}")
    run.write(name, changed_bytes(old, **changes))


def edit_row(run: RunFolder, **changes: object) -> None:
    file, _, _ = joined(run)
    table = run.read_table(file)
    rows = [{**row, **changes} for row in table.to_pylist()]
    run.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))


def test_an_untouched_run_is_right(run):
    assert verdict(run) == ""
    assert all(check.ok for check in verify_paths([run.location]))


def test_another_bound_of_one_output(run):
    name = joined(run)[2][1]
    old = Certificate.load(f"{run.location}/{name}")
    edit_certificate(run, name, lower_bound=old.lower_bound - 1e-9)
    assert verdict(run).startswith("its row says lower_bound ")


def test_a_higher_bound_of_one_output_and_of_the_row(run):
    # The row and the certificate agree, but the certificate proves less.
    _, _, names = joined(run)
    bounds = [Certificate.load(f"{run.location}/{name}").lower_bound for name in names]
    edit_certificate(run, names[2], lower_bound=bounds[2] + 0.5)
    upper = run.read_table(joined(run)[0]).to_pylist()[0]["upper_bound"]
    raised = bounds[0] + bounds[1] + (bounds[2] + 0.5)
    edit_row(run, lower_bound=raised, gap=(upper - raised) / upper)
    assert verdict(run).startswith(f"{names[2]}: it states the bound ")


def test_another_dual_point(run):
    name = joined(run)[2][0]
    old = Certificate.load(f"{run.location}/{name}")
    edit_certificate(run, name, nu=old.nu * 1.5)
    assert verdict(run).startswith(f"{name}: ")


def test_certificates_in_another_order_or_missing_ones(run):
    _, _, names = joined(run)
    edit_row(run, certificates=[names[1], names[0], names[2]])
    assert verdict(run).startswith(f"{names[1]} speaks of output 1 of data/classes/")
    edit_row(run, certificates=names[:2])
    assert verdict(run) == "its row names 2 certificates for 3 outputs"
    edit_row(run, certificates=names)
    run.remove(names[1])
    assert verdict(run) == f"{names[1]}: the file is missing"


def test_another_weight_or_second_layer(run):
    _, name, _ = joined(run)
    old = QuantizedNetwork.load(f"{run.location}/{name}")
    U = old.U.copy()
    U[0, 0] *= -1
    run.write(name, replace(old, U=U).to_bytes())
    assert verdict(run).startswith("its row says upper_bound ")
    run.write(name, replace(old, alpha=old.alpha * np.array([1.0, 1.01, 1.0])).to_bytes())
    assert verdict(run).startswith("its row says upper_bound ")
    run.write(name, replace(old, preprocessing=None, alpha=old.alpha[:, 0]).to_bytes())
    assert verdict(run) == "it has one output, its training matrix 3"


def test_the_whole_run_names_the_certificate_and_the_networks_that_it_spoils(run):
    name = joined(run)[2][0]
    run.write(name, run.read(name)[:-20])
    bad = {check.file for check in verify_paths([run.location]) if not check.ok}
    assert {name, joined(run)[1]} <= bad
    parts = {file for file in bad if file.startswith("networks/")} - {joined(run)[1]}
    assert len(parts) == 1
