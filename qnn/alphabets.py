"""The weight alphabets: which numbers a first-layer weight may be, and how bits make them."""

from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError


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

    def contains(self, weights: np.ndarray) -> bool:
        """Whether all of these integers are levels of the alphabet."""
        return bool(np.isin(weights, self.levels).all())

    def decode(self, weights: np.ndarray) -> np.ndarray:
        """Integer levels (any shape) to the numbers they stand for, float64."""
        numbers = weights.astype(np.float64)
        return numbers if self.divisor == 1 else numbers / self.divisor


BINARY = Alphabet("binary", (-1, 1), 1, (1.0,), 1)
TERNARY = Alphabet("ternary", (-1, 0, 1), 1, (0.5, 0.5), 2)


def get_alphabet(name: str | int | Alphabet) -> Alphabet:
    """'binary', 'ternary', or a number of bits from 1 to 7 (weights are stored in int8)."""
    if isinstance(name, Alphabet):
        return name
    if name in ("binary", 1, "1"):
        return BINARY
    if name == "ternary":
        return TERNARY
    try:
        bits = int(name)
    except (TypeError, ValueError):
        bits = 0
    if not 2 <= bits <= 7:
        raise InputError(f"alphabet {name!r} is not known: choose binary, ternary or 1 to 7 bits")
    top = 2**bits - 1
    return Alphabet(
        name=str(bits),
        levels=tuple(range(-top, top + 1, 2)),
        divisor=top,
        scales=tuple(2**k / top for k in range(bits)),
        bits=bits,
    )
