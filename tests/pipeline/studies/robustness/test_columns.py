"""Radii by column, limits by column, categories that flip, and the largest radius of every row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import qnn
from pipeline.plans.studies import get_study
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.studies.robustness.blocks import Block
from pipeline.studies.robustness.plan import asked_of
from pipeline.studies.robustness.summary import Reach, reaches
from pipeline.studies.robustness.tracked import reach_metrics
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Prover
from tests.pipeline.studies.cases import CASES, N, checks, copied, rows_of, run
from tests.pipeline.studies.robustness.test_study import changed
from tests.qnn.robustness.cases import layered, quantized

RADII = {"a": 0.5, "b": 0.0625}
MEANS: dict[str, Any] = {
    "radii": RADII, "factors": [0.0, 1.0, 2.0], "flip": ["c"], "limits": {"a": [0.0, 90.0]},
    "largest": True, "unit": "raw",
}  # fmt: skip


def write_files(folder: Path) -> None:
    """Rows with two numbers and a category, a network that answers all but the first."""
    rng = np.random.default_rng(2)
    rows = {"a": rng.normal(50.0, 9.0, N), "b": rng.normal(size=N),
            "c": np.array(["x", "y", "z"] * N, dtype=object)[:N]}  # fmt: skip
    names = np.array(["no", "yes"] * N, dtype=object)[:N]
    prepared = FeatureLayout.from_table(rows).fit(rows, names, ("no", "yes"))
    plain = quantized(rng, prepared.layout.d, 4, "bilinear", "binary", 1)
    network = qnn.QuantizedNetwork(plain.U, plain.V, plain.alpha, preprocessing=prepared)
    network.save(folder / "own.npz")
    target = network.predict(rows)
    target[0] = "no" if target[0] == "yes" else "yes"
    pq.write_table(pa.table({**rows, "target": target}), folder / "rows.parquet")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with all of them; not to be changed."""
    folder = tmp_path_factory.mktemp("columns")
    write_files(folder)
    outcome = run(CASES["robustness"].file(folder, **MEANS), folder / "out")
    assert (outcome.exit_code, outcome.failed) == (0, 0)
    return folder / "out"


def labelled(whole: Path) -> list[tuple[dict[str, Any], str]]:
    raw = pq.read_table(whole.parent / "rows.parquet").to_pylist()
    return [({name: row[name] for name in "abc"}, row["target"]) for row in raw]


def test_rows_are_what_the_prover_says(whole: Path) -> None:
    rows, raw = rows_of(whole), labelled(whole)
    prover = Prover(qnn.QuantizedNetwork.load(whole.parent / "own.npz"))
    more: dict[str, Any] = {"limits": {"a": (0.0, 90.0)}, "choices": {"c": True}}
    fixed = [row for row in rows if not row["largest"]]
    assert len(fixed) == 3 * N
    for row in fixed:
        x, label = raw[row["row"]]
        radius = {name: row["radius"] * value for name, value in RADII.items()}
        found = prover.certify(x, radius, label=label, **more)
        assert (row["verdict"], row["proven"]) == (found.verdict, found.lower_bound)
        assert json.loads(row["shape"]) == list(RADII.values())
        assert json.loads(row["flips"]) == ["c"]
    assert {row["verdict"] for row in fixed} == {"robust", "vulnerable"}
    # A flip alone breaks some rows, with no number moved.
    still = [row for row in fixed if row["radius"] == 0.0 and row["correct"]]
    assert any(row["verdict"] == "vulnerable" for row in still)


def test_largest_radii_are_between_a_proof_and_a_witness(whole: Path) -> None:
    rows, raw = [row for row in rows_of(whole) if row["largest"]], labelled(whole)
    prover = Prover(qnn.QuantizedNetwork.load(whole.parent / "own.npz"))
    more: dict[str, Any] = {"limits": {"a": (0.0, 90.0)}, "choices": {"c": True}}
    assert len(rows) == N
    for row in rows:
        x, label = raw[row["row"]]
        factor, attacked = row["radius"], row["attacked_radius"]
        if factor == 0.0:
            assert (row["verdict"], attacked) == ("vulnerable", 0.0)
            continue
        assert row["verdict"] == "robust"
        assert row["proven"] > 0.0
        # The search is exact here: just beyond the attacked radius is no proof, below it there is.
        assert factor < attacked <= factor * 1.002
        scaled = {name: attacked * value for name, value in RADII.items()}
        assert prover.certify(x, scaled, label=label, **more).verdict == "vulnerable"
    assert any(row["radius"] > 0.0 for row in rows)


