"""The rows that choose, and their folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Rows that choose, at most, unless a row of each class a fold is more; five folds to FEW_ROWS
# rows, three beyond.
MOST_ROWS = 2000
FEW_ROWS = 1000
FOLDS = {True: 5, False: 3}
# Fewer rows than this, or than two of a class, make no folds.
FEWEST_ROWS = 12

Folds = list[tuple[np.ndarray, np.ndarray]]


def rows_used(rows: int) -> int:
    """How many of so many rows choose."""
    return min(rows, MOST_ROWS)


def fold_count(rows: int) -> int:
    """The number of folds of so many rows."""
    return FOLDS[rows <= FEW_ROWS]


def too_few(target: np.ndarray, classes: Sequence[Any] | None) -> bool:
    """Whether these rows make no folds."""
    fewest = np.unique(target, return_counts=True)[1].min() if classes is not None else len(target)
    return bool(len(target) < FEWEST_ROWS or fewest < 2)


def make_folds(
    target: np.ndarray, classes: Sequence[Any] | None, rng: np.random.Generator
) -> Folds:
    """Rows to fit and rows to judge of each fold, classes spread evenly.

    Each class has a row a fold, or all that it has: where it has two, every fold fits one of it.
    """
    order = rng.permutation(len(target))
    count = fold_count(rows_used(len(order)))
    if classes is None:
        rows = order[:MOST_ROWS]
    else:
        rows = order[_drawn(target[order], count)]
        rows = rows[np.argsort(target[rows], kind="stable")]
    fold = np.arange(len(rows)) % count
    return [(rows[fold != one], rows[fold == one]) for one in range(count)]


def all_fitted(folds: Folds, target: np.ndarray, classes: Sequence[Any]) -> bool:
    """Whether every fold fits rows of each class."""
    return all(len(np.unique(target[fit])) == len(classes) for fit, _ in folds)


def _drawn(labels: np.ndarray, each: int) -> np.ndarray:
    """Which of rows in random order are drawn, ascending: the first `MOST_ROWS` of them.

    Rows of a class that has fewer than `each` there, and more behind, take the places of the last
    ones that can be spared.
    """
    by_class = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    needed = np.empty(len(labels), dtype=bool)
    needed[by_class] = np.arange(len(labels)) - np.repeat(starts, sizes) < each
    first = np.arange(len(labels)) < MOST_ROWS
    late, spare = np.flatnonzero(needed & ~first), np.flatnonzero(first & ~needed)
    first[late] = True
    first[spare[max(0, len(spare) - len(late)) :]] = False
    return np.flatnonzero(first)


def take(table: Any, rows: np.ndarray) -> Any:
    """Rows of a data frame, a mapping of columns or a matrix."""
    if hasattr(table, "iloc"):
        return table.iloc[rows]
    if isinstance(table, dict):
        return {name: column[rows] for name, column in table.items()}
    return table[rows]
