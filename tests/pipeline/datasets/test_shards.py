from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.settings import DataConfig
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.datasets.shards import Split, make_layout, make_split, row_numbers_digest, shard_data
from pipeline.datasets.sources import Table, load_table, read_table
from pipeline.datasets.splitting import deal, hold_out, shuffled
from qnn.errors import InputError


def table_of(target: list[Any], groups: list[str] | None = None, **columns: list[Any]) -> Table:
    n = len(target)
    values = {
        "a": np.arange(float(n)),
        **{k: np.array(v, dtype=object) for k, v in columns.items()},
    }
    labels = sorted(set(target))
    classes = None if isinstance(target[0], float) else (labels[0], labels[-1])
    kind = float if classes is None else object
    rows = None if groups is None else np.array(groups, dtype=object)
    return Table("t", values, np.array(target, dtype=kind), classes, rows, "0" * 64)


def config_of(shards: dict[str, Any], fraction: float = 0.0, **changes: Any) -> SweepConfig:
    raw = {
        "name": "t",
        "data": {"source": "t.csv"},
        "shards": shards,
        "beta": {"values": [1]},
        "test": {"fraction": fraction, "seed": 0},
        **changes,
    }
    return parse_config(dump_yaml(raw), "t.yaml")


def kfold(count: int, seed: int = 0) -> dict[str, Any]:
    return {"kind": "kfold", "count": count, "seed": seed}


def parts(count: int, fraction: float = 0.25) -> dict[str, Any]:
    return {"kind": "parts", "count": count, "validation_fraction": fraction}


COLUMN = {"kind": "column", "column": "site", "validation_fraction": 0.25}
labels = st.lists(st.sampled_from(["no", "yes"]), min_size=8, max_size=80)


def split_or_assume(table: Table, config: SweepConfig) -> Split:
    """Both classes often enough for any split: at least two in each shard's training part."""
    try:
        return make_split(table, config)
    except InputError:
        assume(False)
        raise


@settings(deadline=None)
@given(target=labels, count=st.integers(2, 6), seed=st.integers(0, 99), fraction=st.floats(0, 0.4))
def test_every_row_is_in_one_validation_fold_or_the_test(
    target: list[str], count: int, seed: int, fraction: float
) -> None:
    assume(len(set(target)) == 2)
    table = table_of(target)
    split = split_or_assume(table, config_of(kfold(count, seed), fraction))
    folds = [shard.validation_rows for shard in split.shards]
    np.testing.assert_array_equal(
        np.sort(np.concatenate([*folds, split.test_rows])), range(table.n)
    )
    for shard in split.shards:
        both = np.concatenate([shard.train_rows, shard.validation_rows])
        np.testing.assert_array_equal(np.sort(both), split.development_rows)
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for label in ("no", "yes"):
        counts = [int(np.sum(table.target[fold] == label)) for fold in folds]
        assert max(counts) - min(counts) <= 1
        share = float(np.sum(table.target == label)) * len(split.test_rows) / table.n
        assert abs(np.sum(table.target[split.test_rows] == label) - share) < 1.5


@settings(deadline=None)
@given(target=labels, count=st.integers(1, 4), fraction=st.floats(0.05, 0.6))
def test_parts_are_disjoint_and_cover_everything(
    target: list[str], count: int, fraction: float
) -> None:
    assume(len(set(target)) == 2)
    split = split_or_assume(table_of(target), config_of(parts(count, fraction)))
    rows = [part for shard in split.shards for part in (shard.train_rows, shard.validation_rows)]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), split.development_rows)
    for shard in split.shards:
        size = len(shard.train_rows) + len(shard.validation_rows)
        assert len(shard.validation_rows) == max(1, round(fraction * size))


def test_one_shard_for_each_value_of_a_column() -> None:
    groups = ["10", "9", "10", "9"] * 6
    split = make_split(table_of(["no", "no", "yes", "yes"] * 6, groups), config_of(COLUMN))
    assert [shard.name for shard in split.shards] == ["site=9", "site=10"]
    for shard, value in zip(split.shards, ("9", "10"), strict=True):
        rows = np.concatenate([shard.train_rows, shard.validation_rows])
        assert {groups[row] for row in rows} == {value}
        assert len(rows) == 12
    text = make_split(
        table_of(["no", "no", "yes", "yes"] * 6, ["b", "a", "b", "a"] * 6), config_of(COLUMN)
    )
    assert [shard.name for shard in text.shards] == ["site=a", "site=b"]


