"""Brier scores in nested cross-validation: `python -m tests.benchmarks.probabilities [SET…]`.

The outer folds, settings and peers of `tests.benchmarks.nested`. Ours is `QuantizedClassifier()`,
whose probabilities are calibrated on its own training rows; the SVM's are those of Platt's sigmoid
on three inner folds. Brier score: the mean of (probability − 0 or 1)² of the second of two classes,
of more summed over the classes; *class shares* is what the training part's class shares score.
"""

import sys
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from qnn import QuantizedClassifier
from tests.benchmarks.nested import OUTER, deal, load
from tests.benchmarks.nested_peers import LARGE, Part, best_of, standardized

SETS = ("iris", "wine", "recurrence", "wisconsin", "wdbc", "ionosphere", "pima", "glass")


def brier(probabilities: np.ndarray, classes: np.ndarray, target: np.ndarray) -> float:
    """From probabilities (n, C) of `classes`."""
    squares = (probabilities - (target[:, None] == classes)) ** 2
    return float(squares.sum(axis=1).mean()) / (2.0 if len(classes) == 2 else 1.0)


def scores(train: Part, test: Part, seed: int) -> dict[str, float]:
    """The Brier score of every arm on a fold."""
    ours = QuantizedClassifier(random_state=seed).fit(*train)
    labels, counts = np.unique(train[1], return_counts=True)
    shares = np.tile(counts / counts.sum(), (len(test[1]), 1))
    found = {
        "shares": brier(shares, labels, test[1]),
        "ours": brier(ours.predict_proba(test[0]), ours.classes_, test[1]),
    }
    _, X, T = standardized(train, test)
    for name, setting in LARGE.items():
        fitted = _with_probabilities(best_of(*setting, X, train[1]), X, train[1])
        found[name] = brier(fitted.predict_proba(T), fitted.classes_, test[1])
    return found


def _with_probabilities(estimator: Any, X: np.ndarray, y: np.ndarray) -> Any:
    if not isinstance(estimator, SVC):
        return estimator
    return CalibratedClassifierCV(estimator, method="sigmoid", cv=3).fit(X, y)


def row(name: str) -> str:
    """A line of the table; ± is the standard error of the difference over the folds."""
    table, target = load(name)
    found = []
    for number, parts in enumerate(deal(table, target)[:OUTER]):
        train, test = ((table.iloc[rows], target[rows]) for rows in parts)
        found.append(scores(train, test, number))
    means = {arm: float(np.mean([one[arm] for one in found])) for arm in found[0]}
    best = min(LARGE, key=lambda arm: means[arm])
    apart = [one["ours"] - one[best] for one in found]
    cells = [f"{mean:.3f}" for mean in means.values()]
    cells.append(f"{np.mean(apart):+.3f} ± {np.std(apart, ddof=1) / np.sqrt(OUTER):.3f}")
    return f"| {' | '.join([name, *cells])} |"


def main() -> None:
    titles = ["set", "class shares", "ours", *LARGE, "ours less the best peer's"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    with threadpool_limits(1):
        for name in sys.argv[1:] or SETS:
            print(row(name), flush=True)


if __name__ == "__main__":
    main()
