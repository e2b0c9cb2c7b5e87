"""A category that pandas reads as missing (None, <NA>): all faces read the same file alike."""

import csv
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow.csv
import pytest
from pandas._libs.parsers import STR_NA_VALUES

from pipeline.configuration.settings import DataConfig
from pipeline.datasets.blocks.statistics import Asked, StatisticsPass
from pipeline.datasets.blocks.statistics import fit as fit_blocks
from pipeline.datasets.examples import raw_rows, read_table_of
from pipeline.datasets.shards import make_layout, make_split
from pipeline.datasets.sources import load_table
from pipeline.plans.plan import plan_of
from pipeline.tracking.loaded_model import NetworkModel
from qnn.errors import InputError
from qnn.features.columns import Missing
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.features.tables import PANDAS_WORDS
from qnn.networks.exports import to_onnx
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.small import TINY, small_config
from tests.qnn.networks.exports.test_c_header import build, run

WORDS = ["None", "<NA>"]


def alleys(word: str, missing: str) -> list[str]:
    """Grvl is the most frequent, so that an imputed word is no accident; gaps where imputed."""
    gap = "" if missing == "impute" else word
    return ["Grvl", word, "Grvl", "Pave", gap, "Grvl", "Grvl", word, gap, "Pave"]


def write(place: Path, cells: list[str]) -> Path:
    areas = np.linspace(60.0, 150.0, len(cells)).round(1)
    with place.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["area", "Alley", "sold"])
        rows.writerows(zip(areas, cells, "yn" * (len(cells) // 2), strict=True))
    return place


def network(columns: dict[str, Any], missing: Missing) -> QuantizedNetwork:
    layout = FeatureLayout.from_table(columns, missing=missing)
    preprocessing = layout.fit(columns, np.array(list("yn" * 5)), ["n", "y"])
    rng = np.random.default_rng(4)
    U, V = (rng.choice([-1, 1], (layout.d, 7)).astype(np.int8) for _ in range(2))
    alpha = rng.normal(size=7)
    return QuantizedNetwork(U, V, alpha, preprocessing=preprocessing)


def trained(file: Path, missing: Missing) -> QuantizedNetwork:
    table = load_table(_config(file, missing))
    return network(table.columns, missing)


def _config(file: Path, missing: str) -> Any:
    data = {"source": str(file), "target": "sold", "missing": missing}
    return small_config(file.parent, **TINY, data=data)


def test_the_words_are_those_of_pandas() -> None:
    assert PANDAS_WORDS == STR_NA_VALUES


@pytest.mark.parametrize("missing", ["refuse", "impute"])
@pytest.mark.parametrize("word", WORDS)
def test_the_training_file_has_the_same_scores_by_every_face(
    tmp_path: Path, word: str, missing: Missing
) -> None:
    cells = alleys(word, missing)
    file = write(tmp_path / "rows.csv", cells)
    net = trained(file, missing)
    data = DataConfig(source=str(file))
    said = net.scores(raw_rows(read_table_of(data), net, data))
    # The category is told apart from the others, or the test would say nothing.
    rows = {"area": [100.0] * 3, "Alley": [word, "Grvl", "Pave"]}
    assert len(set(net.scores(rows).tolist())) == 3
    model = NetworkModel()
    model.network = net
    for reads in (pd.read_csv, pl.read_csv, pyarrow.csv.read_csv):
        frame = reads(file)
        assert net.scores(frame).tolist() == said.tolist()
        assert (
            model.predict(SimpleNamespace(), frame, {"output": "score"}).tolist() == said.tolist()
        )
    kept = pd.read_csv(file, keep_default_na=False)
    assert net.scores(kept).tolist() == said.tolist()
    session = onnxruntime.InferenceSession(to_onnx(net))
    fed = {"numbers": kept[["area"]].to_numpy(), "categories": kept[["Alley"]].to_numpy(object)}
    np.testing.assert_allclose(session.run(["score"], fed)[0], said, rtol=1e-12)
    text = io.StringIO()
    kept[["area", "Alley"]].to_csv(text, index=False, lineterminator="\n")
    done = run(build(net, tmp_path), text.getvalue())
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == net.predict(
        kept
    ).tolist()


@pytest.mark.parametrize("missing", ["refuse", "impute"])
def test_two_such_categories_are_unclear_and_said(missing: Missing) -> None:
    columns = {"Alley": np.array(["NA", "None", "Grvl", "Grvl"], dtype=object)}
    layout = FeatureLayout.from_table(columns, missing=missing)
    (note,) = layout.warnings
    assert "'NA' and 'None' are categories" in note
    assert "keep_default_na=False" in note
    gap = {"Alley": np.array(["Grvl", None], dtype=object)}
    if missing == "impute":
        fitted = layout.fit(columns, np.array([1.0, 2.0, 3.0, 4.0]))
        assert fitted.fill == ("Grvl",)
        return
    with pytest.raises(InputError, match=r"row 2.*'NA' and 'None' are categories.*keep_default_na"):
        layout.read(gap)


def test_one_is_said_in_the_plan_and_text_that_says_missing_stays_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", alleys("None", "refuse"))
    config = _config(file, "refuse")
    table = load_table(config)
    layout = make_layout(table, config, make_split(table, config))
    assert "column 'Alley': 'None' is a category, which pandas reads as missing" in "".join(
        plan_of(config).warnings
    )
    for text in ("", "NA"):
        with pytest.raises(InputError, match="column 'Alley' has missing values in 1 row"):
            layout.read({"area": [1.0], "Alley": [text]})


def test_a_network_of_an_earlier_version_fills_with_what_it_recorded() -> None:
    columns = {"Alley": np.array(["None", "Grvl", "Grvl", None], dtype=object)}
    net = network({"Alley": np.tile(columns["Alley"], 3)[:10]}, "impute")
    assert net.preprocessing is not None
    assert net.preprocessing.fill == ("None",)
    text = net.preprocessing.to_json().replace('"fill": ["None"]', '"fill": ["Grvl"]')
    earlier = Preprocessing.from_json(text)
    matrix = earlier.transform({"Alley": [None, "Grvl", "None"]})
    assert matrix[0].tolist() == matrix[1].tolist() != matrix[2].tolist()


def test_only_columns_with_such_gaps_have_another_id(tmp_path: Path) -> None:
    """A training matrix that is not as earlier versions made it belongs to another path."""
    found = {}
    for name, cells in {
        "gaps": alleys("None", "impute"),
        "word alone": alleys("None", "refuse"),
        "gaps alone": ["Grvl", "", "Pave", "Grvl", "", "Grvl", "Pave", "Grvl", "", "Grvl"],
    }.items():
        config = _config(write(tmp_path / "rows.csv", cells), "impute")
        found[name] = [path.content[:8] for path in plan_of(config).paths]
    # As the version before knew them; there the gaps' began with 67771046 and 45642380.
    assert found["word alone"] == ["f7efaa3b", "e76fe9e1"]
    assert found["gaps alone"] == ["f44e1fe4", "8bc6d61e"]
    assert not {"67771046", "45642380"} & set(found["gaps"])


def test_blocks_of_rows_impute_as_a_table_does() -> None:
    cells = np.array(["Grvl", "None", "Grvl", "Pave", None, "Grvl"], dtype=object)
    columns = {"Alley": cells, "area": np.arange(6.0)}
    target = np.array([0.0, 1.0, 3.0, 2.0, 5.0, 4.0])
    asked = Asked(missing="impute")
    found = StatisticsPass("y", False, asked)(0, lambda: iter([{**columns, "y": target}]))
    blocks = fit_blocks(found, "y", None, asked)
    whole = FeatureLayout.from_table(columns, missing="impute").fit(columns, target)
    assert blocks.fill == whole.fill == ("None", 2.5)
    np.testing.assert_allclose(blocks.means, whole.means)
