"""`qnn robustness`: both sides of every row, proofs that `qnn verify` takes, one line on faults."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import qnn
from pipeline.commands.cli import app
from pipeline.datasets.examples import load_network
from pipeline.studies.robustness.asked import Asker
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Prover, Robustness
from tests.qnn.robustness.cases import layered

N = 24


def table() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    site = rng.choice(np.array(["north", "south"], dtype=object), N)
    return {"pressure": rng.normal(120.0, 15.0, N), "age": rng.uniform(20, 80, N), "site": site}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network with its preprocessing, and its rows as CSV and as Parquet."""
    place, rows = tmp_path_factory.mktemp("robustness"), table()
    ill = np.where(rows["pressure"] + 0.5 * rows["age"] > 145.0, "ill", "well").astype(object)
    ill[:2] = ill[1::-1]
    prepared = FeatureLayout.from_table(rows).fit(rows, ill, ("ill", "well"))
    problem = qnn.Problem(prepared.transform(rows), prepared.encode_target(ill), beta=1.0)
    own = qnn.train(problem, seed=0).network
    qnn.QuantizedNetwork(own.U, own.V, own.alpha, preprocessing=prepared).save(place / "net.npz")
    full = pa.table({**rows, "target": ill})
    pq.write_table(full, place / "rows.parquet")
    full.to_pandas().to_csv(place / "rows.csv", index=False)
    return place


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["robustness", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout


def verified(files: list[Path], network: Path, code: int = 0) -> str:
    arguments = ["verify", *map(str, files), "--data", str(network)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_rows_certificates_and_the_sentence(folder: Path, tmp_path: Path) -> None:
    out, proofs, net = tmp_path / "r.parquet", tmp_path / "proofs", folder / "net.npz"
    said = run(net, folder / "rows.csv", "--radius", "0.1", "--unit", "scale", "--out", out,
               "--certificates", proofs)  # fmt: skip
    rows, network = pq.read_table(out).to_pylist(), load_network(net)
    assert isinstance(network, qnn.QuantizedNetwork)
    prover, data = Prover(network), pq.read_table(folder / "rows.parquet").to_pylist()
    answers = network.predict(table())
    for row, raw, answer in zip(rows, data, answers, strict=True):
        label = raw.pop("target")
        found = prover.certify(raw, 0.1, label=label, unit="scale")
        assert (row["status"], row["proven"]) == (found.verdict, found.lower_bound)
        assert (row["label"], row["predicted"]) == (label, answer)
        assert row["correct"] == (label == answer)
        assert row["proven"] <= row["attack"] == found.upper_bound
        assert (row["certificate"] is None) == (row["status"] != "robust")
    proven = [row for row in rows if row["status"] == "robust"]
    assert {row["status"] for row in rows} >= {"robust", "vulnerable"}
    assert f"{100 * np.mean([row['correct'] for row in rows]):.4g} % correct" in said
    assert f"{100 * len(proven) / N:.4g} % provably correct whatever" in said
    held = np.mean([row["correct"] and row["status"] != "vulnerable" for row in rows])
    assert f"{100 * held:.4g} % against our best attack" in said
    files = sorted(proofs.iterdir())
    assert [file.name for file in files] == [row["certificate"] for row in proven]
    assert f"--data {net}" in said
    assert f"{len(files)} files, all verified" in verified(files, net)


def test_an_own_onnx_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    W, V = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "V"], ["y"])]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
            for name, size in (("x", 4), ("y", 3))]  # fmt: skip
    constants = [numpy_helper.from_array(array, name) for array, name in ((W, "W"), (V, "V"))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    X = rng.normal(size=(8, 4))
    labels = np.argmax(np.maximum(X @ W, 0.0) @ V, axis=1)
    columns = {f"c{j}": X[:, j] for j in range(4)}
    pq.write_table(pa.table({"kind": labels, **columns}), tmp_path / "x.parquet")
    proofs = tmp_path / "proofs"
    said = run(tmp_path / "net.onnx", tmp_path / "x.parquet", "--radius", "0.05", "--target",
               "kind", "--certificates", proofs, "--limits", "-9", "9", "--limit", "6")  # fmt: skip
    assert said.startswith("100 % correct")
    assert "\n6 rows" in said
    network = proofs / "network.npz"
    assert isinstance(load_network(network), LayeredNetwork)
    files = sorted(proofs.glob("row-*.npz"))
    assert files
    assert f"{len(files)} files, all verified" in verified(files, network)
    layered(rng, [4, 5, 3]).save(tmp_path / "other.npz")
    assert "FAILED" in verified(files, tmp_path / "other.npz", code=1)


def test_without_labels_the_network_s_own_answers_are_asked_about(
    folder: Path, tmp_path: Path
) -> None:
    pq.write_table(pa.table(table()), tmp_path / "raw.parquet")
    said = run(folder / "net.npz", tmp_path / "raw.parquet", "--radius", "0", "--limit", "3")
    assert said.startswith("100 % provably answered alike whatever happens within ±0 of each")


def test_radii_by_column_by_range_and_flips(folder: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "r.parquet", folder / "rows.parquet"
    net, prover = folder / "net.npz", Prover(load_network(folder / "net.npz"))
    said = run(net, data, "--radius", "age=0.02", "--unit", "range", "--flip", "site",
               "--out", out, "--limit", "4")  # fmt: skip
    assert "±2 % of the range of age, any site" in said
    span = float(np.ptp(table()["age"]))
    for row, raw in zip(pq.read_table(out).to_pylist(), pq.read_table(data).to_pylist()[:4],
                        strict=True):  # fmt: skip
        label = raw.pop("target")
        found = prover.certify(raw, {"age": 0.02 * span}, label=label, choices={"site": True})
        assert (row["status"], row["proven"]) == (found.verdict, found.lower_bound)
        assert row["radius"] is None
    said = run(net, data, "--radius", "1", "--norm", "l2", "--limit", "2")
    assert "within the ellipsoid with the axes ±1 of each column" in said


def test_the_largest_factor_of_each_row_with_valid_values(folder: Path, tmp_path: Path) -> None:
    out, data, proofs = tmp_path / "r.parquet", folder / "rows.parquet", tmp_path / "proofs"
    net, prover = folder / "net.npz", Prover(load_network(folder / "net.npz"))
    said = run(net, data, "--radius", "age=10", "--radius", "pressure=5", "--flip", "site",
               "--valid", "age=0:80", "--largest", "--out", out, "--certificates", proofs,
               "--limit", "6")  # fmt: skip
    rows = pq.read_table(out).to_pylist()
    for row, raw in zip(rows, pq.read_table(data).to_pylist()[:6], strict=True):
        label, factor = raw.pop("target"), row["largest_proven"]
        if factor == 0.0:
            assert row["largest_certificate"] is None
            assert row["largest_attacked"] == 0.0
            continue
        radius = {"age": 10.0 * factor, "pressure": 5.0 * factor}
        found = prover.certify(raw, radius, label=label, limits={"age": (0.0, 80.0)},
                               choices={"site": True})  # fmt: skip
        assert found.verdict == "robust"
        assert factor < row["largest_attacked"] <= 1.002 * factor
        assert (row["status"] == "robust") == (factor >= 1.0)
    middle = sorted(row["largest_proven"] for row in rows)[2]
    assert f"half of the rows provably hold up to {middle:.4g} times ±10 of age" in said
    files = sorted(proofs.iterdir())
    named = [row[name] for row in rows for name in ("certificate", "largest_certificate")]
    assert sorted(name for name in named if name) == [file.name for file in files]
    assert f"{len(files)} files, all verified" in verified(files, net)


def test_a_share_that_is_required(folder: Path) -> None:
    arguments = (folder / "net.npz", folder / "rows.csv", "--radius", "0.5", "--unit", "scale")
    run(*arguments, "--require", "1")
    run(*arguments, "--require", "100", code=1)


def refused(folder: Path, tmp_path: Path, *more: object, net: object = None) -> str:
    arguments = [net or folder / "net.npz", *more]
    if "--radius" not in more:
        arguments += ["--radius", "1"]
    out, proofs = tmp_path / "out.parquet", tmp_path / "proofs"
    arguments += ["--out", out, "--certificates", proofs]
    result = CliRunner().invoke(app, ["robustness", *map(str, arguments)])
    assert isinstance(result.exception, InputError), result.output
    assert not out.exists()
    assert not proofs.exists()
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_bad_input_is_a_line(folder: Path, tmp_path: Path) -> None:
    data = folder / "rows.csv"
    lines = data.read_text().splitlines()
    bad = tmp_path / "bad.csv"
    assert refused(folder, tmp_path, bad).endswith("bad.csv: no such file")
    bad.write_text("\n".join([*lines[:3], "x,1.0,north,ill"]))
    assert "row 3 holds" in refused(folder, tmp_path, bad)
    bad.write_text("\n".join([*lines[:3], "1.0,1.0,north,odd"]))
    assert "row 3 has the label 'odd' in 'target'" in refused(folder, tmp_path, bad)
    bad.write_text("\n".join([*lines[:3], "1.0,1.0,north,"]))
    assert "the label 'target' is missing in 1 row (first: row 3)" in refused(folder, tmp_path, bad)
    bad.write_text("\n".join([*lines[:3], ",1.0,north,ill"]))
    assert "missing values" in refused(folder, tmp_path, bad)
    bad.write_text(lines[0] + "\n")
    assert "has no rows" in refused(folder, tmp_path, bad)
    bad.write_text("pressure,site,target\n1,north,ill")
    assert "columns missing" in refused(folder, tmp_path, bad)
    assert "no column 'y'" in refused(folder, tmp_path, data, "--target", "y")
    for radius in ("-1", "nan", "inf", "x", "age=", "age=-1"):
        assert "--radius: must be a number" in refused(folder, tmp_path, data, "--radius", radius)
    twice = ("--radius", "1", "--radius", "age=2")
    assert "one number for all columns" in refused(folder, tmp_path, data, *twice)
    assert "no numeric column 'site'" in refused(folder, tmp_path, data, "--radius", "site=1")
    assert "no categorical column 'age'" in refused(folder, tmp_path, data, "--flip", "age")
    limits = ("--norm", "l2", "--limits", "0", "1")
    assert "limits of values go with the norm linf" in refused(folder, tmp_path, data, *limits)
    assert "outside its limits" in refused(folder, tmp_path, data, *limits[2:])
    for valid in ("age", "age=1", "age=2:1", "age=x:1", "=0:1", "age=nan:1"):
        assert "--valid: must be COLUMN=LOW:HIGH" in refused(
            folder, tmp_path, data, "--valid", valid
        )
    twice = ("--valid", "age=0:99", "--valid", "age=0:98")
    assert "once a column" in refused(folder, tmp_path, data, *twice)
    assert "no numeric column 'site'" in refused(folder, tmp_path, data, "--valid", "site=0:1")


def test_networks_that_cannot_be_asked(folder: Path, tmp_path: Path) -> None:
    data, rng = folder / "rows.csv", np.random.default_rng(0)
    assert "no such" in refused(folder, tmp_path, data, net=tmp_path / "gone.npz").lower()
    assert "rows.csv" in refused(folder, tmp_path, data, net=data)
    layered(rng, [4, 3, 2]).save(tmp_path / "wide.npz")
    said = refused(folder, tmp_path, data, net=tmp_path / "wide.npz")
    assert "has 3 columns beside the labels, but the network reads 4" in said
    layered(rng, [3, 3, 2]).save(tmp_path / "fits.npz")
    assert "'site' should be numeric" in refused(folder, tmp_path, data, net=tmp_path / "fits.npz")
    rows = {"a": np.arange(9.0)}
    prepared = FeatureLayout.from_table(rows).fit(rows, np.arange(9.0), None)
    network = qnn.QuantizedNetwork(
        np.ones((2, 1)), np.ones((2, 1)), np.ones(1), preprocessing=prepared
    )
    network.save(tmp_path / "number.npz")
    pq.write_table(pa.table({"a": [1.0], "target": [2.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1.0]}), tmp_path / "b.parquet")
    for file in ("a.parquet", "b.parquet"):
        said = refused(folder, tmp_path, tmp_path / file, net=tmp_path / "number.npz")
        assert "predicts a number" in said


def test_a_folder_that_holds_something_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "proofs").mkdir()
    (tmp_path / "proofs" / "old").write_text("")
    arguments = [str(folder / "net.npz"), str(folder / "rows.csv"), "--radius", "1"]
    for option, place, said in (
        ("--certificates", "proofs", "no empty folder"), ("--out", "no/x", "does not exist"),
    ):  # fmt: skip
        more = [option, str(tmp_path / place)]
        result = CliRunner().invoke(app, ["robustness", *arguments, *more])
        assert said in str(result.exception)
    assert [path.name for path in (tmp_path / "proofs").iterdir()] == ["old"]


def test_what_is_read_is_not_written_over_and_a_folder_is_no_file(
    folder: Path, tmp_path: Path
) -> None:
    net, data = folder / "net.npz", folder / "rows.parquet"
    linked = tmp_path / "linked.parquet"
    linked.symlink_to(data)
    for out, said in (
        (net, "is the network itself"), (data, "is the data itself"), (linked, "is the data"),
        (tmp_path, "is a folder"), (tmp_path / "images", "is the images' file"),
        (tmp_path / "deviations", "is the deviations' file"),
    ):  # fmt: skip
        (tmp_path / "images").write_text("")
        (tmp_path / "deviations").write_text("")
        more = ["--out", out]
        if "images'" in said or "deviations'" in said:
            more += ["--images", tmp_path / "images", "--deviations", tmp_path / "deviations"]
        before = out.read_bytes() if out.is_file() else b""
        result = CliRunner().invoke(
            app, ["robustness", *map(str, [net, data, "--radius", "1", "--limit", "1", *more])]
        )
        assert isinstance(result.exception, InputError), result.output
        assert said in str(result.exception)
        assert not out.is_file() or out.read_bytes() == before


def test_a_row_that_cannot_be_asked_about_is_said_before_any_is_decided(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = table()["pressure"]
    order = np.argsort(pressure)
    rows = pq.read_table(folder / "rows.parquet").take(pa.array(order))
    pq.write_table(rows, tmp_path / "sorted.parquet")
    highest = pressure[order[-3]]
    monkeypatch.setattr(Asker, "certify", lambda *given: pytest.fail("a row was decided"))
    more = ("--radius", "0.01", "--valid", f"pressure=0:{highest}")
    said = refused(folder, tmp_path, tmp_path / "sorted.parquet", *more)
    assert f"sorted.parquet, row {N - 1}: the row's pressure lies outside its limits" in said
    assert not list(tmp_path.glob(".*"))


def test_nothing_stays_of_rows_that_stop_half_way_and_no_folder_where_none_is_proven(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, proofs = folder / "net.npz", tmp_path / "proofs"
    arguments = [net, folder / "rows.csv", "--radius", "0.01", "--limit", "3"]
    said = run(*arguments[:2], "--radius", "1e9", "--limit", "3", "--certificates", proofs)
    assert "\n0 certificates: -\n" in said
    assert not proofs.exists()
    certify = Asker.certify

    def stopped(self: Asker, index: int, factor: float = 1.0) -> Robustness:
        if index == 2:
            raise KeyboardInterrupt
        return certify(self, index, factor)

    monkeypatch.setattr(Asker, "certify", stopped)
    CliRunner().invoke(app, ["robustness", *map(str, [*arguments, "--certificates", proofs])])
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    proofs.mkdir()
    run(*arguments, "--certificates", proofs)
    assert sorted(path.name for path in proofs.iterdir()) == [f"row-{k:06d}.npz" for k in range(3)]
