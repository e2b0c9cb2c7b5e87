"""The problems of the benchmark: planted networks and real sets, by name."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from qnn.training.problems.problem import Problem

Array = np.ndarray

DATA = Path(__file__).parents[1] / "data"
PLANTED = ((20, 200), (40, 400), (60, 1000), (100, 1000), (60, 5000))
REAL = ("pima", "wdbc", "ionosphere", "german_credit", "digits")


def names(largest: int) -> list[str]:
    """Planted instances as ``d,n`` and the real sets, of at most this many lifted entries n d^2."""
    planted = [f"{d},{n}" for d, n in PLANTED if n * d * d <= largest]
    return planted + list(REAL)


def make(name: str, fraction: float = 0.1) -> Problem:
    """Squared loss at this fraction of beta_max."""
    X, y = _planted(name) if "," in name else _real(name)
    problem = Problem(X, y, 1.0)
    return problem.with_beta(fraction * problem.beta_max)


def _planted(name: str) -> tuple[Array, Array]:
    """Five random neurons on normal data, with as much noise as half the signal's deviation."""
    d, n = (int(part) for part in name.split(","))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    U, V = (np.sign(rng.standard_normal((d, 5))) for _ in range(2))
    y = ((X @ U) * (X @ V)) @ rng.standard_normal(5)
    return X, y + 0.5 * y.std() * rng.standard_normal(n)


def _real(name: str) -> tuple[Array, Array]:
    """Standardized columns and a constant one; classes as -1 and +1; digits are 3 or not."""
    if name == "wdbc":
        X, target = load_breast_cancer(return_X_y=True)
        return _standardize(X), 2.0 * target - 1.0
    if name == "digits":
        X, target = load_digits(return_X_y=True)
        return _standardize(X), np.where(target == 3, 1.0, -1.0)
    with (DATA / f"{name}.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    labels = [row.pop("target") for row in rows]
    columns: list[Array] = []
    for key in rows[0]:
        values = [row[key] for row in rows]
        try:
            columns.append(np.array([float(value) for value in values]))
        except ValueError:
            columns += [np.array(values) == level for level in sorted(set(values))]
    y = np.where(np.array(labels) == min(labels), 1.0, -1.0)
    return _standardize(np.column_stack(columns).astype(float)), y


def _standardize(X: Array) -> Array:
    X = X[:, X.std(axis=0) > 1e-12]
    return np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
