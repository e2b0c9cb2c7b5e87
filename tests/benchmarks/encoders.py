"""Test accuracy of the encoders on real sets: `python -m tests.benchmarks.encoders [SET…]`.

Five stratified folds. On each training part β is chosen on a fifth of it that is held out, then the
network is trained on all of it; the fold itself chooses nothing. Prints Markdown.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split
from threadpoolctl import threadpool_limits

from qnn.features.preprocessing import FeatureLayout
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.rounding import round_relaxation

DATA = Path(__file__).parents[1] / "data"
SETS = ("wdbc", "ionosphere", "german_credit")
SCALINGS = ("standardize", "quantile", "thermometer")
FRACTIONS = (0.1, 0.03, 0.01, 0.003)
WIDTH = 32


def load(name: str) -> tuple[pd.DataFrame, np.ndarray]:
    if name == "wdbc":
        bunch = load_breast_cancer(as_frame=True)
        return bunch.data, bunch.target.to_numpy()
    if name == "digits-3":
        X, y = load_digits(return_X_y=True, as_frame=True)
        return X, (y == 3).to_numpy().astype(int)
    table = pd.read_csv(DATA / f"{name}.csv")
    return table.drop(columns="target"), table["target"].to_numpy()


def scores(
    layout: FeatureLayout,
    table: pd.DataFrame,
    target: np.ndarray,
    test: tuple[pd.DataFrame, np.ndarray],
    fractions: tuple[float, ...],
) -> list[tuple[float, int]]:
    """Accuracy on `test` and size in bytes for each fraction of beta_max, largest first."""
    prepared = layout.fit(table, target, list(np.unique(target)))
    problem = Problem(prepared.transform(table), prepared.encode_target(target), beta=1.0)
    found, previous = [], None
    for fraction in fractions:
        at = problem.with_beta(fraction * problem.beta_max)
        previous = solve(at, tol=1e-3, warm_start=previous)
        network = round_relaxation(previous, WIDTH, np.random.default_rng(0))
        predicted = prepared.decode(network.decision_function(prepared.transform(test[0])))
        found.append((float(np.mean(predicted == test[1])), network.size_in_bytes))
    return found


def evaluate(name: str, scaling: str) -> tuple[float, float, float, float]:
    """Mean accuracy, its standard error over folds, mean bytes, mean fraction chosen."""
    table, target = load(name)
    layout = FeatureLayout.from_table(table, scaling=scaling)
    rows = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(table, target):
        fit, held = train_test_split(
            train, test_size=0.2, random_state=0, stratify=target[train]
        )  # fmt: skip
        inner = scores(
            layout, table.iloc[fit], target[fit], (table.iloc[held], target[held]), FRACTIONS
        )
        chosen = int(np.argmax([accuracy for accuracy, _ in inner]))
        tested = table.iloc[test], target[test]
        path = FRACTIONS[: chosen + 1]
        accuracy, size = scores(layout, table.iloc[train], target[train], tested, path)[-1]
        rows.append((accuracy, size, FRACTIONS[chosen]))
    accuracies = [row[0] for row in rows]
    error = float(np.std(accuracies, ddof=1) / np.sqrt(len(rows)))
    return (
        float(np.mean(accuracies)),
        error,
        float(np.mean([row[1] for row in rows])),
        float(np.mean([row[2] for row in rows])),
    )


def main() -> None:
    print("| set | scaling | test accuracy | ± | bytes | mean β/β_max | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name in sys.argv[1:] or SETS:
        for scaling in SCALINGS:
            began = time.monotonic()
            with threadpool_limits(1):
                accuracy, error, size, fraction = evaluate(name, scaling)
            seconds = time.monotonic() - began
            print(
                f"| {name} | {scaling} | {accuracy:.3f} | {error:.3f} | {size:.0f} | "
                f"{fraction:.3g} | {seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
