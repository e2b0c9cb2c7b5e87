"""The relaxation at image size: Fashion-MNIST, one class against the rest.

`python -m tests.benchmarks.image_size [--rows 60000] [--class 6] [--scaling unit|standardize]`.
The images are those of Debian's package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path

import numpy as np

from qnn.certificates.checker import verify
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import low_rank
from tests.benchmarks.measure import Stopwatch, gib, machine, peak_bytes

FOLDER = Path("/usr/share/datasets/fashion-mnist")


def load(rows: int, label: int, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """X (rows, 785), pixels and a constant; y is +1 for the class and -1 for the rest."""
    with gzip.open(FOLDER / "train-images-idx3-ubyte.gz") as stream:
        images = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 784)[:rows]
    with gzip.open(FOLDER / "train-labels-idx1-ubyte.gz") as stream:
        labels = np.frombuffer(stream.read(), np.uint8, offset=8)[:rows]
    X = np.ones((len(images), 785))
    np.divide(images, 255.0, out=X[:, :784])
    if scaling == "standardize":
        X[:, :784] -= X[:, :784].mean(axis=0)
        X[:, :784] /= X[:, :784].std(axis=0)
    return X, np.where(labels == label, 1.0, -1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--class", dest="label", type=int, default=6)
    parser.add_argument("--scaling", choices=["unit", "standardize"], default="unit")
    parser.add_argument("--loss", default="squared")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.3, 0.1])
    parser.add_argument("--tol", type=float, default=0.01)
    parser.add_argument("--time-limit", type=float, default=600.0)
    arguments = parser.parse_args()
    if not FOLDER.is_dir():
        sys.exit("error: no images: apt-get install dataset-fashion-mnist")
    print(machine())
    X, y = load(arguments.rows, arguments.label, arguments.scaling)
    problem = Problem(X, y, beta=1.0, loss=arguments.loss)
    del X
    n, d = problem.n, problem.d
    # cvxpy stacks the rows of A(.) on the paper's 2d x 2d variable: an entry for each row and each
    # pair of columns in the Z block, a float64 value and an integer row index of 4 or 8 bytes.
    block = n * d * d
    print(
        f"n = {n}, d = {d}; cvxpy+SCS would need {gib(8.0 * block)} for the values of the dense "
        f"n x d^2 block and {gib(16.0 * block)} with 64-bit indices, before any copy"
    )
    watch = Stopwatch()
    print(f"beta_max {problem.beta_max:.6g} in {watch.read()}, digest {problem.data_sha256[:8]}")
    for fraction in arguments.fractions:
        at = problem.with_beta(fraction * problem.beta_max)
        watch = Stopwatch()
        relaxed = low_rank.solve(at, tol=arguments.tol, time_limit=arguments.time_limit)
        taken = watch.read()
        watch = Stopwatch()
        proven = verify(relaxed.certificate, at.X, at.y)
        print(
            f"beta {fraction:g} of beta_max: {taken}, verified gap {relaxed.gap:.2e} in "
            f"[{proven:.8g}, {relaxed.upper_bound:.8g}], {relaxed.message}; checked again in "
            f"{watch.read()}; peak {gib(peak_bytes())}; {machine()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
