"""Dealing rows out: folds, hold-outs, all stratified by class and the same on every machine.

Written here rather than taken from scikit-learn, because a dry run has less time than its import
takes, and because ids depend on the rows: the order is drawn from the raw stream of PCG64, which
NumPy guarantees never to change.
"""

from __future__ import annotations

import numpy as np


def shuffled(rows: np.ndarray, seed: int) -> np.ndarray:
    """The rows in an order that depends on their number and the seed alone."""
    keys = np.random.PCG64(seed).random_raw(len(rows))
    return rows[np.argsort(keys, kind="stable")]


def deal(rows: np.ndarray, strata: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Deal rows into `count` disjoint folds, each sorted.

    Sizes differ by at most one, and so does the number of rows of one stratum.

    Args:
        rows: (n,) row numbers.
        strata: (n,) the stratum of each of them.
        count: number of folds.
        seed: of the shuffle.
    """
    order = _by_stratum(rows, strata, seed)
    # One round of dealing goes on from stratum to stratum: that keeps the sizes even.
    return [np.sort(order[fold::count]) for fold in range(count)]


def hold_out(
    rows: np.ndarray, strata: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into those that stay and a held-out share of each stratum, both sorted.

    `round(fraction · n)` rows are held out (at least one where fraction > 0), spread
    evenly over the strata (each share is exact to one row).
    """
    wanted = max(round(fraction * len(rows)), int(fraction > 0))
    order = _by_stratum(rows, strata, seed)
    # Evenly spaced positions in an order that is grouped by stratum take each one's share.
    positions = np.floor((np.arange(wanted) + 0.5) * len(rows) / max(wanted, 1)).astype(int)
    out = np.zeros(len(rows), dtype=bool)
    out[positions] = True
    return np.sort(order[~out]), np.sort(order[out])


def _by_stratum(rows: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    mixed = shuffled(np.arange(len(rows)), seed)
    return rows[mixed[np.argsort(strata[mixed], kind="stable")]]