def test_verify_proves_everything_again(whole: Path) -> None:
    found = checks(whole)
    assert len(found) == 8 + 4 * N + 1
    assert all(check.ok and check.proven for check in found.values()), found


@pytest.mark.parametrize(
    ("largest", "column", "value", "said"),
    [
        (False, "flips", None, "about another question"),
        (False, "flips", '["a"]', "no categorical column"),
        (False, "flips", "7", ""),
        (False, "limits", None, "about another question"),
        (False, "limits", '{"a": [0.0, 91.0]}', "about another question"),
        (False, "shape", None, "states radii"),
        (False, "shape", "[0.5, 0.1]", "states radii"),
        (False, "shape", "[0.5, NaN]", ""),
        (True, "radius", 1e3, "states radii"),
        (True, "radius", float("nan"), ""),
        (True, "attacked_radius", 1e-9, "its radii are crossed"),
        (True, "attacked_radius", float("nan"), "its radii are crossed"),
        (True, "attacked_radius", 0.0, "its radii are crossed"),
        (True, "witness", None, "its witness is no other answer"),
        (True, "witness", '[[50.0, 0.0], ["elsewhere"]]', "its witness is no other answer"),
        (True, "witness", '[[1e9, 0.0], ["x"]]', "its witness is no other answer"),
        (True, "shape", None, ""),
        (True, "verdict", "open", "its bounds do not say open"),
    ],
)
def test_what_is_tampered_with_is_refused(
    whole: Path, tmp_path: Path, largest: bool, column: str, value: Any, said: str
) -> None:
    out = copied(whole, tmp_path / "out")
    row = next(
        row for row in rows_of(out)
        if row["largest"] == largest and row["verdict"] == "robust" and row["radius"] > 0.0
    )  # fmt: skip
    changed(out, row, column, value)
    found = checks(out)
    # Not only the folder's manifest, which its owner can write anew.
    bad = [found[file] for file in found if "/" in file and not found[file].ok]
    assert bad
    assert any(said in check.text for check in bad), [check.text for check in bad]


def test_a_radius_nearer_to_the_attack_is_not_proven(whole: Path, tmp_path: Path) -> None:
    """A forged larger radius that agrees with its other columns is stopped by the certificate."""
    out = copied(whole, tmp_path / "out")
    row = next(row for row in rows_of(out) if row["largest"] and row["radius"] > 0.0)
    factor = row["attacked_radius"]
    changed(out, row, "radius", factor)
    changed(out, row, "radii", json.dumps([factor * value for value in RADII.values()]))
    check = checks(out)[row["certificate"]]
    assert not check.ok
    assert "another question" in check.text


