"""Our side of `robustness_peer`, in a process of its own: `robustness_own QUESTION.npz`.

It loads nothing but the room and numpy, so that its peak is the room's.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.certificates.robustness.relu import least_margin, neuron_bounds
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits, certify
from tests.benchmarks.measure import gib, peak_bytes

EPSILON = 0.1


def pair(network: LayeredNetwork, label: int, target: int) -> LayeredNetwork:
    """The same network with these two scores alone."""
    W, b = network.weights[-1], network.biases[-1]
    chosen = [label, target]
    return LayeredNetwork((*network.weights[:-1], W[:, chosen]), (*network.biases[:-1], b[chosen]))


def ours(path: str) -> None:
    """First the verdict, then the optimum of the relaxation; seconds include the proofs."""
    with np.load(path, allow_pickle=False) as stored:
        given = dict(stored)
    count = range(int(given["layers"]))
    network = LayeredNetwork(
        tuple(given[f"W{k}"] for k in count), tuple(given[f"b{k}"] for k in count)
    )
    two = pair(network, int(given["label"]), int(given["target"]))
    hidden = list(zip(two.weights, two.biases, strict=True))[:-1]
    box = given["low"], given["high"]
    w, constant = two.weights[-1] @ [1.0, -1.0], float(two.biases[-1] @ [1.0, -1.0])
    crown = least_margin(hidden, neuron_bounds(hidden, box), box, w, constant)
    print(f"ours: peak {gib(peak_bytes())} before the first question")
    print(f"ours: linear bound (CROWN) {crown:.4f}")
    for name, gap in (("first verdict", None), ("last bound", 1e-4)):
        began = time.process_time()
        found = certify(two, given["x"], EPSILON, label=0, effort="dual", limits=(0.0, 1.0),
                        search=Limits(gap=gap))  # fmt: skip
        found.verify(two)
        spent = time.process_time() - began
        print(f"ours: {name} {found.lower_bound:.6f} proven ({found.verdict}) after {spent:.1f} s; "
              f"peak {gib(peak_bytes())}", flush=True)  # fmt: skip


if __name__ == "__main__":
    with threadpool_limits(1):
        ours(sys.argv[1])
