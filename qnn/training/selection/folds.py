"""The rows that choose, and their folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Rows that choose, at most; five folds to FEW_ROWS rows, three beyond.
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
    """Rows to fit and rows to judge of each fold, classes spread evenly."""
    rows = rng.permutation(len(target))[:MOST_ROWS]
    count = fold_count(len(rows))
    if classes is not None:
        rows = rows[np.argsort(target[rows], kind="stable")]
    fold = np.arange(len(rows)) % count
    return [(rows[fold != one], rows[fold == one]) for one in range(count)]


def take(table: Any, rows: np.ndarray) -> Any:
    """Rows of a data frame, a mapping of columns or a matrix."""
    if hasattr(table, "iloc"):
        return table.iloc[rows]
    if isinstance(table, dict):
        return {name: column[rows] for name, column in table.items()}
    return table[rows]
