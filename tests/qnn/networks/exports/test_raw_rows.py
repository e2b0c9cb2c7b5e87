"""One rule for a raw row: training, predict, C and ONNX read words for missing values alike."""

import csv
import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.features.tables import MISSING_WORDS
from qnn.networks.exports import to_onnx
from qnn.networks.quantized import QuantizedNetwork
from tests.qnn.networks.exports.test_c_header import build, run

TRAINED = {
    "size": np.array(["1.5", "?", "2", "-3", "0.25", "NA", "7", "1"], dtype=object),
    "shop": np.array(["x", "y", "?", "x", "z", None, "y", "NA x"], dtype=object),
}
CELLS = ["", "NA", "?", "NaN", "null", "#N/A", "1", "-2.5"]
SHOPS = ["x", "y", "z", "NA x", "", "NA", "?", "n/a", "elsewhere", "Zürich"]


def network(
    missing_values: tuple[str, ...] = ("?",), missing: str = "impute", **options: Any
) -> QuantizedNetwork:
    table = TRAINED if missing == "impute" else {k: v[[0, 3, 4, 7]] for k, v in TRAINED.items()}
    layout = FeatureLayout.from_table(
        table, categorical=["shop"], missing=missing, missing_values=missing_values, **options
    )
    preprocessing = layout.fit(table, np.array(list("abababab"))[: len(table["size"])], ["a", "b"])
    rng = np.random.default_rng(0)
    U, V = (rng.choice([-1, 1], (layout.d, 5)).astype(np.int8) for _ in range(2))
    return QuantizedNetwork(U, V, rng.normal(size=5), preprocessing=preprocessing)


def raw_rows() -> dict[str, np.ndarray]:
    pairs = [(cell, shop) for cell in CELLS for shop in SHOPS]
    columns = zip(*pairs, strict=True)
    return {
        name: np.array(column, dtype=object)
        for name, column in zip(("size", "shop"), columns, strict=True)
    }


def test_words_are_missing_in_training_and_no_categories() -> None:
    preprocessing = network().preprocessing
    assert preprocessing is not None
    assert preprocessing.layout.columns[1].categories == ("NA x", "x", "y", "z")
    assert preprocessing.fill == (1.25, "x")
    again = Preprocessing.from_json(preprocessing.to_json())
    assert again == preprocessing
    assert '"missing_values": ["?"]' in preprocessing.to_json()


def test_a_layout_without_words_of_its_own_is_written_as_before() -> None:
    layout = FeatureLayout.from_table({"a": [1.0, 2.0]})
    assert "missing_values" not in layout.record()
    assert layout.digest == FeatureLayout.from_table({"a": [1.0, 2.0]}, missing_values="?").digest


@pytest.mark.filterwarnings("ignore:categories that were not seen")
def test_the_same_raw_rows_have_the_same_labels_everywhere(tmp_path: Path) -> None:
    net, rows = network(), raw_rows()
    said = net.predict(rows).tolist()
    assert set(said) == {"a", "b"}
    words = set(MISSING_WORDS) | {"?"}
    plain = {
        "size": np.array([np.nan if c in words else float(c) for c in rows["size"]]),
        "shop": np.array([None if c in words else c for c in rows["shop"]], dtype=object),
    }
    assert net.predict(plain).tolist() == said
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows)
    writer.writerows(zip(*rows.values(), strict=True))
    done = run(build(net, tmp_path), text.getvalue())
    assert done.returncode == 0, done.stderr
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == said
    unseen = sum(shop in ("elsewhere", "Zürich") for shop in rows["shop"])
    assert f"warning: {unseen} cells hold categories that were not seen" in done.stderr
    session = onnxruntime.InferenceSession(to_onnx(net))
    fed = {"numbers": plain["size"][:, None], "categories": rows["shop"][:, None]}
    assert session.run(["prediction"], fed)[0].tolist() == said
    counted = session.run(["unseen"], fed)[0].tolist()
    assert counted == [int(shop in ("elsewhere", "Zürich")) for shop in rows["shop"]]
    loaded = QuantizedNetwork.from_bytes(net.to_bytes())
    assert loaded.predict(rows).tolist() == said


def test_a_word_that_is_a_category_is_one() -> None:
    table = {"land": np.array(["NA", "CH", "NA", "DE"], dtype=object)}
    layout = FeatureLayout.from_table(table, categorical=["land"])
    assert layout.columns[0].categories == ("CH", "DE", "NA")
    assert layout.read(table)["land"].tolist() == ["NA", "CH", "NA", "DE"]


