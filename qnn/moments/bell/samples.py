"""Random behaviours on which deciding is easy, harder, and hardest: the sets U, N and B."""

from __future__ import annotations

import itertools

import numpy as np

from qnn.errors import InputError
from qnn.moments.bell.cascade import Cascade, blocks
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.words import Scenario
from qnn.numerics.arguments import generator_of

Array = np.ndarray

SETS = ("U", "N", "B")
# How far from the boundary, relative, a behaviour of the set B is at most.
SHELL = 0.01


def sample(
    name: str,
    count: int,
    seed: int | np.random.Generator = 0,
    scenario: str = "2222",
    level: str = "1+AB",
) -> Array:
    """Random behaviours (count, p) of a set, for two parties with two outcomes each.

    "U": uniform in the no-signalling polytope. "N": for CHSH, uniform in the nonlocal part of it
    around one of its eight corners; other scenarios have no such set, and N is U. "B": N, each
    moved along its ray from noise to a gauge of the level uniform in [0.99, 1] or [1, 1.01], by
    turns; what then is no distribution is drawn again.

    Raises InputError for another name or scenario.
    """
    parsed, rng = Scenario.parse(scenario), generator_of(seed)
    if parsed.parties != 2 or set(parsed.outcomes) != {2} or name not in SETS:
        raise InputError(
            f"sample {name!r} of scenario {parsed.name}: the sets are {', '.join(SETS)}, of two "
            "parties with two outcomes each"
        )
    if name == "U":
        return uniform(parsed, count, rng)
    if name == "N":
        return beyond_local(parsed, count, rng)
    return near_boundary(parsed, level, count, rng)


def uniform(scenario: Scenario, count: int, rng: np.random.Generator) -> Array:
    """Exact, by rejection: marginals count by the room they leave to each correlator."""
    A, B = scenario.inputs
    found, size = [np.zeros((0, A + B + A * B))], 0
    while size < count:
        means = rng.uniform(-1.0, 1.0, (100_000, A + B))
        a, b = means[:, :A, None], means[:, None, A:]
        room = (1.0 - np.maximum(np.abs(a), np.abs(b))).prod((1, 2))
        kept = rng.random(len(means)) < room
        a, b = a[kept], b[kept]
        low, high = np.abs(a + b) - 1.0, 1.0 - np.abs(a - b)
        correlators = low + (high - low) * rng.random(low.shape)
        found.append(np.hstack([means[kept], correlators.reshape(len(a), -1)]))
        size += len(a)
    return np.concatenate(found)[:count]


def beyond_local(scenario: Scenario, count: int, rng: np.random.Generator) -> Array:
    """Uniform in the simplex of a Popescu-Rohrlich box and the local corners that touch its facet.

    J. Barrett et al., Nonlocal correlations as an information-theoretic resource, Physical Review
    A 71, 2005: these simplices are the nonlocal part of the no-signalling polytope of CHSH.
    """
    if scenario.inputs != (2, 2):
        return uniform(scenario, count, rng)
    corners = [np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, -1.0])]
    for a, c, b, d in itertools.product((1.0, -1.0), repeat=4):
        if a * b + a * d + c * b - c * d == 2.0:
            corners.append(np.array([a, c, b, d, a * b, a * d, c * b, c * d]))
    return rng.dirichlet(np.ones(len(corners)), count) @ np.array(corners)


def near_boundary(scenario: Scenario, level: str, count: int, rng: np.random.Generator) -> Array:
    """Behaviours whose gauge is uniform within `SHELL` of 1, every second one beyond it."""
    b = np.empty((count, len(scenario.coordinates)))
    b[::2] = _scaled(scenario, level, len(b[::2]), (1.0 - SHELL, 1.0), rng)
    b[1::2] = _scaled(scenario, level, len(b[1::2]), (1.0, 1.0 + SHELL), rng)
    return b


def _scaled(
    scenario: Scenario, level: str, count: int, gauges: tuple[float, float],
    rng: np.random.Generator,
) -> Array:  # fmt: skip
    found, size = [np.zeros((0, len(scenario.coordinates)))], 0
    cascade = Cascade(moment_matrix(scenario, level), None, 30, None, gap=1e-7)
    while size < count:
        b = beyond_local(scenario, max(count - size, 64), rng)
        gauge = np.concatenate(
            [cascade.run(b[part])[0].upper for part in blocks(len(b), cascade.level.size)]
        )
        b *= (rng.uniform(*gauges, len(b)) / gauge)[:, None]
        b = b[distributions(scenario, b)]
        found.append(b)
        size += len(b)
    return np.concatenate(found)[:count]


def distributions(scenario: Scenario, b: Array) -> Array:
    """Which rows of coordinates (N, p) have no negative probability, two outcomes a party."""
    A, B = scenario.inputs
    means, other = b[:, :A, None], b[:, None, A : A + B]
    correlators = b[:, A + B :].reshape(-1, A, B)
    low, high = np.abs(means + other) - 1.0, 1.0 - np.abs(means - other)
    return ((low <= correlators) & (correlators <= high)).all((1, 2))