def test_the_page_draws_the_radii(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    assert "How far every row may move" in page
    assert "largest proven" in page


def test_reach_counts_rows() -> None:
    rows = [
        {"network": "n", "norm": "linf", "unit": "raw", "largest": True, "radius": radius,
         "attacked_radius": attacked}
        for radius, attacked in ((0.0, 0.0), (2.0, 2.5), (1.0, None), (4.0, 4.0))
    ]  # fmt: skip
    (one,) = reaches([*rows, {**rows[1], "largest": False}, {**rows[1], "largest": None}])
    assert one == Reach("n", "linf", "raw", (0.0, 1.0, 2.0, 4.0), (0.0, 2.5, 4.0, np.inf))
    assert one.medians == (1.0, 2.5)
    proven, held = one.shares([0.0, 1.0, 1.5, 2.5, 9.0])
    assert proven == [0.75, 0.75, 0.5, 0.25, 0.0]
    assert held == [0.75, 0.75, 0.75, 0.5, 0.25]
    assert reach_metrics([one]) == {"n/linf/certified_radius": 1.0, "n/linf/attacked_radius": 2.5}


def test_a_layered_network_has_the_file_s_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    layered(rng, [3, 4, 3]).save(tmp_path / "net.npz")
    columns = {name: rng.normal(size=4) for name in ("p", "q", "r")}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    file = CASES["robustness"].file(
        tmp_path, networks=[{"name": "relu", "source": "net.npz"}], data={"source": "x.parquet"},
        radii={"r": 0.1}, factors=[1.0], unit="range", limits={"q": [-9.0, 9.0]}, largest=True,
    )  # fmt: skip
    assert run(file, tmp_path / "out").exit_code == 0
    rows = rows_of(tmp_path / "out")
    found = checks(tmp_path / "out").values()
    assert [check.text for check in found if not check.ok] == []
    shape = [0.0, 0.0, 0.1 * float(np.ptp(columns["r"]))]
    assert [json.loads(row["shape"]) for row in rows] == [shape] * 8
    prover = Prover(LayeredNetwork.load(tmp_path / "net.npz"))
    for row in rows[:4]:
        x = np.array([values[row["row"]] for values in columns.values()])
        found = prover.certify(x, shape, limits=([-np.inf, -9.0, -np.inf], [np.inf, 9.0, np.inf]))
        assert (row["verdict"], row["proven"]) == (found.verdict, found.lower_bound)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"radii": {}}, "radii: must not be empty"),
        ({"radii": {"a": -1.0}}, "radii.a: must be at least 0"),
        ({"radii": {"a": "x"}}, "radii.a: must be a number"),
        ({"radii": {"gone": 1.0}}, "no numeric column 'gone'"),
        ({"radii": {"c": 1.0}}, "no numeric column 'c'"),
        ({"radii": [1.0]}, "factors go with radii by column name"),
        ({"factors": [-1.0]}, "factors[0]: must be at least 0"),
        ({"flip": ["a"]}, "no categorical column 'a'"),
        ({"flip": ["c", "c"]}, "a column occurs twice"),
        ({"limits": {"gone": [0.0, 1.0]}}, "limits: the network reads no numeric column 'gone'"),
        ({"limits": {"a": [0.0]}}, "limits.a"),
        ({"limits": {"a": [90.0, 0.0]}}, "lowest first"),
        ({"norms": ["l2"]}, "limits go with the norm linf"),
        ({"largest": 2}, "largest: must be true or false"),
    ],
)
def test_bad_input_is_a_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write_files(tmp_path)
    with pytest.raises(InputError) as error:
        run(CASES["robustness"].file(tmp_path, **{**MEANS, **changes}), tmp_path / "out")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_ids_of_the_first_version_stay() -> None:
    """An older run's blocks are found again; what is new has ids of its own."""
    study = get_study("robustness")
    plain = {"kind": "robustness", "name": "n", "networks": [{"name": "n", "source": "s"}],
             "data": {"source": "s"}, "radii": [0.5]}  # fmt: skip
    known = {"radii": [0.5]}, {"radii": {"a": 1.0}, "factors": [0.5]}, {"flip": ["c"]}
    ids = []
    for changes in known:
        config = study.config.model_validate_json(json.dumps({**plain, **changes}))
        asked = asked_of(config, "linf")
        for radius in (0.5, None):
            block = Block("n", "d", "c", asked, radius, "exact", 7, 0, ("y",), True, 3)
            ids.append(block.id)
    assert ids[0] == "3b0416d2bacb9bf8"
    assert len(set(ids)) == 6


def test_results_of_the_first_version_are_read(whole: Path, tmp_path: Path) -> None:
    out = copied(whole, tmp_path / "out")
    folder, schema = RunFolder.open(out), get_study("robustness").rows
    for name in folder.files("results", ".parquet"):
        table = folder.read_table(name)
        folder.write_table(name, table.drop_columns(list(schema.later)))
    rows = read_results(folder, schema).to_pylist()
    assert len(rows) == 4 * N
    assert all(row["shape"] is None and row["largest"] is None for row in rows)
