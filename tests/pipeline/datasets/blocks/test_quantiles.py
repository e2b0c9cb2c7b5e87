"""Quantiles over blocks are those of the whole table, or near them, and their bits are fixed."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.blocks.quantiles import FEW, Spread, require_sketches
from pipeline.datasets.blocks.reader import BlockTable, Reading
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.datasets.blocks.statistics import (
    Asked,
    StatisticsPass,
    fit,
    merge_tables,
)
from pipeline.datasets.blocks.targets import TargetReading
from pipeline.sweeps.cluster.block_actors import TableBlocks
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.numerics.blocks import cover, join, shares, tree_sum

N = 4000
ALL = [
    Asked(scaling, 4, missing=missing)
    for scaling in ("standardize", "none", "quantile", "thermometer")
    for missing in ("refuse", "impute")
    if (scaling, missing) not in (("standardize", "refuse"), ("none", "refuse"))
]


def table(missing: bool, few: bool) -> pa.Table:
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.normal(size=N), rng.exponential(size=N), rng.normal(size=N) * 1e3])
    if few:
        x = np.round(x * [10.0, 5.0, 1e-2])
    columns = {f"x{j}": x[:, j] for j in range(3)}
    columns["bit"] = (rng.random(N) < 0.2).astype(float)
    text = rng.choice(["a", "b", "c"], N, p=[0.5, 0.3, 0.2]).astype(object)
    if missing:
        columns["x1"][rng.random(N) < 0.1] = np.nan
        columns["bit"][:500] = np.nan
        text[rng.random(N) < 0.1] = None
    y = x[:, 0] ** 2 + rng.normal(size=N)
    return pa.table({**columns, "c": text, "y": y}, metadata=None).replace_schema_metadata(None)


def write(folder: Path, rows: pa.Table, files: int = 1) -> str:
    folder.mkdir()
    for k in range(files):
        first, last = len(rows) * k // files, len(rows) * (k + 1) // files
        part = rows.slice(first, last - first)
        pq.write_table(part, folder / f"{k:04d}.parquet", row_group_size=333)
    return str(folder)


def fitted(source: str, asked: Asked, blocks: int = 6) -> Preprocessing:
    groups = RowGroups.of(source)
    held = TableBlocks(BlockTable.of(groups, groups.columns, blocks))
    found = held.reduce(StatisticsPass("y", False, asked), merge_tables)
    preprocessing = fit(found, "y", None, asked)
    held.reading = Reading(preprocessing, TargetReading("y", preprocessing.target))
    assert np.isfinite(held.reduce(_Sum(), np.add)).all()
    return preprocessing


class _Sum:
    def __call__(self, index, batches):
        return sum(X.sum(axis=0) for X, _ in batches())


def whole(rows: pa.Table, asked: Asked) -> tuple[Preprocessing, dict[str, np.ndarray]]:
    features = {name: rows[name].to_numpy() for name in rows.column_names if name != "y"}
    layout = FeatureLayout.from_table(
        features, ["c"], asked.missing, scaling=asked.scaling, thresholds=asked.thresholds
    )
    return layout.fit(features, rows["y"].to_numpy()), features


@pytest.mark.parametrize("asked", ALL, ids=lambda asked: f"{asked.scaling}-{asked.missing}")
def test_few_values_give_the_preprocessing_of_the_whole_table(tmp_path, asked):
    rows = table(asked.missing == "impute", few=True)
    mine, (theirs, features) = fitted(write(tmp_path / "t", rows), asked), whole(rows, asked)
    assert mine.layout.columns == theirs.layout.columns
    assert mine.fill == theirs.fill
    if asked.scaling == "thermometer":
        assert mine.encoder == theirs.encoder
    np.testing.assert_allclose(mine.means, theirs.means, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mine.scales, theirs.scales, rtol=1e-9)
    X = mine.transform(features)
    np.testing.assert_allclose(X, theirs.transform(features), rtol=1e-9, atol=1e-9)
    again = Preprocessing.from_json(mine.to_json())
    np.testing.assert_array_equal(again.transform(features), X)


@pytest.mark.parametrize("asked", ALL, ids=lambda asked: f"{asked.scaling}-{asked.missing}")
def test_many_values_give_nearly_that_of_the_whole_table(tmp_path, asked):
    rows = table(asked.missing == "impute", few=False)
    mine, (theirs, features) = fitted(write(tmp_path / "t", rows), asked), whole(rows, asked)
    assert mine.layout.columns == theirs.layout.columns
    X, Y = mine.transform(features), theirs.transform(features)
    if asked.scaling == "thermometer":
        assert np.mean(X != Y) < 2e-3
    elif asked.scaling == "quantile":
        assert np.quantile(np.abs(X - Y), 0.99) < 0.05
        np.testing.assert_allclose(X.mean(axis=0)[:-1], 0.0, atol=2e-2)
        np.testing.assert_allclose(X.std(axis=0)[:-1], 1.0, atol=2e-2)
    else:
        np.testing.assert_allclose(X, Y, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("few", [True, False])
def test_how_rows_lie_in_files_changes_no_bit(tmp_path, few):
    rows = table(True, few)
    for asked in (Asked("thermometer", missing="impute"), Asked("quantile", missing="impute")):
        place = tmp_path / asked.scaling
        place.mkdir()
        one = fitted(write(place / "one", rows), asked)
        assert fitted(write(place / "many", rows, 71), asked).to_json() == one.to_json()


def test_the_bits_do_not_depend_on_who_adds_up():
    rng = np.random.default_rng(0)
    parts = [Spread.of(rng.normal(size=700)) for _ in range(11)]
    whole = (0, len(parts))
    alone = tree_sum(whole, parts.__getitem__, Spread.__add__)
    for owners in (2, 3, 5):
        found = {
            span: tree_sum(span, parts.__getitem__, Spread.__add__)
            for owned in reversed(shares(len(parts), owners))
            for span in cover(whole, owned)
        }
        assert join(whole, found, Spread.__add__).digest == alone.digest


def test_ranks_of_a_sketch_are_near():
    rng = np.random.default_rng(0)
    drawn = np.exp(3.0 * rng.normal(size=200_000))
    spread = tree_sum((0, 20), lambda b: Spread.of(drawn[10_000 * b :][:10_000]), Spread.__add__)
    assert spread.distinct == np.inf
    values, weights = spread.points()
    assert weights.sum() == pytest.approx(len(drawn))
    upto = (np.cumsum(weights) - 0.5 * weights) / len(drawn)
    ranks = np.searchsorted(np.sort(drawn), values) / len(drawn)
    assert np.abs(ranks - upto).max() < 2e-3


def test_equal_values_stay_one_value():
    rng = np.random.default_rng(0)
    drawn = np.where(rng.random(50_000) < 0.4, 5.1, 5.1 + rng.normal(size=50_000))
    parts = [Spread.of(drawn[5000 * b :][:5000]) for b in range(10)]
    values, weights = tree_sum((0, 10), parts.__getitem__, Spread.__add__).points()
    assert weights[values == 5.1].sum() == pytest.approx(0.4 * 50_000, rel=0.02)
    near = np.abs(values - 5.1) < 1e-9
    assert near.sum() == 1


def test_extremes_and_nothing():
    nothing = Spread.of(np.empty(0))
    values, weights = (nothing + Spread.of(np.array([5e-324, -1e150, 1e150]))).points()
    assert values.tolist() == [-1e150, 5e-324, 1e150]
    assert weights.tolist() == [1.0, 1.0, 1.0]
    many = Spread.of(np.arange(FEW + 1.0)) + nothing
    assert many.distinct == np.inf
    assert np.isfinite(many.points()[0]).all()


def test_columns_of_numbers_may_be_categories(tmp_path):
    rows = table(False, True)
    asked = Asked(categorical=("bit", "c"))
    columns = {c.name: c.categories for c in fitted(write(tmp_path / "t", rows), asked).layout.kept}
    assert columns["bit"] == ("0", "1")
    with pytest.raises(InputError, match=r"block 0: rows .*: column 'c' should be num"):
        fitted(str(tmp_path / "t"), Asked(categorical=("bit",)))


def test_words_that_mean_missing_are_no_category(tmp_path):
    rows = table(False, True)
    asked = Asked(missing="impute", missing_values=("c",))
    found = {c.name: c.categories for c in fitted(write(tmp_path / "t", rows), asked).layout.kept}
    assert found["c"] == ("a", "b")
    with pytest.raises(InputError, match="column 'c' has missing values"):
        fitted(str(tmp_path / "t"), Asked(missing_values=("c",)))


def test_words_that_mean_missing_are_no_numbers(tmp_path):
    """In columns of text that are declared numeric, as in the layout of a whole table."""
    rows = table(False, True)
    spelt = [str(value) for value in rows["x0"].to_pylist()]
    spelt[3], spelt[2000] = "n/a", "gone"
    rows = rows.set_column(0, "x0", pa.array(spelt))
    asked = Asked(missing="impute", missing_values=("gone",), categorical=("c",))
    mine = fitted(write(tmp_path / "t", rows), asked)
    features = {name: np.array(rows[name].to_pylist()) for name in rows.column_names if name != "y"}
    layout = FeatureLayout.from_table(features, ["c"], "impute", missing_values=("gone",))
    theirs = layout.fit(features, rows["y"].to_numpy())
    assert mine.layout.columns == theirs.layout.columns
    assert mine.fill == theirs.fill
    np.testing.assert_allclose(mine.means, theirs.means, rtol=1e-12, atol=1e-14)
    with pytest.raises(InputError, match=r"column 'x0' has missing values in 1 row \(first: row 4"):
        Asked(categorical=("c",)).describe("x0", np.array(spelt[:9], dtype=object))


def test_a_column_without_values_is_dropped(tmp_path):
    rows = table(False, True).append_column("none", pa.array([None] * N, pa.float64()))
    mine = fitted(write(tmp_path / "t", rows), Asked("thermometer", missing="impute"))
    assert {column.name: column.dropped for column in mine.layout.columns}["none"]


def test_without_the_package_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(InputError, match=r"pip install 'qnn-sdp\[quantiles\]'"):
        require_sketches("preprocessing.scaling: quantile")
