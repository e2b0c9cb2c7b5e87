"""Training for robustness: `python -m tests.benchmarks.robust_training`.

Two cheap ways, β and loss, and rows with noise: each training row stands there once as it is and
``--copies`` times with noise, as `noise:` of a sweep makes them. Of the test rows of
random splits: accuracy, the median of the exact l2 radius (in standard deviations; 0 where the
answer is wrong), and the share provably correct within each of some radii. Means over the splits.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from threadpoolctl import threadpool_limits

import qnn
from qnn.certificates.robustness.networks import QuadraticNetwork, read_network
from qnn.certificates.robustness.quadratic import margin_forms
from qnn.features.noise import Noise
from qnn.features.preprocessing import FeatureLayout
from qnn.robustness.ball import Radii
from tests.benchmarks.measure import Stopwatch, machine

Array = np.ndarray
SETS = {"wdbc": (load_breast_cancer, 1), "digits": (load_digits, 3)}
WITHIN = (0.5, 1.0, 1.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=[*SETS], default=[*SETS])
    parser.add_argument("--losses", nargs="+", default=["squared", "logistic"])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.03, 0.01])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--splits", type=int, default=3)
    arguments = parser.parse_args()
    print(machine())
    within = " | ".join(f"proven within {radius:g}" for radius in WITHIN)
    print(f"| set | loss | β / β_max | noise | accuracy | median radius | {within} | neurons | s |")
    print("|" + "---|" * (8 + len(WITHIN)))
    axes = arguments.sets, arguments.losses, arguments.fractions, arguments.noise
    with threadpool_limits(1):
        for name, loss, fraction, noise in itertools.product(*axes):
            figures = np.mean(
                [
                    trained(name, split, loss, fraction, noise, arguments.copies)
                    for split in range(arguments.splits)
                ],
                axis=0,
            )
            told = " | ".join(f"{100.0 * share:.1f} %" for share in figures[2:-2])
            print(
                f"| {name} | {loss} | {fraction:g} | {noise:g} | {100.0 * figures[0]:.1f} % | "
                f"{figures[1]:.2f} | {told} | {figures[-2]:.0f} | {figures[-1]:.2f} |",
                flush=True,
            )


def trained(
    name: str, split: int, loss: str, fraction: float, noise: float, copies: int
) -> list[float]:
    """Accuracy, median radius, the shares, neurons and processor seconds of one network."""
    X, y, T, labels = prepared(name, split, Noise(noise, copies) if noise else None)
    moves = (np.ptp(X, axis=0) > 0.0).astype(np.float64)
    watch = Stopwatch()
    problem = qnn.Problem(X, y, beta=1.0, loss=loss)
    own = qnn.train(problem.with_beta(fraction * problem.beta_max), seed=0).network
    seconds = watch.read().processor
    radii = exact_radii(qnn.QuantizedNetwork(own.U, own.V, own.alpha), T, labels, moves)
    shares = [float(np.mean(radii > radius)) for radius in (0.0, *WITHIN)]
    return [shares[0], float(np.median(radii)), *shares[1:], own.neurons, seconds]


def exact_radii(network: qnn.QuantizedNetwork, T: Array, labels: Array, axes: Array) -> Array:
    """How far each row may move, l2, until another class wins; 0 where one does already."""
    read = read_network(network.to_bytes())
    assert isinstance(read, QuadraticNetwork)
    found = np.zeros(len(T))
    for sign in (-1.0, 1.0):
        (form,) = margin_forms(read.arrays, read.divisor, np.array([[sign]]), np.zeros(1))
        own = labels * sign > 0.0
        found[own] = Radii(form, axes).of(T[own])
    return found


def prepared(name: str, split: int, noise: Noise | None) -> tuple[Array, Array, Array, Array]:
    """Standardized training and test rows of a random split, and their signs."""
    load, positive = SETS[name]
    data: Any = load()
    labels = data.target == positive
    order = np.random.default_rng(split).permutation(len(labels))
    cut = len(labels) * 4 // 5
    parts = [
        {f"x{j}": column[rows] for j, column in enumerate(data.data.T)}
        for rows in (order[:cut], order[cut:])
    ]
    table = {f"x{j}": column for j, column in enumerate(data.data.T)}
    targets = labels[order[:cut]]
    fitted = FeatureLayout.from_table(table).fit(parts[0], targets, (False, True))
    if noise is not None:
        parts[0], targets = noise.noisy(parts[0]), noise.repeated(targets)
    return (
        fitted.transform(parts[0]), fitted.encode_target(targets),
        fitted.transform(parts[1]), fitted.encode_target(labels[order[cut:]]),
    )  # fmt: skip


if __name__ == "__main__":
    main()
