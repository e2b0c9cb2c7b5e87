"""Numbers of a column in few bits: whole numbers that share a power of two.

A block is what is stored of one column: its thresholds, or its mean and scale. It is rounded when
the preprocessing is fitted, to the fewest bits at which the training rows are cut or scaled nearly
as before, so that the matrix that a network is trained on, its certificate and every export are
those of the rounded numbers. Rounded or not, a block is a tuple of floats: how many bits it takes
follows from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

#: Bits of a whole number, few to many; a block that fits none is stored as floats of 64 bits.
WIDTHS = (8, 16, 32)
FLOAT = 64
#: Bytes of a block beside its numbers: the exponent, and which width it has.
HEADER = 2
# How far a threshold may move, as the share of the rows between it and the next at even cuts; how
# far a mean may move in units of its scale, and a scale relative to itself.
CUT_TOLERANCE = 0.25
SCALE_TOLERANCE = 1.0 / 16.0
# The exponent of the least positive float.
LEAST_EXPONENT = -1074


@dataclass(frozen=True)
class Block:
    """What a block is stored as: `numbers · 2^exponent`, each of `width` bits.

    Where `width` is 64 the numbers are the floats themselves and the exponent is 0.
    """

    width: int
    exponent: int
    numbers: tuple[float, ...]

    @property
    def size_in_bytes(self) -> int:
        """The header and the numbers."""
        return HEADER + len(self.numbers) * self.width // 8


def stored(values: Sequence[float]) -> Block:
    """The fewest bits that hold finite values exactly."""
    fractions = [value.as_integer_ratio() for value in map(float, values)]
    # The lowest set bit of each: a float is a whole number times a power of two.
    lowest = [(top & -top).bit_length() - bottom.bit_length() for top, bottom in fractions if top]
    exponent = min(lowest, default=0)
    whole = [
        top << max(1 - bottom.bit_length() - exponent, 0) >> max(exponent, 0)
        for top, bottom in fractions
    ]
    largest = max(map(abs, whole), default=0)
    for width in WIDTHS:
        if largest < 2 ** (width - 1):
            return Block(width, exponent, tuple(map(float, whole)))
    return Block(FLOAT, 0, tuple(map(float, values)))


def _fewest_bits(
    low: np.ndarray, values: np.ndarray, accepts: Callable[[np.ndarray], bool]
) -> np.ndarray:
    """Values (k,) in the fewest bits that are accepted, or as they are.

    Where there are numbers of so many bits above `low` and not above a value, it is the one in the
    middle, else the nearest.
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    for width in WIDTHS:
        exponent = max(math.frexp(largest)[1] - width + 1, LEAST_EXPONENT)
        most = 2.0 ** (width - 1) - 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            below, above = np.ldexp(low, -exponent), np.ldexp(values, -exponent)
            first, last = np.floor(below) + 1.0, np.floor(above)
            middle = np.clip(np.rint(0.5 * (below + above)), first, last)
            whole = np.where(first <= last, middle, np.rint(above))
            found = np.ldexp(np.clip(whole, -most, most), exponent)
        if np.isfinite(found).all() and accepts(found):
            return found
    return values


def round_thresholds(
    thresholds: tuple[float, ...], distinct: np.ndarray, counts: np.ndarray
) -> tuple[float, ...]:
    """Thresholds of few bits that cut a column's rows nearly as evenly.

    Parameters
    ----------
    thresholds : ascending values of the column, the last perhaps repeated.
    distinct, counts : the column's different values (k,) in order, and how often each occurs.
    """
    exact = np.array(thresholds)
    upto = np.concatenate([[0.0], np.cumsum(counts)])
    allowed = CUT_TOLERANCE / (len(exact) + 1)

    def below(cuts: np.ndarray) -> np.ndarray:
        return np.asarray(upto[np.searchsorted(distinct, cuts, side="left")] / upto[-1])

    def accepts(cuts: np.ndarray) -> bool:
        shares = below(cuts)
        same = np.array_equal(np.diff(shares) > 0.0, np.diff(below(exact)) > 0.0)
        inside = shares.min() > 0.0 and shares.max() < 1.0
        return bool(same and inside and np.all(np.abs(shares - below(exact)) <= allowed))

    if below(exact).min() <= 0.0:
        # A column of one value: its threshold says nothing, and stays.
        return thresholds
    before = distinct[np.searchsorted(distinct, exact, side="left") - 1]
    return tuple(_fewest_bits(before, exact, accepts).tolist())


def round_scaling(mean: float, scale: float) -> tuple[float, float]:
    """Mean and scale of few bits: off by a sixteenth of the scale at most."""

    def accepts(pair: np.ndarray) -> bool:
        apart = np.abs(pair - (mean, scale))
        return bool(pair[1] > 0.0 and np.all(apart <= SCALE_TOLERANCE * scale))

    exact = np.array([mean, scale])
    first, second = _fewest_bits(exact, exact, accepts).tolist()
    return first, second
