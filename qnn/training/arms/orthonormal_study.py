"""Do orthonormal weights help? A float ReLU network by Adam, paired over seeds, at equal cost.

Every kind sees the same rows, the same validation rows (on which its rate is chosen), the same
initial weights of a seed. Both columns are reported: equal steps, and equal seconds of processor
time. Differences to "none" are tested by a paired t-test, with Holm's correction over all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from qnn.numerics.adam import Adam
from qnn.training.arms.orthonormal import (
    Orthogonality,
    PowerSteps,
    Pullback,
    mapped,
    penalty_gradient,
)

Array = np.ndarray

RATES = (5e-4, 2e-3, 8e-3)
_BATCH = 128
_VALIDATION = 0.2


@dataclass(frozen=True, eq=False)
class Mlp:
    """Effective weights (out, in) and biases of a ReLU network; steps it took."""

    weights: list[Array]
    biases: list[Array]
    steps: int

    def scores(self, X: Array) -> Array:
        """Rows (n, d) to scores (n, classes)."""
        for k, (W, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            X = X @ W.T + b
            if k < len(self.weights) - 1:
                X = np.maximum(X, 0.0)
        return X

    def accuracy(self, X: Array, labels: Array) -> float:
        """The share of rows whose class has the largest score."""
        return float(np.mean(self.scores(X).argmax(axis=1) == labels))

    @property
    def lipschitz(self) -> float:
        """The product of the layers' largest singular values."""
        return float(np.prod([np.linalg.norm(W, 2) for W in self.weights]))


@dataclass(frozen=True)
class Row:
    """One kind on one set: means over seeds, in per cent, and the paired test against "none".

    half_width: of the 95 % interval of the difference to "none".
    """

    data: str
    kind: str
    equal: str
    test: float
    standard_error: float
    gap: float
    lipschitz: float
    difference: float
    half_width: float
    p_value: float
    p_holm: float


def train_mlp(
    X: Array,
    labels: Array,
    sizes: Sequence[int],
    setting: Orthogonality,
    rate: float,
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
) -> Mlp:
    """Train on rows X (n, sizes[0]) for that many steps, or seconds of processor time."""
    run = _Training(X, labels, sizes, setting, rate, seed)
    began, step, part = time.process_time(), 0, 0.0
    while part < 1.0:
        run.step(1.0 - part)
        step += 1
        if steps is not None:
            part = step / steps
        else:
            assert seconds is not None, "give steps or seconds"
            part = (time.process_time() - began) / seconds
    weights, _ = run.effective()
    return Mlp([w.copy() for w in weights], [b.copy() for b in run.biases], step)


class _Training:
    """Parameters under training."""

    def __init__(
        self,
        X: Array,
        labels: Array,
        sizes: Sequence[int],
        setting: Orthogonality,
        rate: float,
        seed: int,
    ) -> None:
        self.X, self.labels, self.setting = X, labels, setting
        self.rng = np.random.default_rng(seed)
        self.raw = [self.rng.standard_normal((m, d)) * np.sqrt(2.0 / d) for d, m in pairwise(sizes)]
        self.biases = [np.zeros(m) for m in sizes[1:]]
        self.states = [PowerSteps() for _ in self.raw]
        # Where the map fixes the size, the gain starts at what the raw weights had.
        self.gains = [np.array(np.linalg.norm(W, 2)) for W in self.raw[:-1]]
        learned = [*self.raw, *self.biases, *(self.gains if setting.gain else [])]
        self.adam = Adam(learned, rate)

    def effective(self) -> tuple[list[Array], list[tuple[Array, Pullback]]]:
        """The network's weights, and of each mapped layer h(W) and its pullback."""
        weights, maps = [], []
        for k, W in enumerate(self.raw):
            if k == len(self.raw) - 1 or not self.setting.maps:
                weights.append(W)
                continue
            Y, back = mapped(W, self.setting, self.states[k])
            weights.append(self.gains[k] * Y)
            maps.append((Y, back))
        return weights, maps

    def step(self, factor: float) -> None:
        """One step on a batch."""
        rows = self.rng.integers(0, len(self.X), min(_BATCH, len(self.X)))
        weights, maps = self.effective()
        slopes, by_biases = _slopes(self.X[rows], self.labels[rows], weights, self.biases)
        by_gains = [np.zeros(()) for _ in self.gains]
        for k, (Y, back) in enumerate(maps):
            by_gains[k] = np.asarray((slopes[k] * Y).sum())
            slopes[k] = back(self.gains[k] * slopes[k])
        if self.setting.kind == "soft":
            for k in range(len(self.raw) - 1):
                slopes[k] = slopes[k] + penalty_gradient(self.raw[k], self.setting.weight)
        learned = by_gains if self.setting.gain else []
        self.adam.step([*slopes, *by_biases, *learned], factor)