def test_a_long_group_gets_a_name_that_fits_a_file_system() -> None:
    groups = ["x" * 300 + "1", "x" * 300 + "2"] * 8
    target = ["no", "no", "yes", "yes"] * 4
    names = [shard.name for shard in make_split(table_of(target, groups), config_of(COLUMN)).shards]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 100


def test_a_fraction_of_0_holds_nothing_out() -> None:
    split = make_split(table_of(["no", "yes"] * 5), config_of(kfold(2)))
    assert len(split.test_rows) == 0
    np.testing.assert_array_equal(split.development_rows, range(10))


def test_seeds_change_the_split_and_nothing_else_does() -> None:
    table = table_of(["no", "yes"] * 20)

    def digest(*arguments: Any) -> str:
        split = make_split(table, config_of(*arguments))
        return row_numbers_digest(
            *(shard.validation_rows for shard in split.shards), split.test_rows
        )

    assert digest(kfold(4)) == digest(kfold(4))
    assert len({digest(kfold(4, seed), 0.2) for seed in range(5)}) == 5


def test_the_split_of_a_seed_is_pinned() -> None:
    # Ids depend on it: a change here would orphan every folder of results.
    assert shuffled(np.arange(8), 0).tolist() == PINNED_ORDER
    split = make_split(table_of(["no", "yes"] * 10), config_of(kfold(3), 0.2))
    rows = [split.test_rows, *(shard.validation_rows for shard in split.shards)]
    assert [part.tolist() for part in rows] == PINNED_SPLIT


def test_unstratified_dealing_mixes_the_rows() -> None:
    rows = np.arange(1000)
    folds = deal(rows, np.zeros(1000, dtype=int), 2, seed=1)
    assert abs(folds[0].mean() - 499.5) < 30
    assert (np.diff(folds[0]) > 0).all()
    stay, out = hold_out(rows, np.zeros(1000, dtype=int), 0.1, seed=1)
    assert (len(stay), len(out)) == (900, 100)
    assert abs(out.mean() - 499.5) < 100
    assert len({tuple(hold_out(rows, np.zeros(1000), 0.1, seed)[1]) for seed in range(4)}) == 4


def test_what_cannot_be_split_is_said() -> None:
    two = ["no", "yes"]
    cases: list[tuple[Table, SweepConfig, str]] = [
        (
            table_of(two * 5),
            config_of(kfold(9), 0.2),
            "shards.count: 9 folds need at least as many rows, but 8 are left beside the test rows",
        ),
        (
            table_of(two * 5),
            config_of(kfold(2), 0.9),
            "test.fraction: 0.9 of 10 rows leaves 1 to train on; lower it or bring more rows",
        ),
        (
            table_of(["no"] * 9 + ["yes"]),
            config_of(kfold(5)),
            "no training row of class 'yes' (8 rows); use fewer shards, or bring more rows of that "
            "class",
        ),
        (
            table_of(two * 2),
            config_of(parts(4)),
            "shard part-00 has 1 row; at least 2 are needed (one to train, one to validate)",
        ),
        (
            table_of(two * 4, ["a"] * 7 + ["b"]),
            config_of(COLUMN),
            "shard site=b has 1 row; at least 2 are needed (one to train, one to validate)",
        ),
        (
            table_of(two * 4),
            config_of(COLUMN),
            "shards.column: the table was read without column 'site'",
        ),
    ]
    for table, config, expected in cases:
        with pytest.raises(InputError) as error:
            make_split(table, config)
        assert str(error.value).endswith(expected)
    with pytest.raises(InputError, match=r"^no shard is called 'fold-99'$"):
        make_split(table_of(two * 5), config_of(kfold(2))).shard("fold-99")


def test_d_is_the_same_on_all_shards_and_scaling_is_not() -> None:
    rare = ["x"] * 30 + ["rare"]
    table = table_of([*(["no", "yes"] * 15), "yes"], b=rare)
    config = config_of(kfold(3), 0.1)
    split = make_split(table, config)
    layout = make_layout(table, config, split)
    data = [shard_data(table, layout, shard, split) for shard in split.shards]
    assert {one.X.shape[1] for one in data} == {layout.d} == {4}
    assert len({one.preprocessing.means for one in data}) == 3


