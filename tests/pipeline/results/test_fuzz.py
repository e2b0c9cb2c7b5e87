"""A fuzzer edits any file of a run's folder; what still verifies is checked by brute force.

The folders hold every loss, activation and alphabet, several outputs, and every kind of proof.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.results import folder
from pipeline.results.folder import RunFolder, rows_in
from pipeline.results.verification import evidence, manifest, rows, verify_paths
from pipeline.results.verification.manifest import MANIFEST, Manifest
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.numerics.archive import pack_arrays
from tests.pipeline.results.oracle import false_statements, members
from tests.pipeline.small import TINY, small_config

# Edits of the long loop, of each folder; 25,000 of each take hours: QNN_FUZZ_EDITS=25000.
EDITS = int(os.environ.get("QNN_FUZZ_EDITS", "250"))

RELU = {"polynomial": {"a": 0.0937, "b": 0.5, "c": 0.4688}}
WHOLE = {"shards": {"kind": "parts", "count": 1}}
FOLDERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "kinds": {
        **WHOLE,
        "loss": ["logistic", "huber"],
        "activation": ["bilinear", RELU],
        "alphabet": 2,
    },
    "margins": {
        **WHOLE,
        "loss": ["hinge", "squared_hinge"],
        "activation": RELU,
        "alphabet": "ternary",
    },
    "exact": {**WHOLE, "loss": "absolute", "activation": ["bilinear", RELU], "certify": "exact"},
    "outputs": {**WHOLE, "certify": "tightened"},
}


def three_classes(home: Path) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((50, 3))
    label = np.where(X[:, 0] * X[:, 1] > 0.3, "up", np.where(X[:, 2] > 0, "mid", "down"))
    lines = ["a,b,c,target"]
    lines += [",".join([*(f"{v:.6f}" for v in x), t]) for x, t in zip(X, label, strict=True)]
    (home / "three.csv").write_text("\n".join(lines) + "\n")
    return {"data": {"source": str(home / "three.csv")}}


@pytest.fixture(scope="module", params=FOLDERS)
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp(request.param)
    changes = {**TINY, **FOLDERS[request.param]}
    if request.param == "outputs":
        changes |= three_classes(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.reports.page.write_report", lambda folder, trial: None)
        run_sweep(small_config(home, **changes), str(home / "run"), SweepOptions(inline=True))
    return home / "run"


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a function of bytes alone is computed once for the same bytes."""
    decode, parse, beta_max = folder.decode_table, rows.parse_config, evidence.beta_max_of
    known: dict[Any, float] = {}

    def beta_max_of(kind: Any, *arrays: np.ndarray | None) -> float:
        key = (kind, *((one is not None) and (one.shape, one.tobytes()) for one in arrays))
        if key not in known:
            known[key] = beta_max(kind, *arrays)
        return known[key]

    monkeypatch.setattr(manifest, "rows_in", lru_cache(maxsize=1000)(folder.rows_in))
    for module in (folder, rows, evidence):
        monkeypatch.setattr(module, "decode_table", lru_cache(maxsize=1000)(decode))
    monkeypatch.setattr(rows, "parse_config", lru_cache(maxsize=100)(parse))
    monkeypatch.setattr(evidence, "beta_max_of", beta_max_of)


class Recorded(RunFolder):
    """A folder that knows which of its files were written or removed."""

    changed: frozenset[str] = frozenset()

    def write(self, relative: str, content: bytes | pa.Buffer) -> None:
        self.changed |= {relative}
        super().write(relative, content)

    def remove(self, relative: str) -> None:
        self.changed |= {relative}
        super().remove(relative)

    def restore(self, kept: dict[str, bytes]) -> None:
        """Put back what was changed."""
        for file in self.changed:
            if kept.get(file) is not None:
                super().write(file, kept[file])
            elif self.exists(file):
                super().remove(file)
        self.changed = frozenset()


def verifies(run: RunFolder) -> bool:
    return all(check.ok for check in verify_paths([run.location]))


def sign_anew(run: RunFolder) -> None:
    """A manifest that fits the folder, whatever it holds."""
    units = {}
    for file in run.files("results"):
        units[file[len("results/") : -len(".parquet")]] = rows_in(run.read(file), file)
    Manifest.of(run, units).write(run)


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
    run = Recorded.open(place)
    assert isinstance(run, Recorded)
    kept = {file: RunFolder.open(original).read(file) for file in RunFolder.open(original).files()}
    run.changed = frozenset(kept)
    for number in range(count):
        run.restore(kept)
        edit_anything(run, rng)
        if rng.uniform() < 0.5:
            try:
                sign_anew(run)
            except ValueError:
                run.remove(MANIFEST)
        if not verifies(run):
            continue
        accepted += 1
        false += [f"edit {number}: {text}" for text in false_statements(run.location)]
    return accepted, false


def test_nothing_is_false_untouched_and_a_raised_bound_is(original, tmp_path):
    run = RunFolder.open(tmp_path / "run")
    for file in RunFolder.open(original).files():
        run.write(file, RunFolder.open(original).read(file))
    assert verifies(run)
    assert list(false_statements(run.location)) == []
    file = run.files("results")[0]
    table = run.read_table(file)
    rows = table.to_pylist()
    for row in rows:
        row["lower_bound"] = row["upper_bound"] * (1 + 1e-6)
    run.write_table(file, pa.Table.from_pylist(rows, schema=table.schema))
    found = {text.rpartition(" ")[2] for text in false_statements(run.location)}
    assert found == {"lower_bound", "gap"}


def test_no_edit_of_any_file_makes_a_false_statement_verify(original, tmp_path, remembered):
    accepted, false = fuzz(original, tmp_path / "run", seed=0, count=25)
    assert not false
    assert accepted < 25


@pytest.mark.slow
def test_no_edit_of_many_makes_a_false_statement_verify(original, tmp_path, remembered):
    accepted, false = fuzz(original, tmp_path / "run", seed=1, count=EDITS)
    assert not false
    assert accepted < EDITS
