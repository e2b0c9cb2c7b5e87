from dataclasses import replace

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.selection import Kind, Wanted, choose, folds
from qnn.training.selection.choice import SMALLER
from qnn.training.selection.kinds import BIAS_OF_BITS, FRACTIONS, LINEAR, WIDEST
from qnn.training.selection.paths import path


def steps(n=120, seed=0):
    """Two classes that thresholds tell apart and straight lines do not."""
    rng = np.random.default_rng(seed)
    X = np.exp(3.0 * rng.normal(size=(n, 3)))
    y = (X[:, 0] > 1.0) != (X[:, 1] > 1.0)
    return X, np.where(y, "in", "out")


CLASSES = ["in", "out"]


def test_bits_are_chosen_where_only_thresholds_tell_the_classes_apart():
    X, y = steps()
    choice = choose(X, y, CLASSES, Wanted(width=8))
    assert choice.kind.scaling == "thermometer"
    best = max(choice.cells, key=lambda cell: cell.score)
    assert best.score > 0.85
    assert choice.fraction in FRACTIONS


def test_a_linear_network_is_chosen_where_lines_are_enough():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 6))
    y = np.where(X @ [1.0, -1.0, 0.5, 0.0, 0.0, 0.0] + rng.normal(size=150) > 0.0, "in", "out")
    choice = choose(X, y, CLASSES, Wanted())
    assert choice.kind.activation == LINEAR
    assert {cell.kind.activation for cell in choice.cells} == {"bilinear", LINEAR}
    # What is named stays; with a scaling it is bilinear unless it is named.
    for wanted in (Wanted(activation="bilinear", width=4), Wanted("weighted", width=4)):
        assert wanted.activations == ("bilinear",)
    assert Wanted("weighted", activation=LINEAR).activations == (LINEAR,)


def test_sums_of_bits_have_an_offset_that_costs_little():
    rng = np.random.default_rng(2)
    X = np.exp(2.0 * rng.normal(size=(200, 8)))
    rare = X[:, :5] > np.quantile(X[:, :5], 0.88, axis=0)
    y = np.where(rare.any(axis=1), "in", "out")
    best = {}
    for layout in ((), (("bias", True),)):
        cells = choose(X, y, CLASSES, Wanted(activation=LINEAR, layout=layout)).cells
        bits = [cell for cell in cells if cell.kind.scaling == "thermometer"]
        assert {cell.kind.bias for cell in bits} == {1 if layout else BIAS_OF_BITS}
        assert {cell.kind.bias for cell in cells if cell not in bits} == {1}
        best[layout] = max(cell.score for cell in bits)
    assert best[()] > best[(("bias", True),)] + 0.03
    named = Wanted("thermometer", activation=LINEAR)
    assert {kind.bias for kind in named.kinds(X, CLASSES)} == {1}


def test_the_same_seed_chooses_the_same_by_the_same_cells():
    X, y = steps()
    wanted = Wanted(beta_fraction=0.05)
    one, two = (choose(X, y, CLASSES, wanted, seed=3) for _ in range(2))
    assert one == two


def test_beta_is_carried_to_the_rows_that_did_not_choose(monkeypatch):
    X, y = steps(240)
    wanted = Wanted(scaling="thermometer", thresholds=3, width=4)
    monkeypatch.setattr(folds, "MOST_ROWS", 60)
    choice = choose(X, y, CLASSES, wanted)
    best = max(choice.cells, key=lambda cell: cell.merit)
    # Of 240 rows 60 choose, and 48 of them are fitted at a time.
    assert choice.fraction == pytest.approx(best.fraction * np.sqrt(48 / 240), rel=0.05)
    given = choose(X, y, CLASSES, replace(wanted, beta_fraction=0.1))
    assert given.fraction == 0.1
    few = choose(X[:60], y[:60], CLASSES, wanted)
    assert few.fraction in FRACTIONS


@pytest.mark.parametrize(("multi_class", "losses"), [("one_vs_rest", 3.0), ("one_vs_one", 2.0)])
def test_rows_are_judged_by_what_their_class_counts_for(multi_class, losses):
    """At beta_max every network is zero, and says the first class of all rows."""
    X, y = steps(200)
    y = np.where(np.arange(200) % 10 < 8, "in", np.where(np.arange(200) % 10 == 8, "out", "up"))
    wanted = Wanted("standardize", 3, "logistic", 1.0, multi_class=multi_class)
    for weights, score in ((None, 0.8), ("balanced", 1 / 3), ((2.0, 1.0, 7.0), 16 / 24)):
        weighted = replace(wanted, class_weight=weights)
        (cell, *_) = choose(X, y, ["in", "out", "up"], weighted).cells
        assert cell.score == pytest.approx(score)
        assert cell.loss == pytest.approx(losses * np.log(2.0), rel=0.02)


