import csv
import io
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.exports import export_network, to_c, to_onnx
from qnn.networks.quantized import QuantizedNetwork
from tests.qnn.networks.exports.cases import (
    KINDS,
    SCALINGS,
    network,
    random_network,
    tolerance,
    unseen,
)
from tests.qnn.networks.exports.test_onnx import run as onnx_outputs

DATA = Path(__file__).parents[3] / "data"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")


def build(net: QuantizedNetwork, folder: Path) -> Path:
    header, example = export_network(net, "c", folder / "network.h")
    assert header.name == "network.h"
    program = folder / "predict"
    done = subprocess.run(
        ["gcc", *FLAGS, "-o", str(program), str(example), "-lm"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return program


def to_csv(rows: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    # Another order than the network's, and a column that it does not know.
    names = ["label", *reversed(list(rows))]
    writer.writerow(names)
    for i in range(len(rows[names[1]])):
        cells = [rows[name][i] for name in names[1:]]
        writer.writerow(["?", *("" if c is None or c != c else c for c in cells)])
    return text.getvalue()


def run(program: Path, text: str, option: str = "--scores") -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(program), option], input=text, capture_output=True, text=True)


def outputs(program: Path, text: str) -> tuple[np.ndarray, list[str]]:
    done = run(program, text)
    assert done.returncode == 0, done.stderr
    pairs = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return np.array([float(score) for score, _ in pairs]), [label for _, label in pairs]


def several(program: Path, text: str, count: int) -> tuple[np.ndarray, list[str]]:
    done = run(program, text)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", count) for line in done.stdout.splitlines()]
    return np.array([line[:count] for line in lines], dtype=float), [line[count] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(("activation", "alphabet"), KINDS)
def test_the_program_agrees(scaling: str, activation: str, alphabet: str, tmp_path: Path) -> None:
    net = network(scaling, activation, alphabet)
    rows = unseen()
    score, labels = outputs(build(net, tmp_path), to_csv(rows))
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))
    assert labels == net.predict(rows).tolist()


@pytest.mark.parametrize("activation", ["bilinear", "polynomial"])
@pytest.mark.parametrize("scaling", ["standardize", "thermometer"])
def test_the_program_agrees_for_several_classes(
    scaling: str, activation: str, tmp_path: Path
) -> None:
    # More outputs than a word of the map has bits.
    classes = ("b,c", 'say "x"', *map(str, range(68)))
    net = network(scaling, activation, "3", classes=classes)
    rows = unseen()
    score, labels = several(build(net, tmp_path), to_csv(rows), 70)
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))
    assert labels == net.predict(rows).tolist()
    assert len(set(labels)) > 1


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("second_layer", ["float", "common", "3"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_every_scaling_goes_with_every_second_layer(
    scaling: str, second_layer: str, outputs: int, tmp_path: Path
) -> None:
    """Headers of several outputs have names that those of one have not."""
    classes = ("a", "b", "c") if outputs == 3 else ("a", "b")
    net = network(scaling, "bilinear", "2", classes=classes)
    size = np.abs(net.alpha).max()
    steps = np.where(net.alpha == 0.0, 0.0, np.sign(net.alpha))
    net = replace(net, alpha=net.alpha if second_layer == "float" else size * steps)
    net = replace(net, second_layer=second_layer)
    rows = unseen()
    score, labels = several(build(net, tmp_path), to_csv(rows), outputs)
    expected = net.scores(rows).reshape(len(score), outputs)
    np.testing.assert_allclose(score, expected, rtol=0, atol=tolerance(net, rows))
    assert labels == net.predict(rows).tolist()


@pytest.mark.parametrize("second_layer", ["3", "8"])
def test_steps_of_a_grid_are_no_common_size(second_layer: str, tmp_path: Path) -> None:
    """A grid has one scalar as a common size has, but neurons count for different steps of it."""
    net = network("thermometer", alpha=0.25 * np.array([3.0, -1.0, 2.0]))
    net = replace(net, second_layer=second_layer)
    assert "int64_t total" not in to_c(net)
    score, labels = outputs(build(net, tmp_path), to_csv(unseen()))
    assert score.tobytes() == net.scores(unseen()).tobytes()
    assert labels == net.predict(unseen()).tolist()


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_a_score_of_exactly_zero_has_one_label(classes: tuple[str, ...], tmp_path: Path) -> None:
    net = network("standardize", classes=classes)
    net = replace(net, alpha=np.zeros_like(net.alpha))
    rows = unseen()
    score, labels = several(build(net, tmp_path), to_csv(rows), score_columns(classes))
    assert not score.any()
    assert labels == net.predict(rows).tolist()
    _, known = onnx_outputs(to_onnx(net), rows)
    assert labels == known.tolist()


def score_columns(classes: tuple[str, ...]) -> int:
    return 1 if len(classes) == 2 else len(classes)


@pytest.mark.parametrize("outputs", [1, 3])
def test_several_targets_are_predicted_in_their_units(outputs: int, tmp_path: Path) -> None:
    net = network("standardize", classes=None, outputs=outputs)
    rows = unseen()
    score, predicted = several(build(net, tmp_path), to_csv(rows), outputs)
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))
    found = np.array([text.split(" ") for text in predicted], dtype=float)
    np.testing.assert_allclose(found, net.predict(rows), atol=3 * tolerance(net, rows))


