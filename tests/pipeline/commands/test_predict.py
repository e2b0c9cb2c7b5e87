"""`qnn predict`: what Python's `predict` says of the same rows, from files as people write them."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.commands.cli import main
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.layered import LayeredNetwork
from qnn.networks.quantized import QuantizedNetwork
from tests.qnn.networks.exports.cases import network, random_network, unseen

WARNS = pytest.mark.filterwarnings("ignore:categories that were not seen")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def qnn(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["qnn", "predict", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def written(rows: dict[str, Any], separator: str = ",", comma: bool = False) -> str:
    """The rows as a CSV file, numbers with a decimal point or comma, a missing one empty."""

    def cell(value: Any) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return ""
        return str(value).replace(".", ",") if comma and isinstance(value, float) else str(value)

    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(rows)
    writer.writerows([map(cell, row) for row in zip(*rows.values(), strict=True)])
    return text.getvalue()


def table(text: str) -> dict[str, list[str]]:
    header, *rows = csv.reader(io.StringIO(text))
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


@WARNS
@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b,c", "d"), (False, True), (1, 2, 3)])
@pytest.mark.parametrize(("separator", "comma"), [(",", False), (";", True), ("\t", False)])
def test_labels_and_scores_are_those_of_python(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    classes: tuple[Any, ...],
    separator: str,
    comma: bool,
) -> None:
    net, rows = network("thermometer", classes=classes), unseen()
    net.save(place / "net.npz")
    plain = {name: column.tolist() for name, column in rows.items()}
    plain["an id, kept"] = [f"C{k}" for k in range(len(rows["site"]))]
    (place / "rows.csv").write_text(written(plain, separator, comma), encoding="utf-8")
    asked = ["net.npz", "rows.csv", "--scores", "--keep", "an id, kept"]
    assert qnn(monkeypatch, *asked) == 0
    shown = capsys.readouterr()
    found = table(shown.out)
    assert found["prediction"] == [str(label) for label in net.predict(rows).tolist()]
    assert found["an id, kept"] == plain["an id, kept"]
    each = net.class_scores(rows)
    named = ["score"] if each.ndim == 1 else [f"score {label}" for label in classes]
    assert list(found) == ["an id, kept", "prediction", *named]
    scores = np.array([found[name] for name in named], dtype=float)
    assert np.array_equal(scores, each.T if each.ndim == 2 else each[None])
    told = "warning: categories that were not seen in training: 'site' in 1 rows"
    assert shown.err.splitlines() == [told]
    # And to a file, which is said.
    assert qnn(monkeypatch, *asked, "--out", "said.csv") == 0
    assert capsys.readouterr().out == "said.csv\n"
    assert (place / "said.csv").read_text(encoding="utf-8") == shown.out
    assert qnn(monkeypatch, *asked, "--strict", "--out", "strict.csv") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: rows.csv: categories that were not seen in training: 'site' in")
    assert not (place / "strict.csv").exists()


@WARNS
def test_parquet_goes_in_and_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, rows = network("standardize", classes=(1, 2, 3)), unseen()
    net.save(place / "net.npz")
    own = pa.table({name: pa.array(column.tolist()) for name, column in rows.items()})
    # What no network reads may be of any type.
    own = own.append_column("more", pa.array([[k] for k in range(len(own))]))
    pq.write_table(own, place / "rows.parquet")
    asked = ["net.npz", "rows.parquet", "--out", "said.parquet", "--keep", "more"]
    assert qnn(monkeypatch, *asked) == 0
    said = pq.read_table(place / "said.parquet")
    assert said["prediction"].to_pylist() == net.predict(rows).tolist()
    assert said["more"].to_pylist() == own["more"].to_pylist()


@pytest.mark.parametrize("trained", ["words", "numbers"])
@pytest.mark.parametrize("kind", ["true.csv", "True.csv", "parquet"])
def test_true_and_false_are_read_alike_from_any_file(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trained: str,
    kind: str,
) -> None:
    flags = [k % 3 == 0 for k in range(12)]
    columns: dict[str, Any] = {"open": np.array(flags, dtype=float), "size": np.arange(12.0)}
    if trained == "words":
        columns["open"] = np.array([str(flag).lower() for flag in flags], dtype=object)
    layout = FeatureLayout.from_table(
        columns, categorical=["open"] if trained == "words" else [], missing="impute"
    )
    prepared = layout.fit(columns, np.array(list("ab" * 6)), ["a", "b"])
    alpha = np.random.default_rng(3).normal(size=9)
    net = random_network(layout.d, "bilinear", "binary", alpha, prepared)
    said = net.predict(columns).tolist()
    assert set(said) == {"a", "b"}
    net.save(place / "net.npz")
    rows = {"open": flags, "size": [float(k) for k in range(12)]}
    if kind == "parquet":
        pq.write_table(pa.table(rows), place / "rows.parquet")
    else:
        spelt = [str(flag) if kind == "True.csv" else str(flag).lower() for flag in flags]
        (place / "rows.csv").write_text(written({**rows, "open": spelt}))
    if (trained, kind) == ("words", "True.csv"):
        # Text is its own category, as in training.
        assert qnn(monkeypatch, "net.npz", "rows.csv", "--strict") == 2
        return
    assert qnn(monkeypatch, "net.npz", "rows." + kind.rpartition(".")[2]) == 0
    shown = capsys.readouterr()
    assert (table(shown.out)["prediction"], shown.err) == (said, "")


def test_words_for_missing_values_are_the_networks(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {
        "size": np.array(["1.5", "?", "2", "-3", "0.25", "NA"], dtype=object),
        "land": np.array(["NA", "CH", "?", "NA", "CH", None], dtype=object),
    }
    layout = FeatureLayout.from_table(
        columns, categorical=["land"], missing="impute", missing_values=("?",)
    )
    prepared = layout.fit(columns, np.array(list("ababab")), ["a", "b"])
    net = random_network(layout.d, "bilinear", "binary", np.array([1.0, -0.7, 0.4]), prepared)
    net.save(place / "net.npz")
    (place / "rows.csv").write_text(written(columns))
    assert qnn(monkeypatch, "net.npz", "rows.csv", "--strict") == 0
    assert table(capsys.readouterr().out)["prediction"] == net.predict(columns).tolist()


def test_targets_have_a_column_each_and_no_rows_give_none(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = network("quantile", classes=None, outputs=2)
    net.save(place / "net.npz")
    rows = {name: column[:6] for name, column in unseen().items()}
    (place / "rows.csv").write_text(written({k: v.tolist() for k, v in rows.items()}))
    assert qnn(monkeypatch, "net.npz", "rows.csv") == 0
    found = table(capsys.readouterr().out)
    predicted = np.array([found["prediction 0"], found["prediction 1"]], dtype=float)
    assert np.array_equal(predicted.T, net.predict(rows))
    (place / "none.csv").write_text('number,site,count,"long, name"\n')
    assert qnn(monkeypatch, "net.npz", "none.csv") == 0
    assert capsys.readouterr().out == "prediction 0,prediction 1\n"


def test_a_network_without_preprocessing_takes_all_columns_as_numbers(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    X = np.random.default_rng(1).normal(size=(5, 3))
    U = np.array([[1, -1], [1, 1], [-1, 1]])
    net = QuantizedNetwork(U, -U, np.array([0.5, -2.0]))
    net.save(place / "net.npz")
    (place / "rows.csv").write_text(written({f"x{j}": X[:, j].tolist() for j in range(3)}))
    assert qnn(monkeypatch, "net.npz", "rows.csv") == 0
    found = np.array(table(capsys.readouterr().out)["prediction"], dtype=float)
    assert np.array_equal(found, net.predict(X))


def test_what_is_kept_and_the_target_are_no_inputs_of_a_plain_network(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    X = np.random.default_rng(1).normal(size=(5, 3))
    U = np.array([[1, -1], [1, 1], [-1, 1]])
    plain = QuantizedNetwork(U, -U, np.array([0.5, -2.0]))
    plain.save(place / "plain.npz")
    weights = (np.array(U, dtype=float), np.array([[1.0], [-2.0]]))
    layered = LayeredNetwork(weights, (np.zeros(2), np.zeros(1)))
    layered.save(place / "layered.npz")
    columns = {f"x{j}": X[:, j].tolist() for j in range(3)}
    names = [f"C{k}" for k in range(5)]
    more = {"id": names, **columns, "target": ["a", "b", "a", "b", "a"]}
    (place / "rows.csv").write_text(written(more))
    for name, net in (("plain.npz", plain), ("layered.npz", layered)):
        assert qnn(monkeypatch, name, "rows.csv", "--keep", "id", "--keep", "target") == 0
        found = table(capsys.readouterr().out)
        assert list(found) == ["id", "target", "prediction"]
        assert found["id"] == names
        expected = net.predict(X).tolist()
        assert [float(one) for one in found["prediction"]] == pytest.approx(expected)
    # An input is kept too, as long as it is not one too many.
    (place / "rows.csv").write_text(written(columns))
    assert qnn(monkeypatch, "plain.npz", "rows.csv", "--keep", "x1") == 0
    assert list(table(capsys.readouterr().out)) == ["x1", "prediction"]
    (place / "rows.csv").write_text(written(more))
    assert qnn(monkeypatch, "plain.npz", "rows.csv") == 2
    assert "has 4 columns beside the labels, but the network reads 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("classes", "kept"),
    [
        (("no", "yes"), "score"),
        (("no", "yes"), "prediction"),
        (("a", "b", "c"), "score b"),
        (None, "prediction 1"),
    ],
)
def test_no_column_that_is_kept_is_lost_to_an_answer(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    classes: tuple[str, ...] | None,
    kept: str,
) -> None:
    net = network("standardize", classes=classes, outputs=None if classes else 2)
    net.save(place / "net.npz")
    rows = {name: column[:3].tolist() for name, column in unseen().items()}
    (place / "rows.csv").write_text(written({**rows, kept: ["u", "v", "w"]}))
    asked = ["net.npz", "rows.csv", "--keep", kept, *(["--scores"] if classes else [])]
    assert qnn(monkeypatch, *asked) == 2
    shown = capsys.readouterr()
    said = f"--keep: {kept!r} is what a column of the answers is called"
    assert (shown.out, shown.err) == ("", f"error: rows.csv: {said}\n")
    # Where no answer is called so, it stays.
    if kept.startswith("score"):
        assert qnn(monkeypatch, *asked[:4]) == 0
        assert table(capsys.readouterr().out)[kept] == ["u", "v", "w"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.npz", "none.csv"], "none.csv: no such file"),
        (["none.npz", "rows.csv"], "none.npz: "),
        (["rows.csv", "net.npz"], "rows.csv: "),
        (["net.npz", "rows.csv", "--out", "x.txt"], "x.txt: --out must end in .csv or .parquet"),
        (["net.npz", "rows.csv", "--out", "no/x.csv"], "no/x.csv: its folder does not exist"),
        (["net.npz", "rows.csv", "--out", "rows.csv"], "rows.csv: is the data itself"),
        (["a.parquet", "rows.csv", "--out", "a.parquet"], "a.parquet: is the network itself"),
        (["net.npz", "rows.csv", "--keep", "id"], "rows.csv: --keep: no column 'id' (columns: "),
        (["net.npz", "text.csv"], "text.csv: column 'number' should be numeric, but row 1 holds"),
        (["net.npz", "lacks.csv"], "lacks.csv: columns missing from the data: site, long, name"),
        (["net.npz", "comma.csv"], "comma.csv: column 'number' looks like numbers with a comma"),
        (["net.npz", "rows.csv", "--set", "data.missing=impute"], "--set data.missing: only how"),
        (["net.npz", "rows.csv", "--set", "data.decimal=x"], "--set: data.decimal: must be "),
        (["net.npz", "rows.csv", "--set", "data.separator=;"], "rows.csv: columns missing from"),
        (["regression.npz", "rows.csv", "--scores"], "rows.csv: --scores: the network predicts"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    network("standardize").save(place / "net.npz")
    network("standardize").save(place / "a.parquet")
    network("standardize", classes=None).save(place / "regression.npz")
    header = 'number,site,count,"long, name"\n'
    (place / "rows.csv").write_text(f"{header}1,a,2,3\n")
    (place / "text.csv").write_text(f"{header}one,a,2,3\n")
    (place / "lacks.csv").write_text("number,count\n1,2\n")
    (place / "comma.csv").write_text(f'{header}"1,234",a,2,3\n')
    before = {path: path.read_bytes() for path in place.iterdir()}
    assert qnn(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {said}")
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert {path: path.read_bytes() for path in place.iterdir()} == before


def test_how_a_file_is_written_can_be_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = network("standardize")
    net.save(place / "net.npz")
    (place / "rows.csv").write_text('number;site;count;"long, name"\n1,234;a;2;3\n')
    told = ["--set", "data.decimal=,", "--set", "data.separator=;"]
    assert qnn(monkeypatch, "net.npz", "rows.csv", "--scores", *told) == 0
    row = {"number": [1.234], "site": ["a"], "count": [2.0], "long, name": [3.0]}
    assert float(table(capsys.readouterr().out)["score"][0]) == net.scores(row)[0]
