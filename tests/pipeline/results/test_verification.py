"""`verify` finds whatever is changed in a run's files, and says it in a line."""

import html
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.plans.studies import study_at
from pipeline.reports.page import collect, render_report
from pipeline.results.folder import RunFolder
from pipeline.results.matrices import matrices
from pipeline.results.verification import Check, verify_paths
from pipeline.results.verification.manifest import MANIFEST
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.certificates import Certificate
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.archive import pack_arrays
from tests.pipeline.small import small_config
from tests.qnn.certificates.members import changed_bytes, members


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        config = small_config(home, widths=[8])
        run_sweep(config, str(home / "run"), SweepOptions(inline=True))
    return home / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> RunFolder:
    """Without its manifest, which would miss every change before anything is proven."""
    shutil.copytree(original, tmp_path / "run")
    (tmp_path / "run" / MANIFEST).unlink()
    return RunFolder.open(tmp_path / "run")


def failures(run: RunFolder) -> list[Check]:
    return [check for check in verify_paths([run.location]) if not check.ok]


def first(run: RunFolder, folder: str) -> str:
    return run.files(folder)[0]


def edit_certificate(run: RunFolder, name: str, **changes: object) -> None:
    old = Certificate.load(f"{run.location}/{name}")
    run.write(name, changed_bytes(old, **changes))


def edit_network(run: RunFolder, name: str, **changes: object) -> None:
    old = QuantizedNetwork.load(f"{run.location}/{name}")
    run.write(name, replace(old, **changes).to_bytes())


def networks_of(run: RunFolder, certificate: str) -> list[str]:
    """The networks whose rows name a certificate."""
    tables = [run.read_table(name) for name in run.files("results")]
    rows = [row for table in tables for row in table.to_pylist()]
    return [row["network"] for row in rows if row["certificate"] == certificate]


def first_bit_flipped(U: np.ndarray) -> np.ndarray:
    flipped = U.copy()
    flipped[0, 0] *= -1
    return flipped


def edit_results(run: RunFolder, column: str, change: Callable[[pa.Array], pa.Array]) -> None:
    name = first(run, "results")
    table = run.read_table(name)
    position = table.schema.get_field_index(column)
    values = change(table[column].combine_chunks())
    run.write_table(name, table.set_column(position, table.schema.field(column), values))


def test_an_untouched_run_verifies_file_by_file(run):
    checks = list(verify_paths([run.location]))
    files = run.files("certificates") + run.files("networks") + [MANIFEST]
    assert sorted(check.file for check in checks) == sorted(files)
    assert all(check.ok for check in checks)
    assert "none, so dropped files and rows are not missed; not checked: " in checks.pop(0).text
    assert checks[0].line.startswith("ok    certificates/")
    assert "  bound " in checks[0].line
    assert "objective " in checks[-1].line
    before = {file: run.read(file) for file in run.files()}
    list(verify_paths([run.location]))
    assert {file: run.read(file) for file in run.files()} == before


@pytest.mark.parametrize("field", ["nu", "diag"])
@pytest.mark.parametrize("factor", [1.5, -1.0])
def test_a_changed_dual_point_fails(run, field, factor):
    name = first(run, "certificates")
    values = getattr(members(Certificate.load(f"{run.location}/{name}")), field)
    edit_certificate(run, name, **{field: values * factor})
    # No line of a network states the gap to a bound that was not proven.
    bad = [check.file for check in failures(run)]
    assert sorted(bad) == sorted([name, *networks_of(run, name)])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lower_bound": lambda c: c.lower_bound * 1.001}, "is proven"),
        ({"lower_bound": lambda c: c.lower_bound * 0.9}, "states the bound"),
        ({"lower_bound": lambda c: float("nan")}, "is proven"),
        ({"beta": lambda c: c.beta * 2}, "its row says beta"),
        ({"beta": lambda c: c.beta / 2}, "spends more than"),
        ({"data_sha256": lambda c: "0" * 64}, "SHA-256 differs"),
        ({"loss": lambda c: "absolute"}, ""),
        ({"d": lambda c: c.d + 1}, "columns"),
        ({"data": lambda c: "data/small/nowhere.parquet"}, "are missing"),
        ({"data": lambda c: "../../etc/passwd"}, "leaves the run's folder"),
        ({"kind": lambda c: "exact"}, "unknown method of proof None"),
    ],
)
def test_a_changed_field_of_a_certificate_fails(run, change, text):
    name = first(run, "certificates")
    old = Certificate.load(f"{run.location}/{name}")
    edit_certificate(run, name, **{key: make(old) for key, make in change.items()})
    verdict = next(check for check in failures(run) if check.file == name)
    assert text in verdict.text
    assert "\n" not in verdict.line


