"""Which entries of a moment matrix are equal, written a second time for the checker alone.

A word is one tuple of (input, outcome) pairs a party. Of a party with two outcomes a pair is the
observable with values +1 and -1 of that input, and equal neighbours cancel; of one with more it is
the projector on one of the outcomes but the last: equal neighbours are one, and two outcomes of one
input give zero. Entry (u, v) is the real part of the moment of u* v, so a word and its reverse are
the same moment.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod

import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray
Part = tuple[tuple[int, int], ...]
Word = tuple[Part, ...]

# Sizes that a certificate of this page can have: a checker must not be made to fill the memory.
_MOST_WORDS = 1000


@dataclass(frozen=True)
class Structure:
    """Entries (row >= column) of a level's moment matrix, n words.

    ``kind`` (E,) of entry e: -1 the moment of 1, k < p the behaviour's coordinate k, p + i the free
    moment i; entries that are zero are not listed. ``noise`` (p,) are the coordinates of the
    behaviour whose outcomes are all equally likely, exact in ``noise_exact``.
    """

    size: int
    row: Array
    column: Array
    kind: Array
    coordinates: int
    free: int
    noise: Array
    noise_exact: tuple[Fraction, ...]


@lru_cache(maxsize=32)
def structure(scenario: str, level: str) -> Structure:
    """The structure of a scenario's level; CertificateError where there is none of that name."""
    inputs, outcomes = _parse(scenario)
    letters = [
        [(x, a) for x in range(m) for a in range(k - 1)]
        for m, k in zip(inputs, outcomes, strict=True)
    ]
    known = _coordinates(letters)
    words = _index(letters, outcomes, known, level)
    numbers = {min(word, _reverse(word)): k for k, word in enumerate(known)}
    numbers[((),) * len(letters)] = -1
    places = []
    for i, left in enumerate(words):
        for j in range(i + 1):
            word = _reduce(_concatenate(_reverse(left), words[j]), outcomes)
            if word is not None:
                name = min(word, _reverse(word))
                places.append((i, j, numbers.setdefault(name, len(numbers) - 1)))
    row, column, kind = np.array(places, dtype=np.int64).T
    noise = tuple(_noise(word, outcomes) for word in known)
    return Structure(
        len(words),
        row.copy(),
        column.copy(),
        kind.copy(),
        len(known),
        len(numbers) - 1 - len(known),
        np.array([float(value) for value in noise]),
        noise,
    )


def _parse(scenario: str) -> tuple[list[int], list[int]]:
    digits = [int(c) for c in scenario] if scenario.isascii() and scenario.isdigit() else []
    parties = len(digits) // 2
    inputs, outcomes = digits[:parties], digits[parties:]
    if parties < 2 or len(digits) != 2 * parties or min(inputs) < 1 or min(outcomes) < 2:
        raise CertificateError(f"unknown scenario {scenario[:40]!r}")
    if prod(1 + m * (k - 1) for m, k in zip(inputs, outcomes, strict=True)) > _MOST_WORDS:
        raise CertificateError(f"scenario {scenario[:40]!r} has too many coordinates")
    return inputs, outcomes


def _coordinates(letters: list[list[tuple[int, int]]]) -> list[Word]:
    """Words of at most one letter a party, but one: by number of parties, then by party."""
    words = []
    for size in range(1, len(letters) + 1):
        for group in itertools.combinations(range(len(letters)), size):
            parts = [[(c,) for c in party] if p in group else [()] for p, party in
                     enumerate(letters)]  # fmt: skip
            words += list(itertools.product(*parts))
    return words


def _index(
    letters: list[list[tuple[int, int]]], outcomes: list[int], known: list[Word], level: str
) -> list[Word]:
    one = ((),) * len(letters)
    singles = [word for word in known if _length(word) == 1]
    if level == "1+AB":
        return [one, *singles, *(word for word in known if _length(word) == 2)]
    if level not in ("1", "2", "3"):
        raise CertificateError(f"unknown level {level[:40]!r}")
    found: dict[Word, None] = {one: None}
    for length in range(1, int(level) + 1):
        for parts in itertools.product(singles, repeat=length):
            word: Word | None = one
            for part in parts:
                word = None if word is None else _reduce(_concatenate(word, part), outcomes)
            if word is not None and _length(word) == length:
                found[word] = None
            if len(found) > _MOST_WORDS:
                raise CertificateError(f"level {level} of this scenario has too many words")
    return list(found)


def _length(word: Word) -> int:
    return sum(len(part) for part in word)


def _concatenate(left: Word, right: Word) -> Word:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _reverse(word: Word) -> Word:
    return tuple(part[::-1] for part in word)


def _reduce(word: Word, outcomes: list[int]) -> Word | None:
    """Rewrite neighbours of one input until there are none; None is zero."""
    parts = []
    for part, count in zip(word, outcomes, strict=True):
        place = 0
        while place + 1 < len(part):
            (x, a), (y, b) = part[place : place + 2]
            if x != y:
                place += 1
                continue
            if count == 2:
                part = part[:place] + part[place + 2 :]
            elif a == b:
                part = part[:place] + part[place + 1 :]
            else:
                return None
            place = max(place - 1, 0)
        parts.append(part)
    return tuple(parts)


def _noise(word: Word, outcomes: list[int]) -> Fraction:
    value = Fraction(1)
    for part, count in zip(word, outcomes, strict=True):
        if part:
            value *= Fraction(0) if count == 2 else Fraction(1, count)
    return value