def _slopes(
    X: Array, labels: Array, weights: list[Array], biases: list[Array]
) -> tuple[list[Array], list[Array]]:
    """Gradients of the mean cross-entropy by weights and biases."""
    inputs = [X]
    for k, (W, b) in enumerate(zip(weights, biases, strict=True)):
        z = inputs[-1] @ W.T + b
        inputs.append(np.maximum(z, 0.0) if k < len(weights) - 1 else z)
    back = np.exp(inputs[-1] - inputs[-1].max(axis=1, keepdims=True))
    back /= back.sum(axis=1, keepdims=True)
    back[np.arange(len(X)), labels] -= 1.0
    back /= len(X)
    by_weights: list[Array] = []
    by_biases: list[Array] = []
    for k in range(len(weights) - 1, -1, -1):
        by_weights.append(back.T @ inputs[k])
        by_biases.append(back.sum(axis=0))
        back = (back @ weights[k]) * (inputs[k] > 0.0)
    return by_weights[::-1], by_biases[::-1]


def study(
    sets: dict[str, tuple[Array, Array, Array, Array]],
    settings: dict[str, Orthogonality],
    seeds: Sequence[int],
    hidden: Sequence[int] = (64, 32),
    steps: int = 1000,
) -> list[Row]:
    """Every setting on every set (X, labels, test X, test labels); "none" must be among them.

    The column of equal seconds gives each kind the processor time that "none" took.
    """
    found: list[tuple[str, str, str, Array]] = []
    for data, (X, y, Xt, yt) in sets.items():
        sizes = (X.shape[1], *hidden, int(y.max()) + 1)
        seconds = _time_of_none(X, y, sizes, steps)
        limits: dict[str, dict[str, Any]] = {
            "steps": {"steps": steps},
            "seconds": {"seconds": seconds},
        }
        for equal, limit in limits.items():
            for name, setting in settings.items():
                numbers = [_one(X, y, Xt, yt, sizes, setting, seed, limit) for seed in seeds]
                found.append((data, name, equal, np.array(numbers)))
    return _rows(found)


def _time_of_none(X: Array, y: Array, sizes: Sequence[int], steps: int) -> float:
    began = time.process_time()
    train_mlp(X, y, sizes, Orthogonality(), RATES[1], 0, steps=steps)
    return time.process_time() - began


def _one(
    X: Array,
    y: Array,
    Xt: Array,
    yt: Array,
    sizes: Sequence[int],
    setting: Orthogonality,
    seed: int,
    limit: dict[str, Any],
) -> tuple[float, float, float]:
    """(test, train, product of singular values) at the rate that is best on validation rows."""
    chosen = at_best_rate(X, y, sizes, setting, seed, limit)
    net, kept = chosen.network, chosen.kept
    return net.accuracy(Xt, yt), net.accuracy(X[kept], y[kept]), net.lipschitz


@dataclass(frozen=True, eq=False)
class Chosen:
    """A trained network, and the numbers of the rows that it was trained on."""

    network: Mlp
    kept: Array


def at_best_rate(
    X: Array,
    y: Array,
    sizes: Sequence[int],
    setting: Orthogonality,
    seed: int,
    limit: dict[str, Any],
) -> Chosen:
    """Train at each rate on four fifths of the rows; the one that is best on the others.

    limit: `steps` or `seconds`, as `train_mlp` takes them.
    """
    order = np.random.default_rng(seed).permutation(len(X))
    cut = max(1, int(_VALIDATION * len(X)))
    out, kept = order[:cut], order[cut:]
    best: tuple[float, Mlp | None] = (-1.0, None)
    for rate in RATES:
        net = train_mlp(X[kept], y[kept], sizes, setting, rate, seed, **limit)
        accuracy = net.accuracy(X[out], y[out])
        if accuracy > best[0]:
            best = (accuracy, net)
    assert best[1] is not None
    return Chosen(best[1], kept)


def _rows(found: list[tuple[str, str, str, Array]]) -> list[Row]:
    base = {(data, equal): a[:, 0] for data, name, equal, a in found if name == "none"}
    tests = [paired_test(a[:, 0], base[data, equal]) for data, _, equal, a in found]
    others = [i for i, (_, name, _, _) in enumerate(found) if name != "none"]
    corrected = dict(zip(others, holm([tests[i].p_value for i in others]), strict=True))
    return [
        Row(
            data,
            name,
            equal,
            100.0 * float(a[:, 0].mean()),
            100.0 * float(a[:, 0].std(ddof=1) / np.sqrt(len(a))),
            100.0 * float((a[:, 1] - a[:, 0]).mean()),
            float(np.exp(np.log(a[:, 2]).mean())),
            100.0 * tests[i].difference,
            100.0 * tests[i].half_width,
            tests[i].p_value,
            corrected.get(i, 1.0),
        )
        for i, (data, name, equal, a) in enumerate(found)
    ]


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, half of its 95 % interval, and Student's p of "no effect"."""

    difference: float
    half_width: float
    p_value: float


def paired_test(ours: Array, base: Array) -> PairedTest:
    """The paired t-test of two rows of numbers (n,), n at least 2, two-sided."""
    differences = np.asarray(ours, float) - np.asarray(base, float)
    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / np.sqrt(n)
    if error == 0.0:
        return PairedTest(mean, 0.0, 1.0 if mean == 0.0 else 0.0)
    half = float(stdtrit(n - 1, 0.975)) * error
    return PairedTest(mean, half, 2.0 * float(stdtr(n - 1, -abs(mean) / error)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (S. Holm, 1979), in the order given."""
    order = np.argsort(p_values)
    adjusted, running = np.ones(len(p_values)), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return [float(p) for p in adjusted]
