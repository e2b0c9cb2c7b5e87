"""Behaviours: tables p(ab|xy), their coordinates, and what is refused."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from qnn.errors import InputError
from qnn.moments.words import Scenario
from qnn.numerics.arrays import floats_of

Array = np.ndarray

# Probabilities may be below zero, or miss their sum, by as much: a table's own rounding.
TOLERANCE = 1e-9


def coordinates(table: Array, scenario: str = "2222") -> Array:
    """The coordinates (N, p) of tables p(a b ...|x y ...), of shape (N, inputs, outcomes).

    For two parties (N, X, Y, A, B). Of a party with two outcomes, the first counts +1 and the
    second -1, and a coordinate is a mean: <A_x>, <B_y>, <A_x B_y>; of one with more outcomes it is
    the probability of each but the last.

    Raises InputError for another shape, and for a table that is no distribution or that signals.
    """
    parsed = Scenario.parse(scenario)
    shape = parsed.inputs + parsed.outcomes
    p = _numbers(table)
    if p.shape[1:] != shape:
        raise InputError(
            f"behaviours of scenario {parsed.name}: a table has the shape "
            f"(N, {', '.join(map(str, shape))}), this one {p.shape}"
        )
    sums = p.sum(axis=tuple(range(1 + parsed.parties, p.ndim)))
    _refuse(np.abs(sums - 1.0) <= TOLERANCE, "its probabilities do not sum to 1")
    moments = _apply(_collecting(parsed), _interleaved(p, parsed))
    b = moments.reshape(len(p), -1)[:, _order(parsed)]
    again = np.abs(_probabilities(b, parsed) - p)
    _refuse(
        again <= TOLERANCE,
        "it signals: what one party sees depends on another's input (estimate a no-signalling "
        "behaviour from the counts first)",
    )
    return checked(b, scenario)


def probabilities(behaviours: Array, scenario: str = "2222") -> Array:
    """The tables, (N, inputs, outcomes), of coordinates (N, p); the inverse of `coordinates`."""
    return _probabilities(checked(behaviours, scenario), Scenario.parse(scenario))


def checked(behaviours: Array, scenario: str = "2222") -> Array:
    """Coordinates as (N, p) float64; InputError unless each is a behaviour, of the right length.

    A table (N, inputs, outcomes) is converted.
    """
    parsed = Scenario.parse(scenario)
    b = _numbers(behaviours)
    if b.ndim == 1 + 2 * parsed.parties:
        return coordinates(b, scenario)
    count = len(parsed.coordinates)
    if b.ndim != 2 or b.shape[1] != count:
        raise InputError(
            f"behaviours of scenario {parsed.name}: give (N, {count}) coordinates or tables "
            f"(N, {', '.join(map(str, parsed.inputs + parsed.outcomes))}), not {b.shape}"
        )
    # In blocks: the tables are larger than the coordinates.
    for start in range(0, len(b), 65536):
        p = _probabilities(b[start : start + 65536], parsed)
        _refuse(p >= -TOLERANCE, "it is not a distribution: a probability is negative", start)
    return b


def of_table(weights: Array, scenario: str) -> tuple[float, Array]:
    """``sum weights * p``, weights (inputs, outcomes), as ``constant + coefficients . b``.

    InputError for another shape or numbers that are not finite.
    """
    parsed = Scenario.parse(scenario)
    shape = parsed.inputs + parsed.outcomes
    w = floats_of(weights, "weights")
    if w.shape != shape or not np.isfinite(w).all():
        raise InputError(
            f"a functional of scenario {parsed.name} has finite weights of shape {shape} on "
            f"p(ab..|xy..), or {len(parsed.coordinates)} coefficients of the coordinates"
        )
    adjoint = [R.T for R in _spreading(parsed)]
    flat = _apply(adjoint, _interleaved(w[None], parsed)).reshape(-1)
    return float(flat[0]), flat[_order(parsed)]


def deterministic(scenario: str) -> Array:
    """The coordinates (D, p) of every local deterministic behaviour."""
    parsed = Scenario.parse(scenario)
    parts = []
    for m, k in zip(parsed.inputs, parsed.outcomes, strict=True):
        outcomes = np.stack(np.meshgrid(*[np.arange(k)] * m, indexing="ij"), -1).reshape(-1, m)
        if k == 2:
            parts.append(np.hstack([np.ones((len(outcomes), 1)), 1.0 - 2.0 * outcomes]))
        else:
            hot = outcomes[:, :, None] == np.arange(k - 1)
            parts.append(np.hstack([np.ones((len(outcomes), 1)), hot.reshape(len(outcomes), -1)]))
    moments = parts[0]
    for part in parts[1:]:
        moments = np.einsum("ni,mj->nmij", moments, part)
        moments = moments.reshape(moments.shape[0] * moments.shape[1], -1)
    return moments[:, _order(parsed)]


def _numbers(behaviours: Array) -> Array:
    values = np.atleast_1d(floats_of(behaviours, "behaviours"))
    _refuse(np.isfinite(values), "it has a number that is not finite")
    return values


def _refuse(good: Array, what: str, first: int = 0) -> None:
    """Raise InputError, naming the first row that is not good everywhere."""
    if not good.all():
        row = int(np.argmin(good.reshape(len(good), -1).all(axis=1))) + first
        raise InputError(f"behaviour {row} (the first is 0): {what}")


def _spreading(scenario: Scenario) -> list[Array]:
    """Each party's matrix from (1, its letters) to p(a|x), (inputs * outcomes, 1 + letters)."""
    matrices = []
    for m, k in zip(scenario.inputs, scenario.outcomes, strict=True):
        R = np.zeros((m, k, 1 + m * (k - 1)))
        for x in range(m):
            own = slice(1 + x * (k - 1), 1 + (x + 1) * (k - 1))
            if k == 2:
                R[x, :, 0] = 0.5
                R[x, :, own] = [[0.5], [-0.5]]
            else:
                R[x, : k - 1, own] = np.eye(k - 1)
                R[x, k - 1, 0], R[x, k - 1, own] = 1.0, -1.0
        matrices.append(R.reshape(m * k, -1))
    return matrices


