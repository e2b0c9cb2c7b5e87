"""Columns that a network can do without: what hangs on each, and what the choice leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from qnn import QuantizedClassifier
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.losses import get_loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.vector import problem_of
from qnn.training.selection import Wanted, choose
from qnn.training.selection.choice import SMALLER
from qnn.training.selection.columns import fewer, importances, most_important
from qnn.training.selection.kinds import LINEAR
from qnn.training.selection.paths import path


def hidden(n=240, noise=8, seed=0):
    """Two of many columns tell the classes apart, by their product; one is text."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2 + noise))
    table = {f"c{j}": X[:, j] for j in range(2 + noise)}
    table["text"] = rng.choice(np.array(["u", "v", "w"], dtype=object), n)
    y = np.where(X[:, 1] * X[:, 4] > 0.0, "in", "out")
    return table, y


CLASSES = ["in", "out"]


def test_steps_go_down_to_one_column():
    counts = [34]
    while fewer(counts[-1]) < counts[-1]:
        counts.append(fewer(counts[-1]))
    assert counts == [34, 20, 12, 7, 4, 2, 1]


@pytest.mark.parametrize("activation", ["bilinear", LINEAR])
@pytest.mark.parametrize("alphabet", ["binary", "ternary", 3])
@pytest.mark.parametrize("scaling", ["standardize", "thermometer"])
def test_what_hangs_on_a_column_is_what_its_mean_changes(activation, alphabet, scaling):
    table, y = hidden(90, noise=3)
    y = np.where(table["c0"] > 1.0, "third", y)
    layout = FeatureLayout.from_table(table, scaling=scaling)
    preprocessing = layout.fit(table, y, ["in", "out", "third"])
    X = preprocessing.transform(table)
    loss, coded = get_loss("logistic"), preprocessing.encode_target(y)
    problem = problem_of(X, coded, 1.0, loss, activation, alphabet)
    networks = next(path(problem, (0.02,), 16, np.random.default_rng(0)))
    found, first = importances(networks, layout), 0
    assert len(found) == len(layout.kept) == 6
    for column, own in zip(layout.kept, found, strict=True):
        held, width = X.copy(), len(column.feature_names)
        held[:, first : first + width] = X[:, first : first + width].mean(axis=0)
        expected = np.mean((networks.scores(X) - networks.scores(held)) ** 2, axis=0).sum()
        assert own == pytest.approx(expected, rel=1e-9, abs=1e-12)
        first += width
    names = most_important(networks, layout, 2)
    assert set(names) == {layout.kept[k].name for k in np.argsort(-found)[:2]}
    assert list(names) == [column.name for column in layout.kept if column.name in names]


def test_columns_that_tell_nothing_are_left_out():
    table, y = hidden()
    choice = choose(table, y, CLASSES, Wanted())
    assert {"c1", "c4"} <= set(choice.kind.columns)
    assert len(choice.kind.columns) <= 4
    assert f", {len(choice.kind.columns)} columns" in str(choice.kind)
    kind = replace(choice.kind, columns=None)
    chosen = [
        cell for cell in choice.cells
        if (cell.kind, cell.columns, cell.fraction, cell.width)
        == (kind, len(choice.kind.columns), choice.fraction, choice.width)
    ]  # fmt: skip
    whole = [cell for cell in choice.cells if cell.columns == 11]
    best = max(whole, key=lambda cell: cell.merit)
    assert chosen[0].merit >= best.merit - SMALLER * best.error(240)
    assert chosen[0].size_in_bytes < 0.5 * best.size_in_bytes
    assert choose(table, y, CLASSES, Wanted()) == choice


def test_what_the_folds_found_is_read_where_networks_of_all_rows_miss_it():
    # All five folds keep the two columns, the network of all rows, of many neurons, two others.
    table, y = hidden(140, noise=6, seed=2)
    wanted = Wanted(width=4, activation="bilinear")
    choice = choose(table, y, CLASSES, wanted)
    assert choice.kind.columns == ("c1", "c4")


def test_all_columns_are_read_where_they_or_the_encoding_are_given():
    table, y = hidden(60)
    for wanted in (Wanted(layout=(("columns", None),), width=4), Wanted("weighted", width=4)):
        choice = choose(table, y, CLASSES, wanted)
        assert choice.kind.columns is None
        assert {cell.columns for cell in choice.cells} == {11}
    some = Wanted(layout=(("columns", ("c1", "c4", "text")),), width=4)
    choice = choose(table, y, CLASSES, some)
    assert {cell.columns for cell in choice.cells} == {3}
    assert some.layout_of(choice.kind, table).d == 6 or choice.kind.scaling == "thermometer"


@pytest.mark.parametrize("most", [14, 25, 70, 200])
def test_fewer_columns_make_room_and_the_network_fits(most):
    table, y = hidden(120)
    del table["text"]
    X = np.column_stack(list(table.values()))
    settings = {"max_bytes": most, "activation": "bilinear", "beta_fraction": 0.02}
    model = QuantizedClassifier(**settings, calibration=None, random_state=0).fit(X, y)
    network = QuantizedNetwork.from_bytes(model.network_.to_bytes())
    assert network.size_in_bytes + network.preprocessing.bytes_of_numbers <= most
    assert len(model.choice_.kind.columns) < 10
    assert most < 25 or model.score(X, y) > 0.85
    if most < 70:
        whole = Wanted(**settings, layout=(("columns", None),))
        with pytest.raises(InputError, match=f"max_bytes is {most}, but the smallest network"):
            choose(X, y, CLASSES, whole)


def test_where_no_column_fits_the_bytes_of_the_smallest_are_said():
    table, y = hidden(60)
    with pytest.raises(
        InputError, match=r"max_bytes is 5, but the smallest .* take (\d+) bytes"
    ) as said:
        choose(table, y, CLASSES, Wanted(max_bytes=5))
    least = int(str(said.value).partition("may take ")[2].split()[0])
    assert 5 < least < 15
    choose(table, y, CLASSES, Wanted(max_bytes=least, beta_fraction=0.1))


def test_an_estimator_reads_what_it_chose_and_takes_all():
    table, y = hidden()
    rows = np.column_stack([column for name, column in table.items() if name != "text"])
    model = QuantizedClassifier(random_state=0, calibration=None).fit(rows.astype(float), y)
    assert len(model.choice_.kind.columns) < 10
    assert model.score(rows.astype(float), y) > 0.85
    other = rows.astype(float)
    read = [int(name[1:]) for name in model.choice_.kind.columns]
    other[:, [j for j in range(10) if j not in read]] = np.nan
    scores = model.network_.decision_function(model.network_.preprocessing.transform(other))
    np.testing.assert_array_equal(scores, model.decision_function(rows.astype(float)))


def test_a_target_without_signal_ends_in_few_columns_and_no_error():
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(80, 5)), np.arange(80) % 2
    choice = choose(X, y, [0, 1], Wanted(width=4))
    assert choice.kind.columns is None or 1 <= len(choice.kind.columns) <= 3
    ones = choose(X, X[:, 0], None, Wanted(loss="squared", width=4))
    assert ones.kind.columns is None or "x0" in ones.kind.columns
