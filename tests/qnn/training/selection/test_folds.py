"""The rows that choose: of many rows all classes are among them, of few they are all."""

import numpy as np
import pytest

from qnn.training.selection import Wanted, choose, folds
from qnn.training.selection.folds import MOST_ROWS, all_fitted, make_folds


def first_rows(target, classes, seed):
    """The folds of the first rows of a permutation, whatever their classes."""
    rows = np.random.default_rng(seed).permutation(len(target))[:MOST_ROWS]
    count = 5 if len(rows) <= 1000 else 3
    if classes is not None:
        rows = rows[np.argsort(target[rows], kind="stable")]
    return [(rows[np.arange(len(rows)) % count != k], rows[k::count]) for k in range(count)]


def same(one, other):
    return all(
        np.array_equal(a, b)
        for parts in zip(one, other, strict=True)
        for a, b in zip(*parts, strict=True)
    )


@pytest.mark.parametrize("rows", [12, 500, 1000, 1001, 2000])
def test_folds_of_few_rows_are_those_of_a_permutation(rows):
    target = np.random.default_rng(rows).integers(0, 3, rows)
    target[:2] = 7
    for seed in range(3):
        for classes in (None, [0, 1, 2, 7]):
            found = make_folds(target, classes, np.random.default_rng(seed))
            assert same(found, first_rows(target, classes, seed))


def test_classes_that_the_first_rows_have_enough_of_are_drawn_as_they_come():
    target = np.random.default_rng(0).integers(0, 3, 9000)
    found = make_folds(target, [0, 1, 2], np.random.default_rng(1))
    assert same(found, first_rows(target, [0, 1, 2], 1))
    assert same(make_folds(target, None, np.random.default_rng(1)), first_rows(target, None, 1))


@pytest.mark.parametrize("rare", [2, 3, 4, 9])
def test_a_rare_class_of_many_rows_is_in_every_fold(rare):
    target = np.random.default_rng(0).integers(0, 3, 10_000)
    target[:rare] = 3
    for seed in range(20):
        found = make_folds(target, [0, 1, 2, 3], np.random.default_rng(seed))
        drawn = np.concatenate([test for _, test in found])
        assert len(drawn) == len(set(drawn)) == MOST_ROWS
        assert np.sum(target[drawn] == 3) >= min(rare, 3)
        assert all_fitted(found, target, [0, 1, 2, 3])
        plain = np.concatenate([test for _, test in first_rows(target, [0, 1, 2, 3], seed)])
        assert len(set(plain) - set(drawn)) <= 3


def test_so_many_classes_that_a_row_a_fold_is_more_than_the_rows_that_choose(monkeypatch):
    monkeypatch.setattr(folds, "MOST_ROWS", 20)
    target = np.arange(60) % 8
    found = make_folds(target, list(range(8)), np.random.default_rng(0))
    assert sorted(np.bincount(target[np.concatenate([test for _, test in found])])) == [5] * 8


def test_a_rare_class_does_not_stop_the_choice_of_pairs(monkeypatch):
    monkeypatch.setattr(folds, "MOST_ROWS", 60)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 2)), rng.integers(0, 3, 400)
    y[:3] = 3
    wanted = Wanted("standardize", 3, "logistic", width=4)
    for seed in range(3):
        cells = choose(X, y, range(4), wanted, seed).cells
        assert {cell.kind.multi_class for cell in cells} == {"one_vs_rest", "one_vs_one"}


def test_classes_that_no_row_has_are_not_tried_in_pairs():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), rng.integers(0, 3, 60)
    wanted = Wanted("standardize", 3, "logistic", width=4)
    cells = choose(X, y, range(4), wanted).cells
    assert {cell.kind.multi_class for cell in cells} == {"one_vs_rest"}
