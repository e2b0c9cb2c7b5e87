"""Large ReLU networks: `python -m tests.benchmarks.robustness_large [--model M.onnx | --train]`.

Without a network: random convolutional networks of 10,000 to 100,000 activations, each in a process
of its own: peak memory and processor seconds of bounds, some first-order steps and their proof.
With a model of 784 inputs (ONNX, npz), or a network trained here against attacks (``--train``, of
layers such as ``8@4x4s2p1``: 8 kernels of 4 by 4, stride 2, padding 1, or ``32``): of some MNIST
digits (``--mnist``), or Fashion-MNIST's, the margin over the nearest class by linear bounds and by
the dual, both proven, beside an attack's. One thread; what is printed is what was measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from pipeline.datasets.examples import load_network
from qnn.certificates.robustness.forms import middle_and_radius
from qnn.certificates.robustness.structured import bounds as layered
from qnn.certificates.robustness.structured.form import Stack
from qnn.networks import sparse_steps
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits, Prover
from qnn.robustness.attacks import Ball, descended
from qnn.robustness.duals.first_order import ascend
from tests.benchmarks.adversarial_training import Array, fashion, mnist
from tests.benchmarks.convolutional_training import trained
from tests.benchmarks.measure import Stopwatch, gib, machine, peak_bytes

CHANNELS, HEIGHT = 8, 16
SMALL = ("8@4x4s2p1", "16@4x4s2p1", "32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--model")
    parser.add_argument("--train", nargs="*", metavar="LAYER", help=f"default: {' '.join(SMALL)}")
    parser.add_argument("--keep", help="write the trained network there (npz), for --model")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--solver", choices=["auto", "first_order"], default="first_order")
    parser.add_argument("--mnist")
    parser.add_argument("--images", type=int, nargs="+", default=[0])
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of one image, with auto")
    parser.add_argument("--own", type=int, help="one size, in this process")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        if arguments.own:
            of_size(arguments.own, arguments.steps)
        elif arguments.model or arguments.train is not None:
            print(machine())
            of_images(arguments)
        else:
            print(machine())
            print("| activations | weights not 0 | linear bound | dual | proven | peak | s |")
            print("|---|---|---|---|---|---|---|", flush=True)
            for size in arguments.sizes:
                command = [sys.executable, "-m", "tests.benchmarks.robustness_large"]
                own = ["--own", str(size), "--steps", str(arguments.steps)]
                subprocess.run([*command, *own], check=True)


def convolutional(activations: int) -> LayeredNetwork:
    """Two layers of eight 3x3 kernels on a long image, and a mean as the score; random weights."""
    width = max(1, activations // (2 * CHANNELS * HEIGHT))
    rng = np.random.default_rng(0)
    shape: tuple[int, ...] = (1, HEIGHT, width)
    weights, biases = [], []
    for before in (1, CHANNELS):
        kernel = rng.normal(size=(CHANNELS, before, 3, 3)) * np.sqrt(2.0 / (9 * before))
        constants = [None, kernel, 0.1 * rng.normal(size=CHANNELS)]
        start = sparse_steps.nothing(int(np.prod(shape)))
        given = {"pads": [1, 1, 1, 1]}
        W, b, shape = sparse_steps.applied("Conv", _none, start, shape, constants, given)
        weights.append(W)
        biases.append(b)
    last = rng.normal(size=(weights[-1].shape[1], 1)) / weights[-1].shape[1]
    return LayeredNetwork((*weights, sparse.csc_array(last)), (*biases, np.zeros(1)))


def _none(rows: Array, affine: Array, constants: sparse_steps.Constants, given: object) -> Array:
    return rows


def of_size(activations: int, steps: int) -> None:
    """A row of the table of memory."""
    network = convolutional(activations)
    watch = Stopwatch()
    rng = np.random.default_rng(1)
    inputs = layered.Inputs(rng.uniform(size=network.d), np.full(network.d, 0.05), ball=False)
    w = sparse.csc_array(network.weights[-1]).toarray()[:, 0]
    linear, dual = _both(network, inputs, w, 0.0, steps)
    entries = sum(W.nnz for W in network.weights)
    print(
        f"| {network.hidden} | {entries} | {linear:.4f} | {dual:.4f} | yes | "
        f"{gib(peak_bytes())} | {watch.read().processor:.0f} |",
        flush=True,
    )


def of_images(arguments: argparse.Namespace) -> None:
    """Bounds and attacks of some test images, and how many each of them decides."""
    given = arguments.mnist
    train, (X, y) = mnist(given) if given else (fashion("train", 6000), fashion("t10k", 500))
    watch = Stopwatch()
    if arguments.model:
        network = load_network(arguments.model)
        assert isinstance(network, LayeredNetwork)
    else:
        layers = arguments.train or list(SMALL)
        network = trained(*train, layers, arguments.epsilon, arguments.epochs)
        if arguments.keep:
            network.save(arguments.keep)
    hits = network.predict(X) == y
    print(f"{network.hidden} activations, accuracy {hits.mean():.3f}, {watch.read()}", flush=True)
    if arguments.solver == "auto":
        by_every_means(network, X, y, arguments)
        return
    found = [
        of_image(network, X[index], int(y[index]), arguments.epsilon, arguments.steps)
        for index in arguments.images
    ]
    linear, dual, attack = (np.array(found) > 0.0).sum(axis=0)
    print(
        f"of {len(found)} images at {arguments.epsilon:g}: linear bounds prove {linear}, the dual "
        f"{dual}, attacks leave {attack}"
    )


def by_every_means(
    network: LayeredNetwork, X: Array, y: Array, arguments: argparse.Namespace
) -> None:
    """What linear bounds, the dual and attacks say of the images' least margins; the counts."""
    prover = Prover(network)
    proven, unbroken = {"crown": 0, "dual": 0}, 0
    for index in arguments.images:
        told = []
        for effort in proven:
            found = prover.certify(
                X[index], arguments.epsilon, label=int(y[index]), effort=effort,
                limits=(0.0, 1.0), search=Limits(seconds=arguments.seconds),
            )  # fmt: skip
            proven[effort] += found.verdict == "robust"
            told.append(f"{effort} {found.lower_bound:.4f} in {found.seconds:.1f} s")
        unbroken += found.verdict != "vulnerable"
        print(f"image {index}: {', '.join(told)}, attack {found.upper_bound:.4f}", flush=True)
    correct = (network.predict(X) == y)[arguments.images].sum()
    print(f"of {len(arguments.images)}: {correct} correct, {unbroken} not broken, {proven} proven")
    print(f"peak {gib(peak_bytes())}")


