"""Large ReLU networks: `python -m tests.benchmarks.robustness_large [--model M.onnx --mnist FILE]`.

Without a model: random convolutional networks of 10,000 to 100,000 activations, each in a process
of its own: peak memory and processor seconds of bounds, some first-order steps and their proof.
With an ONNX model of 784 inputs: of some digits the margin over the nearest class by linear bounds
and by the first-order dual, both proven. One thread; what is printed is what was measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from qnn.certificates.robustness.forms import middle_and_radius
from qnn.certificates.robustness.structured import bounds as layered
from qnn.certificates.robustness.structured.form import Stack
from qnn.networks import read_onnx, sparse_steps
from qnn.networks.from_onnx import _patches
from qnn.networks.layered import LayeredNetwork
from qnn.robustness.duals.first_order import ascend
from tests.benchmarks.adversarial_training import Array, mnist
from tests.benchmarks.measure import Stopwatch, gib, machine, peak_bytes

CHANNELS, HEIGHT = 8, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--model")
    parser.add_argument("--mnist")
    parser.add_argument("--images", type=int, nargs="+", default=[0])
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--own", type=int, help="one size, in this process")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        if arguments.own:
            of_size(arguments.own, arguments.steps)
        elif arguments.model:
            X, y = mnist(arguments.mnist)[1]
            network = read_onnx(arguments.model)
            print(f"{network.hidden} activations, accuracy {np.mean(network.predict(X) == y):.3f}")
            for index in arguments.images:
                of_image(network, X[index], int(y[index]), arguments.epsilon, arguments.steps)
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
        W, b, shape = sparse_steps.applied("Conv", _none, _patches, start, shape, constants, given)
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


def of_image(network: LayeredNetwork, x: Array, label: int, epsilon: float, steps: int) -> None:
    """Both bounds of the margin whose linear bound is least."""
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
    print(
        f"{label} against {other}: linear {least:.4f} ({first}), dual {done.value:.4f} proven, "
        f"{done.steps} steps, {watch.read()}; peak {gib(peak_bytes())}",
        flush=True,
    )


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
