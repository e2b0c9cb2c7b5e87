"""Each column of a row that the folder can tell is held against it, and a manifest misses the rest.

The fuzzer edits any file of a folder; what still verifies is checked by brute force written here.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.results.folder import RunFolder
from pipeline.results.record import LATER_COLUMNS, RESULTS_SCHEMA
from pipeline.results.verification import Check, verify_paths
from pipeline.results.verification.manifest import MANIFEST, Manifest
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.numerics.archive import pack_arrays
from tests.pipeline.small import small_config

SIZE: dict[str, Any] = {
    "shards": {"kind": "kfold", "count": 2},
    "beta": {"fractions": [0.1]},
    "seeds": [0],
    "widths": [6],
    "rounding": ["refined"],
}

# Edits of the long loop; 100,000 of them take an hour: QNN_FUZZ_EDITS=100000.
EDITS = int(os.environ.get("QNN_FUZZ_EDITS", "1000"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("statements")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        run_sweep(small_config(home, **SIZE), str(home / "run"), SweepOptions(inline=True))
    return home / "run"


@pytest.fixture
def run(original: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(original, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def failures(run: RunFolder) -> list[Check]:
    return [check for check in verify_paths([run.location]) if not check.ok]


def sign_anew(run: RunFolder) -> None:
    """A manifest that fits the folder, whatever it holds."""
    units = {}
    for file in run.files("results"):
        units[file[len("results/") : -len(".parquet")]] = run.read_table(file).num_rows
    Manifest.of(run, units).write(run)


def edit_rows(run: RunFolder, file: str, change: Callable[[dict[str, Any]], None]) -> None:
    table = run.read_table(file)
    rows = table.to_pylist()
    for row in rows:
        change(row)
    run.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))


def test_an_untouched_run_is_as_it_was_left_and_says_what_is_not_checked(run):
    (check,) = [one for one in verify_paths([run.location]) if one.file == MANIFEST]
    assert check.ok
    assert check.text.startswith("13 files, 3 rows, as the run left them; not checked: validation")
    assert not failures(run)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("proof", "exact"),
        ("proof", "tightened"),
        ("certify", "exact"),
        ("certify", "none"),
        ("width", 5000),
        ("width", 1),
        ("n", 7),
        ("d", 3),
        ("beta_max", 1.0),
        ("beta_max", None),
        ("beta_fraction", 0.2),
        ("beta_fraction", None),
        ("polynomial", "1, 0, 0"),
        ("relaxation_value", 0.0),
        ("bounds", [{"seconds": 0.0, "lower": 1e9, "upper": 2e9}]),
        ("trial", "0123456789abcdef"),
        ("path", "0123456789abcdef"),
        ("output", 1),
        ("train_accuracy", 1.0),
        ("train_accuracy", None),
        ("train_rmse", 0.0),
        ("validation_accuracy", 1.5),
        ("preprocessing_bytes", 0),
        ("loss", "absolute"),
        ("alphabet", "ternary"),
        ("second_layer", "common"),
        ("seed", 77),
        ("rounding", "krivine"),
        ("dataset", "other"),
    ],
)
def test_what_a_row_states_is_held_against_the_files(run, column, value):
    file = run.files("results")[0]
    edit_rows(run, file, lambda row: row.update({column: value}))
    assert any(check.file == file for check in failures(run))
    sign_anew(run)
    assert failures(run)


@pytest.mark.parametrize("column", ["validation_accuracy", "test_accuracy", "seconds"])
def test_what_no_file_can_tell_is_guarded_by_the_manifest(run, column):
    file = run.files("results")[0]
    edit_rows(run, file, lambda row: row.update({column: 0.25}))
    assert [check.file for check in failures(run)] == [file]


def test_dropped_rows_and_files_are_missed(run):
    file = run.files("results")[0]
    name = run.read_table(file)["network"][0].as_py()
    for gone in (file, name):
        run.remove(gone)
    bad = {check.file: check.text for check in failures(run)}
    assert bad[file] == "is in the manifest, but the file is missing"
    assert bad[name] == "is in the manifest, but the file is missing"
    assert bad[file.removesuffix(".parquet")] == "has 0 rows, the plan expects 1"


def test_all_results_dropped_are_missed(run):
    for file in run.files("results"):
        run.remove(file)
    assert failures(run)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"format": 2, "files": {}, "units": {}}', b"\xff", b"[" * 9999]
)
def test_a_damaged_manifest_is_a_line(run, content):
    run.write(MANIFEST, content)
    assert [check.file for check in failures(run)] == [MANIFEST]


def members(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def false_statements(location: str) -> Iterator[str]:
    """What is false in a folder of squared loss, bilinear and binary, by numpy alone."""
    home = RunFolder.open(location)
    for file in home.files("results"):
        for row in home.read_table(file).to_pylist():
            if row["status"] != "ok":
                continue
            certificate = members(f"{location}/{row['certificate']}")
            table = home.read_table(f"data/{row['dataset']}/{row['shard']}.parquet")
            columns = table.to_pandas().to_numpy()
            X, y, nu = columns[:, :-1], columns[:, -1], certificate["nu"]
            n, d = X.shape
            M = (X * nu[:, None]).T @ X
            largest = max(np.abs(M @ np.array(u)).sum() for u in product((-1.0, 1.0), repeat=d))
            bound = nu @ y - nu @ nu / 2
            network = members(f"{location}/{row['network']}")
            U, V = (network[name].astype(float) for name in ("U", "V"))
            alpha = network["alpha"]
            predicted = ((X @ U) * (X @ V)) @ alpha
            loss = ((predicted - y) ** 2).sum() / 2
            objective = loss + row["beta"] * d * np.abs(alpha).sum()
            accuracy = np.mean((predicted > 0) == (y > 0))
            statements = {
                "feasible": largest <= row["beta"] * d * (1 + 1e-12),
                "lower_bound": row["lower_bound"] <= bound + 1e-9 * abs(bound),
                "upper_bound": np.isclose(row["upper_bound"], objective, rtol=1e-8),
                "loss_value": np.isclose(row["loss_value"], loss, rtol=1e-8),
                "gap": np.isclose(
                    row["gap"], (objective - row["lower_bound"]) / objective, rtol=0, atol=1e-8
                ),
                "train_accuracy": row["train_accuracy"] == accuracy,
                "neurons": row["neurons"] == len(alpha) <= row["width"],
                "n, d": (row["n"], row["d"]) == (n, d),
                "proof": row["proof"] == str(certificate["kind"]) == "relaxation",
                "beta_fraction": np.isclose(row["beta_fraction"] * row["beta_max"], row["beta"]),
                "problem": (row["loss"], row["activation"], row["alphabet"], row["polynomial"])
                == ("squared", "bilinear", "binary", None),
                "files": row["network"] == f"networks/{row['trial']}.npz",
            }
            yield from (f"{file}: {name}" for name, right in statements.items() if not right)


def number_near(rng: np.random.Generator, value: float) -> float:
    made = [value * 1.001, value * 0.5, -value, 0.0, np.inf, np.nan, 1e300, 5e-324, value + 1.0]
    return float(made[rng.integers(len(made))])


def edit_npz(run: RunFolder, file: str, rng: np.random.Generator) -> None:
    arrays = members(f"{run.location}/{file}")
    name = str(rng.choice(sorted(arrays)))
    array = np.array(arrays[name])
    choice = rng.integers(6)
    if choice == 0:
        del arrays[name]
    elif choice == 1:
        other = rng.choice(sorted(arrays))
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif array.dtype.kind == "f" and array.size:
        array.flat[rng.integers(array.size)] = number_near(rng, float(array.flat[0]))
        arrays[name] = array
    elif array.dtype.kind in "iu" and array.size:
        array.flat[rng.integers(array.size)] ^= array.dtype.type(1 << rng.integers(7))
        arrays[name] = array
    elif array.dtype.kind == "U":
        words = ["exact", "tightened", "ternary", "absolute", "", "relaxation", "polynomial"]
        arrays[name] = np.array(str(rng.choice(words)))
    # As the library writes them: what the format itself refuses is attacked elsewhere.
    run.write(file, pack_arrays(arrays))


def edit_parquet(run: RunFolder, file: str, rng: np.random.Generator) -> None:
    table = run.read_table(file)
    rows = table.to_pylist()
    name = str(rng.choice(table.schema.names))
    row = rows[rng.integers(len(rows))]
    value = row[name]
    if rng.uniform() < 0.1:
        rows.remove(row)
    elif rng.uniform() < 0.1:
        rows.append(dict(row))
    elif isinstance(value, float):
        row[name] = number_near(rng, value)
    elif isinstance(value, int):
        row[name] = int(rng.choice([value + 1, 0, -1, 10**6]))
    elif isinstance(value, str):
        words = ["exact", "tightened", "polynomial", "hinge", "3", "", "all", "fold-00", "failed"]
        row[name] = str(
            rng.choice([*words, *(run.files("networks")), *(run.files("certificates"))])
        )
    elif value is None and table.schema.field(name).type == pa.float64():
        row[name] = 0.5
    else:
        row[name] = None
    run.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))


def edit_bytes(run: RunFolder, file: str, rng: np.random.Generator) -> None:
    content = bytearray(run.read(file))
    at = int(rng.integers(len(content)))
    made = [content[:at], content[at:], content + b"\0", b""]
    content[at] ^= 1 << int(rng.integers(8))
    run.write(file, bytes([*made, content, content, content][rng.integers(7)]))


def edit_anything(run: RunFolder, rng: np.random.Generator) -> None:
    files = [file for kind in ("results", "data", "certificates", "networks")
             for file in run.files(kind)]  # fmt: skip
    file = str(rng.choice(files))
    if rng.uniform() < 0.05:
        edit_bytes(run, str(rng.choice(["sweep.yaml", MANIFEST])), rng)
    elif rng.uniform() < 0.05:
        run.remove(file)
    elif rng.uniform() < 0.1:
        other = str(rng.choice(run.files(file.split("/")[0])))
        content = run.read(other)
        run.write(other, run.read(file))
        run.write(file, content)
    elif rng.uniform() < 0.1:
        edit_bytes(run, file, rng)
    else:
        (edit_npz if file.endswith(".npz") else edit_parquet)(run, file, rng)


def fuzz(original: Path, place: Path, seed: int, count: int) -> tuple[int, list[str]]:
    """Edits that still verify, and what is false of them: half of them with a fitting manifest."""
    rng = np.random.default_rng(seed)
    accepted, false = 0, []
    run = RunFolder.open(place)
    kept = {file: RunFolder.open(original).read(file) for file in RunFolder.open(original).files()}
    before: dict[str, bytes] = {}
    for number in range(count):
        for file in {*run.files(), *kept}:
            if before.get(file) != kept.get(file) or not before:
                run.write(file, kept[file])
        edit_anything(run, rng)
        if rng.uniform() < 0.5:
            try:
                sign_anew(run)
            except ValueError:
                run.remove(MANIFEST)
        before = {file: run.read(file) for file in run.files()}
        if failures(run):
            continue
        accepted += 1
        false += [f"edit {number}: {text}" for text in false_statements(run.location)]
    return accepted, false


def test_brute_force_finds_nothing_false_untouched_and_much_that_is(run):
    assert list(false_statements(run.location)) == []
    file = run.files("results")[0]
    edit_rows(run, file, lambda row: row.update(lower_bound=row["upper_bound"] * 0.9999))
    found = {text.rpartition(" ")[2] for text in false_statements(run.location)}
    assert found == {"lower_bound", "gap"}


def test_no_edit_of_any_file_makes_a_false_statement_verify(original, tmp_path):
    accepted, false = fuzz(original, tmp_path / "run", seed=0, count=150)
    assert not false
    assert accepted < 150


@pytest.mark.slow
def test_no_edit_of_many_makes_a_false_statement_verify(original, tmp_path):
    accepted, false = fuzz(original, tmp_path / "run", seed=1, count=EDITS)
    assert not false
    assert accepted < EDITS


def test_the_manifest_is_plain_json(run):
    content = json.loads(run.read(MANIFEST))
    assert set(content) == {"format", "files", "units"}
    assert set(content["files"]) == {
        file for file in run.files() if file.split("/")[0] in
        ("sweep.yaml", "results", "data", "certificates", "networks")
    }  # fmt: skip


TRAINING = [name for name in RESULTS_SCHEMA.names if name.startswith("train_")]


@pytest.mark.parametrize("column", TRAINING)
def test_each_metric_of_the_training_rows_is_measured_again(run, column):
    file = run.files("results")[0]

    def change(row: dict[str, Any]) -> None:
        value = row[column]
        if column == "train_confusion":
            row[column] = [value[1], value[0], *value[2:]]
        else:
            row[column] = 1 if value is None else type(value)(value * 0.9 + 1)

    edit_rows(run, file, change)
    sign_anew(run)
    assert failures(run)


def test_rows_without_the_younger_metrics_are_those_of_an_earlier_version(run):
    for file in run.files("results"):
        run.write_table(file, run.read_table(file).drop_columns(list(LATER_COLUMNS)))
    sign_anew(run)
    assert not failures(run)
