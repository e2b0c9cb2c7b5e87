"""The weight alphabets: which numbers a first-layer weight may be, and how bits make them."""

from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.registry import Registry

# Comparing with each of so many levels is faster than sorting.
FEW = 4


@dataclass(frozen=True)
class Alphabet:
    """Weights are ``levels / divisor`` with integer levels, the sums of ``scales`` times bits.

    binary: {-1, +1}; ternary: {-1, 0, +1} as half the sum of two binaries; M bits:
    {-(2^M-1), ..., -1, 1, ..., 2^M-1} / (2^M-1).
    """

    name: str
    levels: tuple[int, ...]
    divisor: int
    scales: tuple[float, ...]
    bits: float

    @property
    def signs(self) -> bool:
        """Whether a weight is one sign."""
        return len(self.scales) == 1

    @property
    def steps(self) -> tuple[int, ...]:
        """What a level grows by when a bit is set, one for each of ``scales``."""
        return tuple(round(self.divisor * 2 * scale) for scale in self.scales)

    def contains(self, weights: np.ndarray) -> bool:
        """Whether all of these integers are levels of the alphabet."""
        if len(self.levels) > FEW:
            return bool(np.isin(weights, self.levels).all())
        return bool(np.logical_or.reduce([weights == level for level in self.levels]).all())

    def decode(self, weights: np.ndarray) -> np.ndarray:
        """Integer levels (any shape) to the numbers they stand for, float64."""
        numbers = weights.astype(np.float64)
        return numbers if self.divisor == 1 else numbers / self.divisor

    def compose(self, bits: np.ndarray) -> np.ndarray:
        """``sum_k scales[k] b_k`` as integer levels, int8 (d, m).

        bits (d · number of scales, m): the first of every weight, then the second, and so on.
        """
        blocks = np.split(bits, len(self.scales))
        total = sum(
            self.divisor * scale * block for scale, block in zip(self.scales, blocks, strict=True)
        )
        return np.rint(total).astype(np.int8)

    def planes(self, levels: np.ndarray) -> np.ndarray:
        """The bits that levels (d, m) are made of, bool (number of scales, d, m).

        Equal levels have the same ones.
        """
        planes = np.empty((len(self.scales), *levels.shape), dtype=bool)
        rest = levels.astype(np.int64) + self.levels[-1]
        # From the largest step down: each takes what it can.
        for plane, step in reversed(list(zip(planes, self.steps, strict=True))):
            plane[...] = rest >= step
            rest -= step * plane
        return planes

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """`planes` as float signs that compose to these levels, (d · number of scales, m)."""
        d, m = levels.shape
        return np.where(self.planes(levels), 1.0, -1.0).reshape(len(self.scales) * d, m)


BINARY = Alphabet("binary", (-1, 1), 1, (1.0,), 1)
TERNARY = Alphabet("ternary", (-1, 0, 1), 1, (0.5, 0.5), 2)


def _bits(bits: int) -> Alphabet:
    """The weights of so many bits."""
    top = 2**bits - 1
    return Alphabet(
        name=str(bits),
        levels=tuple(range(-top, top + 1, 2)),
        divisor=top,
        scales=tuple(2**k / top for k in range(bits)),
        bits=bits,
    )


#: by name; a number is that of bits, 7 at most: weights are stored in int8
ALPHABETS: Registry[str | int, Alphabet] = Registry(
    "alphabet",
    {"binary": BINARY, "ternary": TERNARY, **{bits: _bits(bits) for bits in range(2, 8)}},
)


def get_alphabet(name: str | int | Alphabet) -> Alphabet:
    """'binary', 'ternary', or a number of bits from 1 to 7 (weights are stored in int8)."""
    if isinstance(name, Alphabet):
        return name
    if isinstance(name, str) and name in ALPHABETS:
        return ALPHABETS[name]
    # As it is written: int() reads other digits, leading zeros and fractions too, and True is 1.
    text = str(name)
    if text == "1":
        return BINARY
    known = ALPHABETS.get(int(text) if text in map(str, range(2, 8)) else text)
    if known is None:
        raise InputError(f"alphabet {name!r} is not known: choose binary, ternary or 1 to 7 bits")
    return known