def test_exact_sums_of_several_outputs_agree_to_the_last_bit(tmp_path: Path) -> None:
    alpha = np.array([[0.5, 0.0, 0.0], [-0.25, 2.0, 0.0], [0.0, 0.5, 0.0]])
    net = network("thermometer", classes=("a", "b", "c"), alpha=alpha)
    header = to_c(net)
    assert "qnn_alpha[4] = {\n    0.5, -0.25, 2.0, 0.5\n}" in header
    assert "{UINT64_C(0x0000000000000003)}" in header
    score, _ = several(build(net, tmp_path), to_csv(unseen()), 3)
    assert score.tobytes() == net.scores(unseen()).tobytes()


@pytest.mark.parametrize("preprocessed", [True, False])
def test_several_outputs_without_neurons_say_0(preprocessed: bool, tmp_path: Path) -> None:
    alpha = np.zeros((0, 3))
    if preprocessed:
        net, text = network("none", classes=("c", "a", "b"), alpha=alpha), to_csv(unseen())
    else:
        net, text = random_network(2, "bilinear", "binary", alpha), "x0,x1\n1,2\n"
    score, predicted = several(build(net, tmp_path), text, 3)
    assert not score.any()
    assert set(predicted) == ({"c"} if preprocessed else {"0 0 0"})


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [[0.5, -0.25, 2.0], [0.5, -0.5, 0.5]], ids=["own", "common"])
@pytest.mark.parametrize("alphabet", ["binary", "ternary"])
def test_exact_sums_agree_to_the_last_bit(
    alpha: list[float], alphabet: str, tmp_path: Path
) -> None:
    net = network("thermometer", alphabet=alphabet, alpha=np.array(alpha))
    header = to_c(net)
    assert ("int64_t total" in header) == (alpha[0] == -alpha[1])
    score, _ = outputs(build(net, tmp_path), to_csv(unseen()))
    assert score.tobytes() == net.scores(unseen()).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"clip": 0.5},
        {"bias": False},
        {"bias": 32},
        {"classes": None},
        {"alpha": np.zeros(0)},
        {"columns": ("long, name", "site")},
        {"columns": ("count",)},
    ],
    ids=str,
)
@pytest.mark.parametrize("scaling", ["standardize", "thermometer"])
def test_options(options: dict[str, Any], scaling: str, tmp_path: Path) -> None:
    if scaling == "thermometer" and "clip" in options:
        options = {"classes": (0, 1)}
    net = network(scaling, **options)
    rows = unseen()
    score, predicted = outputs(build(net, tmp_path), to_csv(rows))
    np.testing.assert_allclose(score, net.scores(rows), rtol=0, atol=tolerance(net, rows))
    if net.preprocessing is not None and net.preprocessing.classes is None:
        found = [float(text) for text in predicted]
        np.testing.assert_allclose(found, net.predict(rows), atol=3 * tolerance(net, rows))
    else:
        assert predicted == [str(label) for label in net.predict(rows)]


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["standardize", "thermometer"])
@pytest.mark.parametrize("name", ["wdbc", "german_credit", "digits"])
def test_real_test_rows(name: str, scaling: Any, tmp_path: Path) -> None:
    if name != "german_credit":
        bunch = (load_digits if name == "digits" else load_breast_cancer)(as_frame=True)
        table, target = bunch.data, bunch.target.to_numpy()
    else:
        table = pd.read_csv(DATA / "german_credit.csv")
        target = table.pop("target").to_numpy()
    train, test = np.arange(len(table)) % 5 > 0, np.arange(len(table)) % 5 == 0
    layout = FeatureLayout.from_table(table[train], scaling=scaling)
    prepared = layout.fit(table[train], target[train], list(np.unique(target)))
    shape = prepared.target.shape
    alpha = np.random.default_rng(1).standard_normal((30, *shape))
    net = random_network(layout.d, "bilinear", "binary", alpha, prepared)
    program, text = build(net, tmp_path), table[test].to_csv(index=False)
    score, labels = several(program, text, *shape) if shape else outputs(program, text)
    np.testing.assert_allclose(
        score, net.scores(table[test]), rtol=0, atol=tolerance(net, table[test])
    )
    assert labels == [str(label) for label in net.predict(table[test])]