def test_weighted_classes_are_trained_for_too():
    """One row of ten is "in": networks of plain rows hardly say so, those of balanced ones do."""
    X = np.random.default_rng(0).normal(size=(200, 3))
    y = np.where(X[:, 0] * X[:, 1] > 1.0, "in", "out")
    wanted = Wanted("standardize", 3, "logistic", 0.2)
    plain, even = (
        choose(X, y, CLASSES, replace(wanted, class_weight=one)).cells[0].score
        for one in (None, "balanced")
    )
    assert plain < np.mean(y == "out") + 0.03
    assert even > 0.85


def test_what_is_fixed_stays():
    X, y = steps()
    wanted = Wanted(scaling="thermometer", thresholds=2, beta_fraction=0.1, width=5)
    choice = choose(X, y, CLASSES, wanted)
    assert choice.kind == Kind("thermometer", 2, "logistic")
    assert (choice.fraction, choice.width) == (0.1, 5)
    nothing = Wanted("standardize", 3, "squared", 0.05, None)
    assert not nothing.chooses
    assert choose(X, y, CLASSES, nothing).cells == ()


def test_a_table_of_mixed_columns_and_several_classes():
    X, y = steps()
    table = {"a": X[:, 0], "b": X[:, 1], "c": np.where(X[:, 2] > 1.0, "yes", "no")}
    y = np.where(X[:, 2] > 3.0, "third", y)
    choice = choose(table, y, ["in", "out", "third"], Wanted(beta_fraction=0.02))
    assert {cell.kind.scaling for cell in choice.cells} == {
        "standardize",
        "weighted",
        "thermometer",
    }
    assert all(0.0 <= score <= 1.0 for cell in choice.cells for score in cell.scores)


def test_a_regression_is_chosen_by_its_error():
    X, _ = steps()
    y = np.where(X[:, 0] > 1.0, 3.0, -3.0) + 0.01 * np.sign(np.sin(X[:, 2]))
    choice = choose(X, y, None, Wanted(beta_fraction=0.01))
    assert choice.kind.loss == "squared"
    assert choice.kind.scaling == "thermometer"
    assert all(cell.score < 0.0 for cell in choice.cells)


def test_progress_is_told_before_each_cell():
    X, y = steps(60)
    told = []
    wanted = Wanted(scaling="standardize", width=4)
    choice = choose(X, y, CLASSES, wanted, report=lambda *told_now: told.append(told_now))
    assert [done for done, _, _ in told] == list(range(len(told)))
    assert {total for _, total, _ in told} == {len(FRACTIONS)}
    assert told[0][2] == "standardize, logistic, β/β_max 0.2"
    assert len(told) == len([cell for cell in choice.cells if cell.width == 4])


def test_the_smallest_setting_that_is_hardly_worse_than_the_best_is_taken():
    X, y = steps()
    all_columns = (("columns", None),)
    choice = choose(X, y, CLASSES, Wanted(beta_fraction=0.05, layout=all_columns))
    best = max(choice.cells, key=lambda cell: cell.merit)
    enough = [
        cell for cell in choice.cells if cell.merit >= best.merit - SMALLER * best.error(len(y))
    ]
    assert {cell.fraction for cell in enough} == {0.05}
    (found,) = [
        cell for cell in choice.cells
        if (cell.kind, cell.fraction, cell.width) == (choice.kind, choice.fraction, choice.width)
    ]  # fmt: skip
    assert found in enough
    assert found.size_in_bytes == min(cell.size_in_bytes for cell in enough)