def test_a_network_alone_proves_the_bound_that_it_states(run):
    """A false bound, consistent in the certificate and in all of its rows."""
    name = first(run, "certificates")
    files = networks_of(run, name)
    for results in run.files("results"):
        table = run.read_table(results)
        rows = table.to_pylist()
        mine = [row for row in rows if row["network"] in files]
        if not mine:
            continue
        false = 0.9999 * min(row["upper_bound"] for row in mine)
        edit_certificate(run, name, lower_bound=false)
        for row in mine:
            row |= {"lower_bound": false, "gap": (row["upper_bound"] - false) / row["upper_bound"]}
        run.write_table(results, pa.Table.from_pylist(rows, table.schema))
    for file in files:
        (check,) = verify_paths([f"{run.location}/{file}"])
        assert not check.ok
        assert "is proven" in check.text
        assert "gap" not in check.text
    assert {check.file for check in failures(run)} == {name, *files}


def test_a_network_alone_asks_whose_problem_its_certificate_speaks_of(run):
    """A sound certificate with a higher bound, but of another training matrix."""
    certificates = [
        (name, Certificate.load(f"{run.location}/{name}")) for name in run.files("certificates")
    ]
    name, own = min(certificates, key=lambda pair: pair[1].lower_bound)
    other = next(one for _, one in certificates if one.data != own.data)
    run.write(name, pack_arrays(other.arrays()))
    (check,) = verify_paths([f"{run.location}/{networks_of(run, name)[0]}"])
    assert not check.ok
    assert f"speaks of output 0 of {other.data}, not of 0 of {own.data}" in check.text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"alpha": lambda n: n.alpha * (1 + 1e-6)}, "its row says"),
        ({"U": lambda n: first_bit_flipped(n.U)}, "its row says upper_bound"),
        ({"beta": lambda n: n.beta * 2}, "another beta or loss"),
        ({"loss": lambda n: "hinge"}, ""),
        (
            {
                "U": lambda n: n.U[1:],
                "V": lambda n: n.V[1:],
                "preprocessing": lambda n: None,
            },
            "a network that reads 4 columns has no objective in a problem of 5",
        ),
        ({"preprocessing": lambda n: None}, "has no preprocessing"),
    ],
)
def test_a_changed_network_fails(run, change, text):
    name = next(
        file
        for file in run.files("networks")
        if QuantizedNetwork.load(f"{run.location}/{file}").neurons
    )
    old = QuantizedNetwork.load(f"{run.location}/{name}")
    edit_network(run, name, **{key: make(old) for key, make in change.items()})
    bad = failures(run)
    assert [check.file for check in bad] == [name]
    assert text in bad[0].text


@pytest.mark.parametrize("column", ["upper_bound", "lower_bound", "gap", "beta", "loss_value"])
@pytest.mark.parametrize("change", [1 + 1e-6, -1.0])
def test_a_changed_number_of_a_row_fails(run, column, change):
    edit_results(run, column, lambda values: pc.multiply(values, change))
    assert any(f"its row says {column}" in check.text for check in failures(run))


@pytest.mark.parametrize("column", ["neurons", "bytes"])
def test_a_changed_count_of_a_row_fails(run, column):
    edit_results(run, column, lambda values: pc.add(values, 1))
    assert all(f"its row says {column}" in check.text for check in failures(run))
    assert failures(run)


def test_rows_that_swap_their_networks_fail(run):
    edit_results(run, "network", lambda values: values[::-1])
    assert failures(run)


def test_a_file_of_lost_work_with_rows_that_did_not_fail_fails(run):
    name = first(run, "results")
    run.write(name.replace(".parquet", ".lost.parquet"), run.read(name))
    rows = run.read_table(name).num_rows
    assert [check.text.endswith("is lost, but did not fail") for check in failures(run)] == [
        True
    ] * rows


