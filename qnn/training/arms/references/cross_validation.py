"""What the three references share: cross-validated choice of settings, and their size."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold


def best_by_cross_validation(
    estimator: BaseEstimator,
    grid: Mapping[str, Sequence[Any]],
    X: np.ndarray,
    labels: np.ndarray,
    seed: int,
) -> Any:
    """The estimator at the best of the grid by three stratified folds, fitted on all rows.

    Where a class has fewer than three rows there are no folds, and the first of the grid is taken.
    """
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if fewest < 3:
        first = {name: values[0] for name, values in grid.items()}
        return estimator.set_params(**first).fit(X, labels)
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    return GridSearchCV(estimator, dict(grid), cv=folds, n_jobs=1).fit(X, labels).best_estimator_


def size_in_bytes(estimator: Any) -> int:
    """What an estimator says itself, else the bytes of it pickled: nothing is ever unpickled."""
    own: int | None = getattr(estimator, "size_in_bytes", None)
    return len(pickle.dumps(estimator)) if own is None else own
