"""Nested cross-validation beside scikit-learn: `python -m tests.benchmarks.accuracy [SET…]`.

Five stratified outer folds; each sees only networks and references whose settings (ours: encoding,
loss, activation and β; theirs: their own grids) three inner folds of its training part chose. Sizes
are packed weight bits and scalars against the pickled estimator. Prints Markdown.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from qnn.features.preprocessing import FeatureLayout, Scaling
from qnn.losses import get_loss
from qnn.networks.activations import Activation, Polynomial, get_activation
from qnn.training.arms import REFERENCES, get_arm
from qnn.training.arms.references.cross_validation import size_in_bytes
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.rounding import round_relaxation
from tests.benchmarks.encoders import load

SETS = ("wdbc", "ionosphere", "pima", "german_credit", "digits-3")
FRACTIONS = (0.1, 0.03, 0.01)
WIDTH = 32
OUTER, INNER = 5, 3


@dataclass(frozen=True)
class Kind:
    """What a network is made of, but β."""

    scaling: Scaling
    loss: str
    activation: Activation
    thresholds: int = 3

    def __str__(self) -> str:
        bits = f" {self.thresholds}" if self.scaling == "thermometer" else ""
        return f"{self.scaling}{bits}, {self.loss}, {self.activation.name}"


BILINEAR, RELU = get_activation("bilinear"), Polynomial(0.0937, 0.5, 0.4688)
KINDS = (
    Kind("standardize", "squared", BILINEAR),
    Kind("standardize", "logistic", RELU),
    Kind("thermometer", "squared", BILINEAR),
    Kind("thermometer", "logistic", BILINEAR),
    Kind("thermometer", "logistic", BILINEAR, 7),
)


def path(
    kind: Kind, table: pd.DataFrame, target: np.ndarray, fit: Any, test: Any, fractions: Any
) -> list[tuple[float, int]]:
    """Accuracy on the rows `test` and bytes, for each fraction of beta_max, largest first."""
    layout = FeatureLayout.from_table(table, scaling=kind.scaling, thresholds=kind.thresholds)
    prepared = layout.fit(table.iloc[fit], target[fit], list(np.unique(target)))
    problem = Problem(
        prepared.transform(table.iloc[fit]),
        prepared.encode_target(target[fit]),
        beta=1.0,
        loss=get_loss(kind.loss),
        activation=kind.activation,
    )
    found, previous = [], None
    for fraction in fractions:
        at = problem.with_beta(fraction * problem.beta_max)
        previous = solve(at, tol=1e-3, warm_start=previous)
        network = round_relaxation(previous, WIDTH, np.random.default_rng(0))
        scores = network.decision_function(prepared.transform(table.iloc[test]))
        hit = prepared.decode(scores) == target[test]
        found.append((float(np.mean(hit)), network.size_in_bytes))
    return found


def ours(
    table: pd.DataFrame, target: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[float, int, str]:
    """Accuracy on the outer fold, bytes, and the settings that the inner folds chose."""
    folds = StratifiedKFold(INNER, shuffle=True, random_state=1)
    means = {}
    for kind in KINDS:
        inner = [
            [accuracy for accuracy, _ in path(kind, table, target, train[f], train[t], FRACTIONS)]
            for f, t in folds.split(train, target[train])
        ]
        means |= dict(zip([(kind, f) for f in FRACTIONS], np.mean(inner, axis=0), strict=True))
    kind, fraction = max(means, key=lambda setting: means[setting])
    fractions = FRACTIONS[: FRACTIONS.index(fraction) + 1]
    accuracy, size = path(kind, table, target, train, test, fractions)[-1]
    return accuracy, size, f"{kind}, β/β_max {fraction:g}"


def reference(
    name: str, table: pd.DataFrame, target: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[float, int]:
    """Accuracy on the outer fold and pickled size of a reference."""
    layout = FeatureLayout.from_table(table)
    prepared = layout.fit(table.iloc[train], target[train], list(np.unique(target)))
    estimator = get_arm(name)(prepared.transform(table.iloc[train]), target[train], 0)
    predicted = estimator.predict(prepared.transform(table.iloc[test]))
    return float(np.mean(predicted == target[test])), size_in_bytes(estimator)


def evaluate(name: str) -> None:
    """Print a row of the table for one set, and on stderr what each fold chose."""
    began = time.monotonic()
    table, target = load(name)
    folds = StratifiedKFold(OUTER, shuffle=True, random_state=0)
    scores: dict[str, list[float]] = {arm: [] for arm in ("ours", *REFERENCES)}
    sizes: dict[str, list[int]] = {arm: [] for arm in scores}
    for train, test in folds.split(table, target):
        accuracy, size, chosen = ours(table, target, train, test)
        scores["ours"].append(accuracy)
        sizes["ours"].append(size)
        print(f"{name}: {chosen}: {accuracy:.3f}, {size} bytes", file=sys.stderr, flush=True)
        for arm in REFERENCES:
            accuracy, size = reference(arm, table, target, train, test)
            scores[arm].append(accuracy)
            sizes[arm].append(size)
    mean = {arm: float(np.mean(values)) for arm, values in scores.items()}
    best = max(REFERENCES, key=lambda arm: mean[arm])
    apart = np.subtract(scores["ours"], scores[best])
    error = float(np.std(apart, ddof=1) / np.sqrt(OUTER))
    cells = [f"{100 * mean[arm]:.1f} ({np.mean(sizes[arm]):.0f})" for arm in scores]
    shares = [f"{100 * np.mean(sizes['ours']) / np.mean(sizes[arm]):.1f} %"
              for arm in ("rbf_svm", "gradient_boosting")]  # fmt: skip
    difference = f"{100 * np.mean(apart):+.1f} ± {100 * error:.1f}"
    seconds = f"{time.monotonic() - began:.0f}"
    print(f"| {' | '.join([name, *cells, difference, *shares, seconds])} |", flush=True)


def main() -> None:
    arms = ["ours", *REFERENCES]
    titles = ["set", *arms, "points beside the best", "of the SVM", "of boosting", "seconds"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    with threadpool_limits(1):
        for name in sys.argv[1:] or SETS:
            evaluate(name)


if __name__ == "__main__":
    main()