def test_unseen_categories_are_counted_and_refused_where_asked(tmp_path: Path) -> None:
    net = network()
    rows = {"size": [1.0, 2.0, 3.0], "shop": ["x", "elsewhere", "Zürich"]}
    with pytest.warns(UserWarning, match="not seen in training: 'shop' in 2 rows"):
        net.predict(rows)
    with pytest.raises(InputError, match="not seen in training: 'shop' in 2 rows; correct them"):
        net.predict(rows, strict=True)
    program = build(net, tmp_path)
    text = "size,shop\n1,x\n2,elsewhere\n"
    done = subprocess.run([program, "--strict"], input=text, capture_output=True, text=True)
    assert done.returncode == 2
    assert "row 2, column shop: not seen in training: 'elsewhere'" in done.stderr


def test_missing_words_are_refused_where_missing_values_are() -> None:
    layout = FeatureLayout.from_table({"a": [1.0, 2.0], "b": ["x", "y"]})
    with pytest.raises(InputError, match="column 'a' has missing values in 1 row"):
        layout.read({"a": np.array(["1", "NA"], dtype=object), "b": ["x", "y"]})
    with pytest.raises(InputError, match="column 'b' has missing values in 1 row"):
        layout.read({"a": [1.0, 2.0], "b": np.array(["x", "null"], dtype=object)})


def test_cells_are_numbers_for_predict_and_in_c_alike(tmp_path: Path) -> None:
    read = ["5", "+5", " 5 ", "\t5", "5\t", "1e3", ".5", "5.", "-0"]
    refused = [" ", "  ", "\t", "0x10", "1_000", "1 000", "1,5", "inf", "-Infinity", "1e400", "NA "]
    refused += ["NaN(1)", "\u0661\u0662", "5a", "1e", "--5", "0b1"]
    for missing in ("impute", "refuse"):
        net = network(missing=missing)
        program = build(net, tmp_path)
        for cell in read + refused:
            rows = {"size": np.array([cell], dtype=object), "shop": np.array(["x"], dtype=object)}
            done = run(program, f'size,shop\n"{cell}",x\n')
            if cell in read:
                assert done.stdout.split(" ", 1)[1].strip() == net.predict(rows)[0]
                score = float(done.stdout.split()[0])
                assert score == pytest.approx(net.scores(rows)[0], rel=1e-12)
                continue
            assert (done.returncode, done.stdout) == (2, ""), cell
            with pytest.raises(InputError):
                net.scores(rows)


def test_a_column_named_twice_is_refused_in_c_too(tmp_path: Path) -> None:
    done = run(build(network(), tmp_path), "size,shop,size\n1,x,2\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: two columns are called size\n"


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    ("scaling", "clip"),
    [("standardize", None), ("standardize", 3.0), ("none", 1.0), ("quantile", None),
     ("weighted", None), ("thermometer", None)],
)  # fmt: skip
def test_what_is_refused_when_missing_has_no_score_in_onnx(
    scaling: str, clip: float | None, outputs: int
) -> None:
    net = network(missing="refuse", scaling=scaling, clip=clip)
    if outputs == 3:
        assert net.preprocessing is not None
        layout = net.preprocessing.layout
        table = {"size": np.array([1.5, -3.0, 0.25]), "shop": np.array(list("xyz"), dtype=object)}
        preprocessing = layout.fit(table, np.array(list("abc")), ["a", "b", "c"])
        alpha = np.random.default_rng(1).normal(size=(0, 3))
        U = np.ones((preprocessing.layout.d, 0), dtype=np.int8)
        net = QuantizedNetwork(U, U, alpha, preprocessing=preprocessing)
    session = onnxruntime.InferenceSession(to_onnx(net))
    shops = ["x", "x", "", "?", "NA", "elsewhere", "x"]
    sizes = [1.0, np.nan, 1.0, 1.0, 1.0, 1.0, -3.0]
    fed = {"numbers": np.array(sizes)[:, None], "categories": np.array(shops, object)[:, None]}
    score = session.run(["score"], fed)[0].reshape(len(shops), -1)
    assert np.isnan(score).all(axis=1).tolist() == [False, True, True, True, True, False, False]
    kept = [0, 6]
    rows = {"size": np.array(sizes)[kept], "shop": np.array(shops, dtype=object)[kept]}
    np.testing.assert_allclose(score[kept], net.scores(rows).reshape(2, -1), atol=1e-12)
    assert np.isfinite(score[5]).all()
