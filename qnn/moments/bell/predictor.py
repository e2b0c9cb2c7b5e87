"""Free moments foretold by a network, for the steps to start from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from qnn.errors import InputError
from qnn.moments.bell.samples import beyond_local, uniform
from qnn.moments.hierarchy import MomentMatrix, moment_matrix
from qnn.moments.symmetry import Relabellings, relabellings
from qnn.moments.words import Scenario
from qnn.semidefinite.predictors import Network, train

Array = np.ndarray

# The centring of the points that are learned, relative to the gauge: the steps take over from it.
CENTRING = 2e-3
WIDTHS = (64, 64)
# What the shipped networks were trained with; a minute of a core for CHSH at 1+AB.
STEPS = 12_000
_SHIPPED = Path(__file__).parent / "shipped"
# Behaviours drawn once, of which every batch is taken.
_POOL = 100_000


class Predictor:
    """From behaviours (N, p), relative to the centre, to free moments (N, f).

    The network sees each behaviour's representative under relabellings, scaled to length 1, and
    what it says is scaled and relabelled back: x(b) is equivariant and homogeneous, as the best x.
    """

    def __init__(self, network: Network, level: MomentMatrix, where: str = "network") -> None:
        wanted = purpose(level)
        if network.purpose != wanted:
            raise InputError(
                f"{where}: it was trained for {network.purpose[:80]!r}, this is {wanted!r}: train "
                "one for this scenario and level"
            )
        if (network.inputs, network.outputs) != (len(level.behaviour), level.free.count):
            raise InputError(f"{where}: the network's sizes are not those of {wanted!r}")
        self.network, self.orbits = network, relabellings(level.scenario, level.level)

    def __call__(self, b: Array) -> Array:
        """Free moments (N, f) of behaviours (N, p), both relative to the centre."""
        rows, element, size = features(self.orbits, b)
        return self.orbits.restored(self.network(rows) * size, element)


def shipped(level: MomentMatrix) -> Network:
    """The network that comes with the package for a level; InputError where there is none."""
    path = _SHIPPED / f"{level.scenario.name}_{level.level}.npz"
    if not path.exists():
        there = ", ".join(sorted(found.stem for found in _SHIPPED.glob("*.npz")))
        raise InputError(
            f"no network is shipped for scenario {level.scenario.name} at level {level.level}, but "
            f"for {there}: train one, or leave the model out"
        )
    return Network.load(path)


def purpose(level: MomentMatrix) -> str:
    """What a network of a level is trained for, by name."""
    return f"free moments of {level.scenario.name} at level {level.level}"


def features(orbits: Relabellings, b: Array) -> tuple[Array, Array, Array]:
    """Representatives of length 1 (N, p), the relabellings that gave them, and lengths (N, 1)."""
    rows, element = orbits.canonical(np.ascontiguousarray(b))
    size = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return rows / np.maximum(size, 1e-30), element, size


def train_predictor(
    scenario: str = "2222",
    level: str = "1+AB",
    steps: int = STEPS,
    seed: int = 0,
    widths: tuple[int, ...] = WIDTHS,
    report: Callable[[int, float], None] | None = None,
) -> Network:
    """A network for `decide(model=…)`, without any solved program.

    Its loss is the smoothed bound itself, ``min_s s - mu logdet(s I + K(b) + F(x))``: convex in x,
    least at the central path's x. Rows are half behaviours of the set U, half of N.

    Raises InputError for parties with more than two outcomes, and what `decide` refuses.
    """
    matrix = moment_matrix(Scenario.parse(scenario), level)
    orbits = relabellings(matrix.scenario, level)
    rng = np.random.default_rng(seed)
    half = _POOL // 2
    behaviours = [uniform(matrix.scenario, half, rng), beyond_local(matrix.scenario, half, rng)]
    pool = features(orbits, np.concatenate(behaviours))[0]
    return train(
        (len(matrix.behaviour), *widths, matrix.free.count),
        lambda rng, count: pool[rng.integers(len(pool), size=count)],
        partial(smoothed, matrix),
        steps,
        seed,
        purpose(matrix),
        report=report,
    )


def smoothed(level: MomentMatrix, b: Array, x: Array) -> tuple[float, Array]:
    """The mean of ``min_s s - mu logdet(s I + K(b) + F(x))``, and its gradient by x (N, f).

    The best s solves the secular equation ``sum mu / (s + lambda_i) = 1`` in the eigenvalues of
    K + F; the gradient is ``-mu <F_i, Z>``, Z the inverse.
    """
    S = level.assemble(b, x)
    spectrum = np.linalg.eigvalsh(S)
    lowest = -spectrum[:, :1]
    mu = CENTRING * lowest
    s = lowest + mu
    for _ in range(6):
        d = 1.0 / (s + spectrum)
        h = (mu * d).sum(axis=1, keepdims=True)
        s = s + (h - 1.0) * h / (mu * d * d).sum(axis=1, keepdims=True)
    value = s[:, 0] - mu[:, 0] * np.log(s + spectrum).sum(axis=1)
    Z = np.linalg.inv(S + s[:, :, None] * np.eye(level.size))
    return float(value.mean()), -mu * level.free.pairing(Z) / len(b)
