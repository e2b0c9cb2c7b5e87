"""From scores to probabilities: which rows are held out, and the curve fitted on their scores."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV

from qnn.errors import InputError, shown
from qnn.training.sigmoid import Sigmoids

Array = np.ndarray

METHODS = ("temperature", "sigmoid", "isotonic")


def check_calibration(method: object, folds: object) -> None:
    """Raise InputError for another method than those of `calibrated`, or fewer than two folds."""
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"calibration must be {', '.join(METHODS)} or None (got {shown(method)})")
    if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or folds < 2:
        raise InputError(
            f"calibration_folds must be a whole number of at least 2 (got {shown(folds)})"
        )


def held_out_folds(matrix: Array, y: Array, count: int) -> Array | None:
    """The fold of each row (n,), by class; None where a class has fewer than two different rows.

    Equal rows are in one fold, so that no network has seen a copy of what is held out from it, and
    a row of weight two counts as two rows do. At most ``count`` folds, and as many as the rarest
    class has different rows.
    """
    _, kind = np.unique(matrix, axis=0, return_inverse=True)
    different = [np.unique(kind[y == label]) for label in np.unique(y)]
    most = min(int(count), *(len(kinds) for kinds in different))
    if most < 2:
        return None
    folds = np.empty(len(y), dtype=np.int64)
    for label, kinds in zip(np.unique(y), different, strict=True):
        shuffled = np.random.default_rng(0).permutation(len(kinds))
        rows = np.flatnonzero(y == label)
        folds[rows] = shuffled[np.searchsorted(kinds, kind[rows])] % most
    return folds


class _Scores(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its scores: (n, 1) of two classes, else (n, C)."""

    def fit(self, X: Array, y: Array, sample_weight: Array | None = None) -> _Scores:
        """Nothing but the classes."""
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X: Array) -> Array:
        """The scores themselves."""
        return X[:, 0] if X.shape[1] == 1 else X

    def predict(self, X: Array) -> Array:
        """The classes of the largest scores."""
        scores = self.decision_function(X)
        largest = (scores > 0.0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(self.classes_[largest])


class Calibrator(Protocol):
    """What makes probabilities of scores."""

    def predict_proba(self, X: Array) -> Array:
        """Probabilities (n, C) from scores (n, 1) of two classes, else (n, C)."""
        ...


class _ClassSigmoids:
    """Platt's sigmoids, one a class."""

    def __init__(self, scores: Array, y: Array, weights: Array | None) -> None:
        classes, codes = np.unique(y, return_inverse=True)
        self.sigmoids = Sigmoids.fit(scores, codes, len(classes), weights)

    def predict_proba(self, X: Array) -> Array:
        """Probabilities (n, C) from scores (n, 1) of two classes, else (n, C)."""
        return self.sigmoids.probabilities(X[:, 0] if X.shape[1] == 1 else X)


def calibrated(scores: Array, y: Array, weights: Array | None, method: str) -> Calibrator:
    """What is fitted to scores (n,) or (n, C) of rows that nothing was trained on.

    method: "temperature" (C. Guo et al., On calibration of modern neural networks, 2017), "sigmoid"
    (J. Platt, Probabilistic outputs for support vector machines, 1999) or
    "isotonic" (B. Zadrozny, C. Elkan, Transforming classifier scores into accurate multiclass
    probability estimates, 2002).
    """
    if method == "sigmoid":
        return _ClassSigmoids(scores, y, weights)
    rows = np.arange(len(y))
    found = CalibratedClassifierCV(_Scores(), method=method, cv=[(rows, rows)], ensemble=False)
    fitted: Calibrator = found.fit(scores.reshape(len(scores), -1), y, sample_weight=weights)
    return fitted