@pytest.mark.slow
def test_without_preprocessing_columns_are_numbered(tmp_path: Path) -> None:
    net = random_network(3, "bilinear", "binary", np.array([1.5]))
    X = np.random.default_rng(2).standard_normal((5, 3))
    text = "x0,x1,x2\n" + "\n".join(",".join(map(repr, row)) for row in X.tolist()) + "\n"
    score, predicted = outputs(build(net, tmp_path), text)
    np.testing.assert_allclose(score, net.decision_function(X), rtol=1e-13)
    assert [float(text) for text in predicted] == score.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "error: no line of column names"),
        ("number,site,count\n1,a,2\n", "error: no column is called long, name"),
        ("number,site,count,\"long, name\"\n1,a,2\n", "error: row 1 has not 4 cells"),
        ("number,site,count,\"long, name\"\n1,a,2,x3\n", "column long, name: cannot read 'x3'"),
        ("number,site,count,\"long, name\"\n,a,2,3\n", "column number: cannot read ''"),
        ("number,site,count,\"long, name\"\n1,,2,3\n", "column site: cannot read ''"),
        ("number,site,count,\"long, name\"\ninf,a,2,3\n", "column number: cannot read 'inf'"),
    ],
)  # fmt: skip
def test_the_program_says_what_it_cannot_read(text: str, said: str, tmp_path: Path) -> None:
    done = run(build(network("standardize", missing="refuse"), tmp_path), text)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_a_boolean_as_text_is_refused_with_what_to_write(tmp_path: Path) -> None:
    rows = {"flag": np.array([True, False, True, True]), "site": np.array(["a", "b", "a", "b"])}
    layout = FeatureLayout.from_table(pd.DataFrame(rows), scaling="standardize")
    prepared = layout.fit(pd.DataFrame(rows), np.array([0, 1, 1, 0]), [0, 1])
    program = build(random_network(layout.d, "bilinear", "binary", np.ones(2), prepared), tmp_path)
    frame = pd.DataFrame(rows)
    done = run(program, frame.to_csv(index=False))
    told = "row 1, column flag: cannot read 'True' (a number is expected: write 1 for true, 0 for "
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    labels = outputs(program, frame.astype({"flag": float}).to_csv(index=False))[1]
    assert len(labels) == 4
    # Other text, and a column of categories, have nothing to do with it.
    assert run(program, "flag,site\nx,a\n").stderr.endswith("cannot read 'x'\n")
    assert run(program, "flag,site\n1,True\n").returncode == 0


def test_rows_are_read_as_csv_files_are_written(tmp_path: Path) -> None:
    names = ["two\nlines", '5" pipe', "a, b", 'says "yes"', " x "]
    rows = {"count": np.array([1.0, 2, 3, 4, 5, 6]), "kind": np.array([*names, "two\nlines"])}
    layout = FeatureLayout.from_table(pd.DataFrame(rows), scaling="standardize")
    prepared = layout.fit(pd.DataFrame(rows), np.array([0, 1, 1, 0, 1, 0]), [0, 1])
    net = random_network(layout.d, "bilinear", "binary", np.ones(2), prepared)
    program, frame = build(net, tmp_path), pd.DataFrame(rows)
    score = net.scores(frame)
    text = frame.to_csv(index=False)
    # As pandas writes it; as Excel does; quotes that stand inside a cell; a blank line at the end.
    bare = text.replace('"5"" pipe"', '5" pipe')
    assert bare != text
    for written in (text, "\ufeff" + text, text.replace("\n3", "\r\n3"), bare, text + "\n\n"):
        found, _ = outputs(program, written)
        np.testing.assert_allclose(found, score, rtol=1e-13)
        assert run(program, written).stderr == ""
    done = run(program, 'count,kind\n1,"two\nlines\n')
    assert (done.returncode, done.stdout) == (2, "")
    assert "leaves a quote open" in done.stderr


def test_an_option_that_it_does_not_know_ends_the_program(tmp_path: Path) -> None:
    net = random_network(3, "bilinear", "binary", np.array([1.5]))
    done = run(build(net, tmp_path), "x0,x1,x2\n1,2,3\n", "--score")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage:" in done.stderr


def test_no_text_of_a_user_leaves_its_literal() -> None:
    header = to_c(network("standardize", classes=('*/ "', "\n??/")))
    assert '"*/ \\042" : ' not in header
    assert 'score > 0.0 ? "\\012\\077\\077/" : "*/ \\042"' in header
    assert header.isascii()


def test_what_it_cannot_express_is_refused(tmp_path: Path) -> None:
    net = network("none")
    with pytest.raises(InputError, match=r"net.txt: a file of format c must end in .h$"):
        export_network(net, "c", tmp_path / "net.txt")
    with pytest.raises(InputError, match=r"^format 'java' is not known: choose one of onnx, c, js"):
        export_network(net, "java", tmp_path / "net.java")
    assert not list(tmp_path.iterdir())