def of_image(
    network: LayeredNetwork, x: Array, label: int, epsilon: float, steps: int
) -> tuple[float, float, float]:
    """Both bounds of the margin whose linear bound is least, and the least that an attack found."""
    watch = Stopwatch()
    box = np.maximum(x - epsilon, 0.0), np.minimum(x + epsilon, 1.0)
    inputs = layered.Inputs(*middle_and_radius(*box), ball=False)
    hidden = layered.sparse_layers(list(zip(network.weights, network.biases, strict=True))[:-1])
    bounds = layered.neuron_bounds(hidden, inputs)
    W, b = sparse.csc_array(network.weights[-1]).toarray(), network.biases[-1]
    others = [k for k in range(network.outputs) if k != label]
    least, other = min(
        (layered.least_margin(hidden, bounds, inputs, W[:, label] - W[:, k], b[label] - b[k]), k)
        for k in others
    )
    first = watch.read()
    stack = Stack(hidden, bounds, inputs, W[:, label] - W[:, other], float(b[label] - b[other]))
    done = ascend(stack, steps=steps)
    stack.prove_at_least(done.value, done.multipliers)
    solved = watch.read()
    C = np.eye(network.outputs)[label] - np.eye(network.outputs)[others]
    attack = float(descended(network, Ball(*box, "linf"), C, x[None], 30)[1].min())
    print(
        f"{label} against {other}: linear {least:.4f} ({first}), dual {done.value:.4f} proven, "
        f"{done.steps} steps, {solved}, attack {attack:.4f}; peak {gib(peak_bytes())}",
        flush=True,
    )
    return least, done.value, attack


def _both(
    network: LayeredNetwork, inputs: layered.Inputs, w: Array, constant: float, steps: int
) -> tuple[float, float]:
    """The linear bound of ``w'x + constant`` and the dual's, which the checker has proven."""
    hidden = layered.sparse_layers(list(zip(network.weights, network.biases, strict=True))[:-1])
    bounds = layered.neuron_bounds(hidden, inputs)
    linear = layered.least_margin(hidden, bounds, inputs, w, constant)
    stack = Stack(hidden, bounds, inputs, w, constant)
    done = ascend(stack, steps=steps)
    stack.prove_at_least(done.value, done.multipliers)
    return linear, done.value


if __name__ == "__main__":
    main()
