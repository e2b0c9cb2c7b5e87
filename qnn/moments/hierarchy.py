"""Moment matrices of the NPA hierarchy: which entries a behaviour fixes, and which are free.

``Gamma_uv = Re <u* v>`` over the words u, v of a level (M. Navascués, S. Pironio, A. Acín, A
convergent hierarchy of semidefinite programs characterizing the set of quantum correlations, New
Journal of Physics 10, 2008). A behaviour is inside the level where its free entries can be chosen
so that Gamma is positive semidefinite. The real part loses nothing, as behaviours are real.

All is told relative to the centre, the behaviour of pure noise with its tracial moments G > 0:
``Gamma = G + K(b) + F(x)`` for a behaviour ``centre + b``. The gauge ``g(b) = min {s : s G + K(b) +
F(x) >= 0}`` is at most 1 exactly inside, and 1/g is the visibility at which the behaviour, mixed
with noise, meets the boundary. G^-1 is orthogonal to every K_k and F_i, so that adding a multiple
of it repairs any dual point (with two outcomes G = I, and K and F have no diagonal).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qnn.errors import InputError
from qnn.moments.words import Scenario, Word
from qnn.numerics.memory import available_memory

Array = np.ndarray

# Beyond it already the words' products take minutes.
_MOST_WORDS = 1000


@dataclass(frozen=True)
class Entries:
    """Where classes of equal moments stand in the lower triangle: ``row >= column``.

    Entry e belongs to class ``label[e]``; entries are sorted by it.
    """

    row: Array
    column: Array
    label: Array
    count: int

    def pairing(self, Y: Array) -> Array:
        """``<E_k, Y>`` for each class, (..., count), of symmetric Y (..., n, n)."""
        twice = np.where(self.row == self.column, 1.0, 2.0) * Y[..., self.row, self.column]
        return np.moveaxis(_summed(np.moveaxis(twice, -1, 0), self.label, self.count), 0, -1)

    @property
    def norms(self) -> Array:
        """``<E_k, E_k>`` (count,)."""
        return np.bincount(
            self.label, np.where(self.row == self.column, 1.0, 2.0), minlength=self.count
        )


@dataclass(frozen=True)
class MomentMatrix:
    """A level's moment matrix of a scenario; n words, p coordinates of a behaviour, f free moments.

    ``centre`` G (n, n), ``inverse`` its inverse, ``behaviour`` (p,) and ``point`` (f,) the moments
    of the centre.
    """

    scenario: Scenario
    level: str
    words: tuple[Word, ...]
    free_words: tuple[Word, ...]
    fixed: Entries
    free: Entries
    centre: Array
    inverse: Array
    behaviour: Array
    point: Array

    @property
    def size(self) -> int:
        """n, the number of words."""
        return len(self.words)

    @property
    def plain(self) -> bool:
        """Whether G is the identity: every party has two outcomes."""
        return set(self.scenario.outcomes) == {2}

    def assemble(self, b: Array, x: Array) -> Array:
        """``K(b) + F(x)`` (..., n, n), b (..., p) and x (..., f) relative to the centre."""
        out = np.zeros((*b.shape[:-1], self.size, self.size))
        for entries, values in ((self.fixed, b), (self.free, x)):
            out[..., entries.row, entries.column] = values[..., entries.label]
            out[..., entries.column, entries.row] = values[..., entries.label]
        return out

    def project(self, W: Array) -> Array:
        """W (..., n, n) made symmetric, and its class means over each F_i's entries taken off."""
        Y = 0.5 * (W + np.swapaxes(W, -1, -2))
        means = (self.free.pairing(Y) / self.free.norms)[..., self.free.label]
        Y[..., self.free.row, self.free.column] -= means
        Y[..., self.free.column, self.free.row] = Y[..., self.free.row, self.free.column]
        return Y

    def repair(self, W: Array) -> Array:
        """A dual point, ``Y >= 0``, ``<G, Y> = 1``, ``<F_i, Y> = 0``, from any W (..., n, n).

        Exact but for rounding; a W that is zero gives the multiple of ``G^-1``.
        """
        Y = self.project(W)
        factor = np.linalg.cholesky(self.centre)
        lowest = np.linalg.eigvalsh(factor.T @ Y @ factor)[..., 0]
        Y += (np.maximum(-lowest, 0.0) + 1e-300)[..., None, None] * self.inverse
        return Y / (self.centre * Y).sum((-1, -2))[..., None, None]


def _summed(values: Array, label: Array, count: int) -> Array:
    """Sums of the rows of each label, (count, ...); labels are sorted, and some may be missing."""
    out = np.zeros((count, *values.shape[1:]))
    if len(label):
        present, starts = np.unique(label, return_index=True)
        out[present] = np.add.reduceat(values, starts, axis=0)
    return out


@lru_cache(maxsize=32)
def moment_matrix(scenario: Scenario, level: str) -> MomentMatrix:
    """The moment matrix of a level, "1", "1+AB", "2" or "3".

    Raises InputError for an unknown level and for a matrix that does not fit into memory.
    """
    words = scenario.words(level)
    _require(scenario, level, len(words), _work_bytes(len(words), 0))
    classes = _classes(scenario, words)
    constant = classes.pop((), [])
    known = scenario.coordinates
    keys = {min(word, scenario.adjoint(word)): None for word in known}
    free_words = tuple(key for key in classes if key not in keys)
    _require(scenario, level, len(words), _work_bytes(len(words), len(free_words)))
    fixed = _entries([classes.get(key, []) for key in keys])
    free = _entries([classes[key] for key in free_words])
    behaviour = np.array([float(scenario.trace(word)) for word in known])
    point = np.array([float(scenario.trace(word)) for word in free_words])
    centre = np.zeros((len(words), len(words)))
    for i, j in constant:
        centre[i, j] = centre[j, i] = 1.0
    for entries, values in ((fixed, behaviour), (free, point)):
        centre[entries.row, entries.column] = values[entries.label]
        centre[entries.column, entries.row] = values[entries.label]
    return MomentMatrix(
        scenario, level, words, free_words, fixed, free, centre, np.linalg.inv(centre),
        behaviour, point,
    )  # fmt: skip


def _classes(scenario: Scenario, words: tuple[Word, ...]) -> dict[Word, list[tuple[int, int]]]:
    """The entries (row >= column) of each moment that is not zero."""
    classes: dict[Word, list[tuple[int, int]]] = {}
    for i, left in enumerate(words):
        for j, right in enumerate(words[: i + 1]):
            key = scenario.moment(left, right)
            if key is not None:
                classes.setdefault(key, []).append((i, j))
    return classes


def _entries(positions: list[list[tuple[int, int]]]) -> Entries:
    label = np.repeat(np.arange(len(positions)), [len(places) for places in positions])
    flat = np.array([place for places in positions for place in places], dtype=np.int64)
    row, column = flat.reshape(-1, 2).T
    return Entries(row.copy(), column.copy(), label, len(positions))


def _work_bytes(n: int, f: int) -> float:
    """What a step needs at least: the Newton matrix, some matrices, and the table of entries."""
    return 8.0 * (3.0 * (f + 1.0) ** 2 + 10.0 * n**2) + 200.0 * n**2


def _require(scenario: Scenario, level: str, n: int, needed: float) -> None:
    if n > _MOST_WORDS or needed > available_memory():
        raise InputError(
            f"scenario {scenario.name} at level {level} is too large: {n} words, about "
            f"{needed / 2**30:.1f} GiB: choose a lower level"
        )
