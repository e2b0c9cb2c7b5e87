"""Robustness: `python -m tests.benchmarks.robustness [--mnist mnist_5k.csv.gz]`.

Quantized networks on wdbc and digits: the exact radius of every test row. ReLU networks trained
here against attacks, on Fashion-MNIST (Debian's dataset-fashion-mnist) or on a file of MNIST
digits: the share of images that intervals, linear bounds, the linear program, the dual and
branching prove beside the share that attacks do not break. Processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog
from sklearn.datasets import load_breast_cancer, load_digits
from threadpoolctl import threadpool_limits

import qnn
from qnn.certificates.robustness.relu import System, neuron_bounds, substituted
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits, Prover
from qnn.robustness.result import Robustness
from tests.benchmarks.adversarial_training import FOLDER, Array, fashion, mnist, trained
from tests.benchmarks.measure import gib, machine, peak_bytes
from tests.benchmarks.robustness_own import EPSILON

ARCHITECTURES = {
    "784-100-100-10": [784, 100, 100, 10],
    "784-200-100-50-10": [784, 200, 100, 50, 10],
}

BOUNDS = (
    "interval",
    "linear bounds (CROWN)",
    "linear program (HiGHS)",
    "dual without splits",
    "dual and splits",
)


@dataclass(frozen=True)
class Budget:
    """First image, images at most, processor seconds of one image's search and of all of them.

    rows: a file of rows of earlier runs, which the table has too and which grows; None: none.
    """

    first: int
    images: int
    seconds: float
    budget: float
    rows: str | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist")
    parser.add_argument("--images", type=int, default=100, help="at most, of each network")
    parser.add_argument("--first", type=int, default=0, help="the image to begin with")
    parser.add_argument("--seconds", type=float, default=20.0, help="for one image's search")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for one network")
    parser.add_argument("--rows", help="a file that keeps images' rows: asked again, it goes on")
    parser.add_argument("--networks", nargs="+", choices=[*ARCHITECTURES], default=[*ARCHITECTURES])
    parser.add_argument("--only", choices=["quantized", "relu"])
    arguments = parser.parse_args()
    print(machine())
    with threadpool_limits(1):
        if arguments.only != "relu":
            quantized()
        if arguments.only != "quantized":
            limits = Budget(*(getattr(arguments, one.name) for one in fields(Budget)))
            relu(arguments.mnist, arguments.networks, limits)
    print(f"peak {gib(peak_bytes())}; {machine()}")


def quantized() -> None:
    """Exact radii, in standard deviations, of the test rows of two sets."""
    print("| set | d | rows | accuracy | median radius | largest gap | s a row | largest |")
    print("|---|---|---|---|---|---|---|---|")
    sets = (("wdbc", load_breast_cancer, 100), ("digits, 3 or not", load_digits, 20))
    for name, load, count in sets:
        data = load()
        labels = data.target == (1 if name == "wdbc" else 3)
        table = {f"x{j}": column for j, column in enumerate(data.data.T)}
        order = np.random.default_rng(0).permutation(len(labels))
        train, test = order[: len(order) * 4 // 5], order[len(order) * 4 // 5 :][:count]
        part = {key: column[train] for key, column in table.items()}
        fitted = FeatureLayout.from_table(table).fit(part, labels[train], (False, True))
        problem = qnn.Problem(fitted.transform(part), fitted.encode_target(labels[train]), 1.0)
        bare = qnn.train(problem.with_beta(0.1 * problem.beta_max), seed=0).network
        network = qnn.QuantizedNetwork(bare.U, bare.V, bare.alpha, preprocessing=fitted)
        prover = Prover(network)
        rows = [{key: column[i] for key, column in table.items()} for i in test]
        prover.largest_radius(rows[0], unit="scale")
        found, seconds = [], []
        for row in rows:
            began = time.process_time()
            found.append(prover.largest_radius(row, unit="scale"))
            seconds.append(time.process_time() - began)
        gaps = [one.attacked / max(one.certified, 1e-300) - 1.0 for one in found]
        hits = network.predict({key: column[test] for key, column in table.items()}) == labels[test]
        print(
            f"| {name} | {fitted.layout.d} | {len(rows)} | {hits.mean():.3f} | "
            f"{np.median([one.certified for one in found]):.3f} | {max(gaps):.1e} | "
            f"{np.mean(seconds):.3f} | {max(seconds):.3f} |",
            flush=True,
        )


def relu(path: str | None, names: list[str], limits: Budget) -> None:
    """Verified beside attacked accuracy of networks trained against attacks."""
    if path is None and not FOLDER.is_dir():
        print("no images: apt-get install dataset-fashion-mnist, or give --mnist")
        return
    train, test = mnist(path) if path else (fashion("train", 6000), fashion("t10k", 500))
    for name in names:
        network = trained(*train, ARCHITECTURES[name], EPSILON, 12)
        hits = network.predict(test[0]) == test[1]
        print(f"{name}: accuracy {hits.mean():.3f} of {len(hits)}, epsilon {EPSILON}", flush=True)
        verified(network, *test, limits)


def verified(network: LayeredNetwork, X: Array, y: Array, limits: Budget) -> None:
    """What each bound proves of the first images, as many as the budget lets begin."""
    prover, file = Prover(network), RowsFile(limits, network)
    done = {row["image"] for row in file.rows}
    began = time.process_time()
    for index in range(limits.first, min(limits.first + limits.images, len(X))):
        if time.process_time() - began > limits.budget:
            break
        if index not in done:
            row = outcomes(prover, X[index], int(y[index]), limits.seconds)
            told = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if value)
            print(f"image {index}: {told}", flush=True)
            file.add({"image": index} | row)
    table(file.rows)


class RowsFile:
    """Rows of one network's images with one limit of seconds, kept in a file where there is one."""

    def __init__(self, limits: Budget, network: LayeredNetwork) -> None:
        self.path = None if limits.rows is None else Path(limits.rows)
        sha256 = hashlib.sha256(network.to_bytes()).hexdigest()
        self.asked = {"network": sha256, "epsilon": EPSILON, "seconds": limits.seconds}
        kept: list[dict[str, Any]] = []
        if self.path is not None and self.path.exists():
            kept = [json.loads(line) for line in self.path.read_text().splitlines()]
        self.rows = [row for row in kept if all(row[key] == self.asked[key] for key in self.asked)]

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row at once: a run that is stopped loses no more than the image in work."""
        self.rows.append(self.asked | row)
        if self.path is not None:
            with self.path.open("a") as stream:
                stream.write(json.dumps(self.rows[-1]) + "\n")


def table(rows: list[dict[str, Any]]) -> None:
    """Shares of all images, and the seconds of those that an attack leaves."""
    count = len(rows)
    print(f"| of {count} images | | share | s an image that attacks do not break |")
    print("|---|---|---|---|")
    for name in ("correct", "not broken by attacks", *BOUNDS, "decided") if rows else ():
        spent = [row[f"s {name}"] for row in rows if f"s {name}" in row]
        seconds = f"{np.mean(spent):.2f}, {max(spent):.1f} at most" if spent else ""
        total = int(sum(row[name] for row in rows))
        print(f"| {name} | {total} | {total / count:.1%} | {seconds} |", flush=True)


def outcomes(prover: Prover, x: Array, label: int, seconds: float) -> dict[str, float]:
    """Of one image: 1 where a side says so, and the processor seconds of each bound.

    No bound is asked of an image that an attack breaks: none could prove it.
    """

    def asked(effort: str) -> Robustness:
        return prover.certify(
            x, EPSILON, label=label, effort=effort, limits=(0.0, 1.0),
            search=Limits(nodes=10**6, seconds=seconds),
        )  # fmt: skip

    correct = prover.network.predict(x[None])[0] == label
    attacked = asked("interval")
    unbroken = attacked.verdict != "vulnerable"
    row = {"correct": float(correct), "not broken by attacks": float(unbroken)}
    row |= dict.fromkeys(BOUNDS, 0.0) | {"decided": float(not unbroken)}
    if not unbroken:
        return row
    row["interval"] = float(attacked.verdict == "robust")
    began = time.process_time()
    row["linear bounds (CROWN)"] = float(asked("crown").verdict == "robust")
    row["s linear bounds (CROWN)"] = time.process_time() - began
    began = time.process_time()
    least = least_by_linear_program(prover.network, x, label)
    row["linear program (HiGHS)"] = float(least > 0.0)
    row["s linear program (HiGHS)"] = time.process_time() - began
    found = asked("exact")
    robust = found.verdict == "robust"
    row["dual without splits"] = float(robust and not (found.certificate.splits >= 0).any())
    row["dual and splits"] = float(robust)
    row["s dual and splits"] = found.seconds
    row["decided"] = float(found.verdict != "open")
    # The search attacks as well, from the dual's points.
    row["not broken by attacks"] = float(found.verdict != "vulnerable")
    return row


def least_by_linear_program(network: LayeredNetwork, x: Array, label: int) -> float:
    """The least margin of the triangle relaxation, by HiGHS; not proven."""
    layers = list(zip(network.weights, network.biases, strict=True))
    box = np.maximum(x - EPSILON, 0.0), np.minimum(x + EPSILON, 1.0)
    bounds = neuron_bounds(layers[:-1], box)
    W, b = layers[-1]
    return min(
        _triangles(
            substituted(layers[:-1], bounds, box, W[:, label] - W[:, k], float(b[label] - b[k])),
            bounds,
        )
        for k in range(network.outputs)
        if k != label
    )


def _triangles(system: System, bounds: list[tuple[Array, Array]]) -> float:
    n, h = len(system.m), len(system.y0)
    low, high = (np.concatenate([b[(b0 < 0) & (b1 > 0)] for (b0, b1), b in pairs]) for pairs in (
        [(pair, pair[0]) for pair in bounds], [(pair, pair[1]) for pair in bounds])
    )  # fmt: skip
    own = np.zeros((h, n))
    own[np.arange(h), np.arange(n - h, n)] = system.r[n - h :]
    m, slope = system.m[n - h :], (high / (high - low))[:, None]
    # x >= y, and x <= slope (y - low); x = m + own z >= 0 is the box.
    A = np.concatenate([system.Y.T - own, own - slope * system.Y.T])
    b = np.concatenate([m - system.y0, slope[:, 0] * (system.y0 - low) - m])
    done = linprog(system.g, A_ub=A, b_ub=b, bounds=(-1.0, 1.0), method="highs")
    return float(system.c + done.fun)


if __name__ == "__main__":
    main()