def test_a_shard_as_the_solver_sees_it() -> None:
    table = table_of(["no", "yes"] * 10)
    config = config_of(kfold(2), 0.2)
    split = make_split(table, config)
    layout = make_layout(table, config, split)
    shard = split.shards[1]
    data = shard_data(table, layout, shard, split)
    assert (data.dataset, data.name, data.task) == ("t", "fold-01", "classification")
    a = table.columns["a"]
    train = a[shard.train_rows]
    for rows, (part, X, target) in zip(
        (shard.train_rows, shard.validation_rows, split.test_rows), data.parts(), strict=True
    ):
        assert part in ("train", "validation", "test")
        np.testing.assert_allclose(X[:, 0], (a[rows] - train.mean()) / train.std(), atol=1e-12)
        assert (X[:, 1] == 1).all()
        np.testing.assert_array_equal(target, table.target[rows])
    np.testing.assert_array_equal(data.y, np.where(data.train_target == "yes", 1, -1))


def test_the_final_shard_has_every_row_but_the_tests() -> None:
    table = table_of([float(k) for k in range(20)])
    config = config_of(kfold(4), 0.2, task="regression")
    split = make_split(table, config)
    data = shard_data(table, make_layout(table, config, split), split.shard("all"), split)
    assert data.X.shape == (16, 2)
    assert data.X_validation.shape == (0, 2)
    assert data.X_test.shape == (4, 2)
    assert data.task == "regression"
    assert (data.y.mean(), data.y.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    np.testing.assert_allclose(data.preprocessing.decode(data.y), data.train_target, rtol=1e-12)


PINNED_ORDER = [3, 2, 1, 6, 0, 7, 4, 5]
PINNED_SPLIT = [[7, 8, 10, 13], [1, 2, 3, 5, 16, 18], [4, 6, 11, 12, 17], [0, 9, 14, 15, 19]]


def test_a_column_may_name_the_rows_of_the_test(tmp_path):
    file = tmp_path / "marked.csv"
    marks = [0, 1] * 10
    lines = ["a,held,target", *(f"{k},{mark},{'xy'[k % 3 % 2]}" for k, mark in enumerate(marks))]
    file.write_text("\n".join(lines) + "\n")
    text = (
        f"name: marked\ndata: {{source: {file}}}\ntest: {{column: held}}\n"
        "shards: {kind: kfold, count: 2}\nbeta: {fractions: [0.1]}\n"
    )
    config = parse_config(text, "marked.yaml")
    table = load_table(config)
    split = make_split(table, config)
    assert list(table.columns) == ["a"]
    assert split.test_rows.tolist() == list(range(1, 20, 2))
    assert split.development_rows.tolist() == list(range(0, 20, 2))
    file.write_text(file.read_text().replace("0,0,x", "0,2,x"))
    with pytest.raises(InputError, match=r"test\.column: 'held' must be 0 or 1"):
        load_table(config)
    file.write_text(file.read_text().replace("0,2,x", "0,perhaps,x"))
    with pytest.raises(InputError, match=r"test\.column: .* but row 1 holds 'perhaps'"):
        load_table(config)
    with pytest.raises(InputError, match=r"test\.column: no column 'gone'"):
        load_table(parse_config(text.replace("column: held", "column: gone"), "marked.yaml"))
    with pytest.raises(InputError, match=r"test\.column 'target' is the target"):
        parse_config(text.replace("column: held", "column: target"), "marked.yaml")


@pytest.mark.parametrize(("yes", "no"), [("true", "false"), ("TRUE", " False"), ("1.0", "false")])
def test_a_column_that_names_the_rows_of_the_test_may_hold_truths(tmp_path, yes, no):
    file = tmp_path / "marked.csv"
    file.write_text(f"a,held,target\n1,{yes},x\n2,{no},y\n3,{no},x\n")
    held_out = read_table(DataConfig(source=str(file)), test_column="held").held_out
    assert held_out is not None
    assert held_out.tolist() == [True, False, False]
