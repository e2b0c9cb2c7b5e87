"""Words of non-commuting measurement operators, reduced to a normal form.

A party with two outcomes has one letter for each input, the observable with values +1 and -1, whose
square is 1. One with k > 2 outcomes has k - 1 letters for each input, the projectors on its first
outcomes: a projector is its own square, and two of one input are orthogonal. Letters of different
parties commute; nothing else does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from math import prod

from qnn.errors import InputError

LEVELS = ("1", "1+AB", "2", "3")

_MOST_COORDINATES = 1000


@dataclass(frozen=True, order=True)
class Letter:
    """An operator of a party: its observable at an input, or the projector on an outcome of it."""

    party: int
    input: int
    outcome: int = 0


# A product of letters; those of a party stand together, parties in order, each part reduced.
Word = tuple[Letter, ...]


@dataclass(frozen=True)
class Scenario:
    """Parties that each choose one of ``inputs`` and see one of ``outcomes``, a number a party."""

    inputs: tuple[int, ...]
    outcomes: tuple[int, ...]

    @classmethod
    def parse(cls, name: str) -> Scenario:
        """The scenario of a name: the parties' inputs, then their outcomes, a digit each."""
        text = str(name)
        digits = [int(c) for c in text] if text.isascii() and text.isdigit() else []
        half = len(digits) // 2
        inputs, outcomes = tuple(digits[:half]), tuple(digits[half:])
        if len(digits) < 4 or len(digits) % 2 or min(inputs) < 1 or min(outcomes) < 2:
            raise InputError(
                f"scenario {text!r}: give a digit for each party's inputs, then one for each "
                "party's outcomes, of two parties or more (CHSH: '2222'; I3322: '3322')"
            )
        if prod(1 + m * (k - 1) for m, k in zip(inputs, outcomes, strict=True)) > _MOST_COORDINATES:
            raise InputError(
                f"scenario {text!r} is too large: a behaviour of it has {_MOST_COORDINATES} "
                "coordinates or more"
            )
        return cls(inputs, outcomes)

    @property
    def name(self) -> str:
        """The digits that `parse` reads."""
        return "".join(map(str, self.inputs + self.outcomes))

    @property
    def parties(self) -> int:
        """How many parties there are."""
        return len(self.inputs)

    @cached_property
    def letters(self) -> tuple[tuple[Letter, ...], ...]:
        """Each party's letters, input by input."""
        return tuple(
            tuple(Letter(p, x, a) for x in range(m) for a in range(k - 1))
            for p, (m, k) in enumerate(zip(self.inputs, self.outcomes, strict=True))
        )

    @cached_property
    def coordinates(self) -> tuple[Word, ...]:
        """The words whose moments make a behaviour: at most one letter of each party, not none.

        Fewer parties first: <A_x>, <B_y>, then <A_x B_y> row by row.
        """
        return tuple(
            word
            for size in range(1, self.parties + 1)
            for group in itertools.combinations(self.letters, size)
            for word in itertools.product(*group)
        )

    def multiply(self, left: Word, right: Word) -> Word | None:
        """The reduced product; None where it is zero."""
        reduced: list[Letter] = []
        for party in range(self.parties):
            part: list[Letter] = []
            for letter in (*left, *right):
                if letter.party == party and not self._append(part, letter):
                    return None
            reduced += part
        return tuple(reduced)

    def _append(self, part: list[Letter], letter: Letter) -> bool:
        """Multiply a party's reduced part by a letter, in place; False where that gives zero."""
        if not part or part[-1].input != letter.input:
            part.append(letter)
        elif self.outcomes[letter.party] == 2:
            part.pop()
        else:
            return part[-1] == letter
        return True

    def adjoint(self, word: Word) -> Word:
        """The word backwards, in normal form."""
        return tuple(sorted(reversed(word), key=lambda letter: letter.party))

    def moment(self, left: Word, right: Word) -> Word | None:
        """The name of ``Re <left* right>``: the lesser of the product and its adjoint."""
        product = self.multiply(self.adjoint(left), right)
        return None if product is None else min(product, self.adjoint(product))

    def words(self, level: str) -> tuple[Word, ...]:
        """The index of a level's moment matrix, shorter words first."""
        return _words(self, level)

    def trace(self, word: Word) -> Fraction:
        """The moment in the centre: all outcomes equally likely, inputs free of one another."""
        parts = [tuple(c for c in word if c.party == party) for party in range(self.parties)]
        return prod((_trace(self, part) for part in parts), start=Fraction(1))


@lru_cache(maxsize=64)
def _words(scenario: Scenario, level: str) -> tuple[Word, ...]:
    if level not in LEVELS:
        raise InputError(f"level {level!r} is none of {', '.join(LEVELS)}")
    letters: list[Word] = [(letter,) for party in scenario.letters for letter in party]
    found: dict[Word, None] = {(): None} | dict.fromkeys(letters)
    if level == "1+AB":
        pairs = (word for word in scenario.coordinates if len(word) == 2)
        return tuple(found | dict.fromkeys(pairs))
    last = list(letters)
    for _ in range(int(level) - 1):
        products = (scenario.multiply(word, letter) for word in last for letter in letters)
        last = [word for word in dict.fromkeys(products) if word is not None and word not in found]
        found |= dict.fromkeys(last)
    return tuple(found)


@lru_cache(maxsize=65536)
def _trace(scenario: Scenario, part: Word) -> Fraction:
    """Of a reduced word of one party, by freeness: a product of centred letters has trace zero.

    ``0 = tau(prod (c_i - tau(c_i)))``, multiplied out, leaves traces of shorter words.
    """
    if not part:
        return Fraction(1)
    outcomes = scenario.outcomes[part[0].party]
    single = Fraction(0) if outcomes == 2 else Fraction(1, outcomes)
    if single == 0 or len(part) == 1:
        return single
    total = Fraction(0)
    for kept in range(len(part)):
        for subset in itertools.combinations(part, kept):
            word = scenario.multiply((), subset)
            if word is not None:
                total -= (-single) ** (len(part) - kept) * _trace(scenario, word)
    return total