def _collecting(scenario: Scenario) -> list[Array]:
    """Left inverses of `_spreading`, (1 + letters, inputs * outcomes); 1 averages over inputs."""
    matrices = []
    for m, k in zip(scenario.inputs, scenario.outcomes, strict=True):
        L = np.zeros((1 + m * (k - 1), m, k))
        L[0] = 1.0 / m
        for x in range(m):
            for a in range(k - 1):
                L[1 + x * (k - 1) + a, x] = [1.0, -1.0] if k == 2 else np.arange(k) == a
        matrices.append(L.reshape(-1, m * k))
    return matrices


def _apply(matrices: list[Array], tensor: Array) -> Array:
    """A matrix on each axis but the first."""
    for axis, matrix in enumerate(matrices, 1):
        tensor = np.moveaxis(np.tensordot(tensor, matrix, (axis, 1)), -1, axis)
    return tensor


def _interleaved(table: Array, scenario: Scenario) -> Array:
    """(N, X, Y, .., A, B, ..) as (N, X A, Y B, ..)."""
    parties = scenario.parties
    axes = [1 + q * parties + p for p in range(parties) for q in (0, 1)]
    sizes = [m * k for m, k in zip(scenario.inputs, scenario.outcomes, strict=True)]
    return table.transpose(0, *axes).reshape(len(table), *sizes)


@lru_cache(maxsize=64)
def _order(scenario: Scenario) -> Array:
    """Where each coordinate stands in the flattened tensor over (1, letters) of every party."""
    sizes = [1 + len(party) for party in scenario.letters]
    places = {letter: 1 + k for party in scenario.letters for k, letter in enumerate(party)}
    positions = []
    for word in scenario.coordinates:
        index = [0] * scenario.parties
        for letter in word:
            index[letter.party] = places[letter]
        positions.append(np.ravel_multi_index(index, sizes))
    return np.array(positions)


def _probabilities(b: Array, scenario: Scenario) -> Array:
    sizes = [1 + len(party) for party in scenario.letters]
    moments = np.zeros((len(b), int(np.prod(sizes))))
    moments[:, 0] = 1.0
    moments[:, _order(scenario)] = b
    flat = _apply(_spreading(scenario), moments.reshape(len(b), *sizes))
    pairs = [n for pair in zip(scenario.inputs, scenario.outcomes, strict=True) for n in pair]
    parties = scenario.parties
    axes = [1 + 2 * p + q for q in (0, 1) for p in range(parties)]
    return flat.reshape(len(b), *pairs).transpose(0, *axes)