def test_rows_that_share_a_network_fail(run):
    edit_results(run, "network", lambda values: pa.array([values[0].as_py()] * len(values)))
    assert any("its network is another's too" in check.text for check in failures(run))


def test_changed_data_fail_their_certificates_and_networks(run):
    name = first(run, "data")
    table = run.read_table(name)
    X, _ = matrices(table)
    changed = pa.array(np.where(np.arange(len(X)) == 3, X[:, 0] + 1e-3, X[:, 0]))
    run.write_table(name, table.set_column(0, "x0", changed))
    bad = failures(run)
    assert {check.file.split("/")[0] for check in bad} == {"certificates", "networks"}
    assert any("SHA-256 differs" in check.text for check in bad)


@pytest.mark.parametrize("folder", ["certificates", "networks", "results", "data"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "gone"])
def test_damaged_and_missing_files_are_lines_not_tracebacks(run, folder, damage):
    name = first(run, folder)
    content = bytearray(run.read(name))
    middle = len(content) // 2 if folder != "results" else content.index(b"refined")
    content[middle] ^= 8
    made = {"cut": content[:middle], "flip": content, "empty": b"", "text": b"hello\nworld"}
    if damage == "gone":
        run.remove(name)
    else:
        run.write(name, bytes(made[damage]))
    bad = failures(run)
    if (folder, damage) == ("results", "gone"):
        # Nothing says that there was a path; its certificates still prove what they prove.
        assert bad == []
        return
    assert bad
    assert all("\n" not in check.line for check in bad)
    assert any(check.file == name for check in bad) or folder == "data"


def test_single_files_find_their_run(run, tmp_path):
    files = [f"{run.location}/{first(run, kind)}" for kind in ("certificates", "networks")]
    checks = list(verify_paths(files))
    assert [check.ok for check in checks] == [True, True]
    assert [check.file for check in checks] == files
    edit_certificate(run, first(run, "certificates"), lower_bound=1e9)
    assert not next(verify_paths(files[:1])).ok


def test_single_files_elsewhere_need_their_data(run, tmp_path):
    name = first(run, "certificates")
    data = f"{run.location}/{Certificate.load(f'{run.location}/{name}').data}"
    lone = tmp_path / "away" / "c.npz"
    lone.parent.mkdir()
    lone.write_bytes(run.read(name))
    check = next(verify_paths([str(lone)]))
    assert not check.ok
    assert "are missing (give --data)" in check.text
    assert next(verify_paths([str(lone)], data)).ok
    other = next(f for f in run.files("data") if not data.endswith(f))
    wrong = next(verify_paths([str(lone)], f"{run.location}/{other}"))
    assert not wrong.ok
    assert "the data" in wrong.text


def test_paths_that_are_no_runs_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no results or certificates in it"):
        list(verify_paths([str(tmp_path)]))
    with pytest.raises(InputError, match="no such file"):
        list(verify_paths([str(tmp_path / "x.npz")]))


@pytest.mark.parametrize("query", ["", "?endpoint_override=localhost:9000&scheme=http"])
def test_a_run_and_its_files_are_found_by_uris_with_a_query(run: RunFolder, query: str) -> None:
    base = Path(run.location).as_uri()
    assert all(check.ok for check in verify_paths([base + query]))
    for folder in ("certificates", "networks"):
        file = f"{base}/{first(run, folder)}{query}"
        (check,) = verify_paths([file])
        assert check.ok, check.line
        assert check.file == file
        assert study_at(file).name == "training"


def test_what_a_page_says_to_verify_is_the_whole_address(run: RunFolder) -> None:
    base = Path(run.location).as_uri()
    address = f"{base}?secret_key=canary&endpoint_override=localhost:9000"
    folder = RunFolder.open(address)
    assert (folder.location, folder.label) == (address, base)
    shown = f"{base}?secret_key=***&endpoint_override=localhost:9000"
    page = render_report(collect(folder))
    assert f"qnn verify &#39;{html.escape(shown)}&#39;" in page
    assert "canary" not in page
