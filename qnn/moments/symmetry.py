"""Relabellings of a Bell scenario: what they do to moments, and a representative of each orbit.

Outcomes of a party's input, its inputs, and parties of equal sizes may be renamed. Of two outcomes
each such renaming takes a moment to another one or to its negative, so it acts on coordinates and
free moments as a signed permutation, exactly in floating point.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qnn.errors import InputError
from qnn.moments.hierarchy import MomentMatrix, moment_matrix
from qnn.moments.words import Letter, Scenario, Word
from qnn.numerics.compiled import compiled

Array = np.ndarray

_MOST_ELEMENTS = 50_000


@dataclass(frozen=True)
class Relabellings:
    """The group acting on coordinates and on free moments, |group| signed permutations of each.

    Element e takes b to ``sign[e] * b[index[e]]``, (p,), and x likewise, (f,). ``scores`` (|group|,
    p) @ b is largest for the element that takes b to its representative.
    """

    index: Array
    sign: Array
    free_index: Array
    free_sign: Array
    scores: Array

    def canonical(self, b: Array) -> tuple[Array, Array]:
        """The representatives (N, p) of behaviours (N, p) with two outcomes, and the elements."""
        element = np.zeros(len(b), dtype=np.int64)
        out = np.zeros_like(b)
        _represent(b, self.scores, self.index, self.sign, element, out)
        return out, element

    def restored(self, x: Array, element: Array) -> Array:
        """Free moments (N, f) of representatives as those of the behaviours they stand for."""
        out = np.zeros_like(x)
        np.put_along_axis(out, self.free_index[element], self.free_sign[element] * x, axis=1)
        return out


@lru_cache(maxsize=8)
def relabellings(scenario: Scenario, level: str) -> Relabellings:
    """All relabellings of a scenario of two outcomes a party; InputError for any other."""
    if set(scenario.outcomes) != {2}:
        raise InputError(
            f"scenario {scenario.name}: relabellings are signed permutations of two outcomes only"
        )
    matrix = moment_matrix(scenario, level)
    known = {word: k for k, word in enumerate(scenario.coordinates)}
    free = {word: k for k, word in enumerate(matrix.free_words)}
    elements = [
        (_action(scenario, known, moved), _action(scenario, free, moved))
        for moved in _letters(scenario)
    ]
    index, sign = (np.array([on[k] for on, _ in elements]) for k in (0, 1))
    free_index, free_sign = (np.array([on[k] for _, on in elements]) for k in (0, 1))
    return Relabellings(index, sign, free_index, free_sign, _scores(matrix, index, sign))


def _letters(scenario: Scenario) -> Iterator[dict[Letter, tuple[Letter, float]]]:
    """Each relabelling: what every letter becomes, and its sign."""
    parties = range(scenario.parties)
    orders = [
        order
        for order in itertools.permutations(parties)
        if all(scenario.inputs[p] == scenario.inputs[q] for p, q in enumerate(order))
    ]
    inputs = [list(itertools.permutations(range(m))) for m in scenario.inputs]
    signs = [list(itertools.product((1.0, -1.0), repeat=m)) for m in scenario.inputs]
    count = len(orders) * np.prod([len(a) * len(b) for a, b in zip(inputs, signs, strict=True)])
    if count > _MOST_ELEMENTS:
        raise InputError(f"scenario {scenario.name} has {count:.0f} relabellings: too many to list")
    for order in orders:
        for moves in itertools.product(*inputs):
            for flips in itertools.product(*signs):
                yield {
                    Letter(p, x): (Letter(order[p], moves[p][x]), flips[p][x])
                    for p in parties
                    for x in range(scenario.inputs[p])
                }


def _action(
    scenario: Scenario, numbers: dict[Word, int], moved: dict[Letter, tuple[Letter, float]]
) -> tuple[list[int], list[float]]:
    """Entry k of the relabelled vector is ``sign[k]`` times entry ``index[k]`` of the old one."""
    index, sign = [], []
    for word in numbers:
        images = [moved[letter] for letter in word]
        name = scenario.moment((), tuple(letter for letter, _ in images))
        assert name is not None
        index.append(numbers[name])
        sign.append(float(np.prod([flip for _, flip in images])))
    return index, sign


def _scores(matrix: MomentMatrix, index: Array, sign: Array) -> Array:
    """``<r, P b>`` of each element P, for an r in general position: correlators count most."""
    words = matrix.scenario.coordinates
    r = np.array([(1.0 if len(word) > 1 else 0.02) for word in words])
    r *= 1.0 + 0.01 * np.sqrt(2.0 + np.arange(len(words)))
    for k, word in enumerate(words):
        if sum(letter.input for letter in word) >= max(matrix.scenario.inputs):
            r[k] *= -1.0
    scores = np.zeros(index.shape)
    np.put_along_axis(scores, index, sign * r, axis=1)
    return scores


@compiled(nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _represent(
    b: Array, scores: Array, index: Array, sign: Array, element: Array, out: Array
) -> None:
    for item in range(len(b)):
        best, chosen = -1e300, 0
        for e in range(len(scores)):
            total = 0.0
            for k in range(b.shape[1]):
                total += scores[e, k] * b[item, k]
            if total > best:
                best, chosen = total, e
        element[item] = chosen
        for k in range(b.shape[1]):
            out[item, k] = sign[chosen, k] * b[item, index[chosen, k]]