def test_a_cell_counts_the_numbers_of_its_encoding():
    X, y = steps()
    for scaling, numbers in (("weighted", 6), ("thermometer", 9)):
        wanted = Wanted(scaling=scaling, thresholds=3, beta_fraction=0.1, width=1)
        (cell,) = choose(X, y, CLASSES, wanted).cells
        d = 4 if scaling == "weighted" else 10
        assert cell.size_in_bytes == 8 * numbers + -(-(2 * d + 8) // 8) + 8


def test_chosen_encodings_are_rounded_and_given_ones_are_not():
    X, y = steps()
    for scaling in ("auto", "weighted"):
        wanted = Wanted(scaling=scaling, beta_fraction=0.1, width=1)
        cells = choose(X, y, CLASSES, wanted).cells
        for cell in cells:
            layout = wanted.layout_of(cell.kind, X)
            assert layout.compact == (scaling == "auto")
    wide = replace(wanted, layout=(("compact", True),))
    (given,), (rounded,) = cells, choose(X, y, CLASSES, wide).cells
    # Six means and scales in two bytes or one each, with a header of two a column.
    assert rounded.size_in_bytes <= given.size_in_bytes - 6 * 8 + 3 * (2 + 4)


def test_where_most_columns_tell_nothing_weighted_ones_are_better():
    merits = {"standardize": 0.0, "weighted": 0.0}
    for seed in range(2):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(80, 20))
        y = np.where(X[:, 0] + 0.3 * rng.normal(size=80) > 0.0, "in", "out")
        for scaling in merits:
            choice = choose(X, y, CLASSES, Wanted(scaling=scaling, beta_fraction=0.1))
            merits[scaling] += choice.cells[0].merit
    assert merits["weighted"] > merits["standardize"] + 0.1


@pytest.mark.parametrize("rows", [2, 5, 11])
def test_few_rows_get_the_plain_setting(rows):
    X, y = steps()
    y = np.array(["in", "out"] * 6)
    choice = choose(X[:rows], y[:rows], CLASSES, Wanted())
    assert (choice.kind, choice.fraction) == (Kind("standardize", 3, "logistic"), 0.05)
    assert choice.cells == ()


def test_many_columns_get_fewer_thresholds():
    rng = np.random.default_rng(0)
    kinds = Wanted().kinds(rng.normal(size=(40, 60)), CLASSES)
    layouts = [Wanted().layout_of(kind, rng.normal(size=(40, 60))).d for kind in kinds]
    assert [str(kind) for kind in kinds] == [
        "standardize, logistic", "thermometer 3, logistic", "weighted, logistic",
        "thermometer 4, logistic", "standardize, logistic, linear",
        "thermometer 3, logistic, linear", "weighted, logistic, linear",
        "thermometer 4, logistic, linear",
    ]  # fmt: skip
    assert max(layouts) <= WIDEST


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_fraction": 0.0}, "beta_fraction must be above 0 and at most 1 (got 0.0)"),
        ({"beta_fraction": True}, "beta_fraction must be above 0"),
        ({"beta_fraction": "some"}, "beta_fraction must be above 0"),
        ({"width": 0}, "width must be a whole number of neurons, 1 or more (got 0)"),
        ({"width": "wide"}, "width must be a whole number of neurons"),
        ({"loss": "unknown"}, "'unknown'"),
        ({"scaling": "unknown"}, "scaling must be one of standardize, none"),
    ],
)
def test_what_cannot_be_wanted_is_refused(options, message):
    X, y = steps(40)
    with pytest.raises(InputError) as error:
        choose(X, y, CLASSES, Wanted(**options))
    assert message in str(error.value)


def test_the_bound_that_large_fractions_are_left_out_by():
    """`p*(φ beta_max) ≥ φ ℓ(0)`, by concavity: every network's objective, so the relaxation's."""
    X, y = steps(50)
    problem = Problem(
        np.column_stack([np.log(X), np.ones(50)]), np.where(y == "in", 1.0, -1.0), 1.0
    )
    zero = problem.loss.value(np.zeros(50), problem.y)
    for fraction in (0.1, 0.4, 0.8):
        at = problem.with_beta(fraction * problem.beta_max)
        assert solve(at).upper_bound >= fraction * zero * (1.0 - 1e-9)


def test_paths_have_falling_objectives_and_respect_their_width():
    X, y = steps(60)
    problem = Problem(np.log(X), np.where(y == "in", 1.0, -1.0), 1.0, loss="logistic")
    found = list(path(problem, (0.2, 0.05, 0.01), 6, np.random.default_rng(0)))
    assert all(networks.neurons <= 6 for networks in found)
    losses = [problem.loss.value(networks.outputs[0].predictions, problem.y) for networks in found]
    assert losses == sorted(losses, reverse=True)
    again = found[-1].outputs[0]
    np.testing.assert_allclose(found[-1].scores(problem.X)[:, 0], again.predictions)
    assert found[-1].narrowed(2).neurons <= 2
