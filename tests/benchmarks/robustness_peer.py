"""Our dual beside SDP-FO: `python -m tests.benchmarks.robustness_peer --peer PYTHON --mnist FILE`.

One target of one MNIST digit of a network trained here against attacks, which neither linear
bounds nor the linear program prove and no attack breaks: the seconds of processor time to the first
bound that decides, the last bound, and the peak memory, ours (proven) and those of jax_verify 1.0
in the environment of PYTHON (see `sdp_first_order`; bounds in float32, not proven), each in a
process of its own on one core. ``--divide 1`` runs its authors' whole schedule of 15,000 steps.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.certificates.robustness.relu import neuron_bounds
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import certify
from tests.benchmarks.adversarial_training import Array, mnist, trained
from tests.benchmarks.measure import gib, machine
from tests.benchmarks.robustness import ARCHITECTURES, least_by_linear_program
from tests.benchmarks.robustness_own import EPSILON, pair

SCHEDULE = (10_000, 4_000, 1_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help="the Python that has jax_verify; else ours alone")
    parser.add_argument("--mnist")
    parser.add_argument("--network", choices=[*ARCHITECTURES], default="784-100-100-10")
    parser.add_argument("--divide", type=int, default=10, help="its steps, by this number")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        print(machine(), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "question.npz"))
            train, test = mnist(arguments.mnist)
            network = trained(*train, ARCHITECTURES[arguments.network], EPSILON, 12)
            pose(network, *test, path)
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.robustness_own", path],
                check=True,
            )
            if arguments.peer:
                theirs(arguments.peer, path, arguments.divide)


def pose(network: LayeredNetwork, X: Array, y: Array, path: str) -> None:
    """Write the first image's worst target that is open to linear means and to attacks."""
    for index, (x, label) in enumerate(zip(X, y, strict=True)):
        if network.predict(x[None])[0] != label:
            continue
        for target in np.argsort(-network.scores(x[None])[0]):
            if target == label:
                continue
            two = pair(network, int(label), int(target))
            linear = least_by_linear_program(two, x, 0)
            broken = certify(two, x, EPSILON, label=0, effort="interval", limits=(0.0, 1.0))
            if linear > 0.0 or broken.verdict != "open":
                continue
            print(f"image {index}, {label} against {target}: linear program {linear:.4f}, "
                  f"attack {broken.upper_bound:.4f}", flush=True)  # fmt: skip
            write(network, x, int(label), int(target), path)
            return
    raise SystemExit("no image is open")


def write(network: LayeredNetwork, x: Array, label: int, target: int, path: str) -> None:
    """The question, and the bounds of all neurons by CROWN."""
    layers = list(zip(network.weights, network.biases, strict=True))
    box = np.maximum(x - EPSILON, 0.0), np.minimum(x + EPSILON, 1.0)
    bounds = [*neuron_bounds(layers[:-1], box), (np.zeros(network.outputs),) * 2]
    arrays = {"x": x, "low": box[0], "high": box[1]}
    for k, ((W, b), (low, high)) in enumerate(zip(layers, bounds, strict=True)):
        arrays |= {f"W{k}": W, f"b{k}": b, f"low{k}": low, f"high{k}": high}
    np.savez(path, layers=len(layers), label=label, target=target, **arrays)


def theirs(python: str, path: str, divide: int) -> None:
    """SDP-FO's bounds of the margin, by step."""
    steps = [str(count // divide) for count in SCHEDULE]
    command = [python, "-m", "tests.benchmarks.sdp_first_order", path, *steps]
    core = min(os.sched_getaffinity(0))
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    run = subprocess.Popen(
        ["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert run.stdout is not None
    best, verdict, every = np.inf, "none", max(1, sum(map(int, steps)) // 15)
    for line in run.stdout:
        words = line.split()
        if words[0] == "Iter":
            step, value, seconds = int(words[1][:-1]), float(words[3]), float(words[4])
            if value < 0.0 and verdict == "none":
                verdict = f"{-value:.4f} in step {step} after {seconds:.1f} s"
            best = min(best, value)
            if step % every == 0:
                print(f"SDP-FO: step {step}, {-value:.4f}, {seconds:.1f} s", flush=True)
        elif words[0] == "Final":
            print(f"SDP-FO: steps {', '.join(steps)}; first verdict {verdict}; best {-best:.4f}, "
                  f"last {-float(words[1]):.4f} after {float(words[2]):.1f} s")  # fmt: skip
        elif words[0] == "peak":
            print(f"SDP-FO: peak {gib(int(words[1]))}", flush=True)
    if run.wait():
        raise SystemExit("SDP-FO failed")


if __name__ == "__main__":
    main()
