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

    def compose(self, bits: np.ndarray) -> np.ndarray:
        """``sum_k scales[k] b_k`` as integer levels, int8 (d, m).

        bits (d · number of scales, m): the first of every weight, then the second, and so on.
        """
        blocks = np.split(bits, len(self.scales))
        total = sum(
            self.divisor * scale * block for scale, block in zip(self.scales, blocks, strict=True)
        )
        return np.rint(total).astype(np.int8)

    def encode(self, levels: np.ndarray) -> np.ndarray:
        """Bits, as float signs, that compose to these levels: the same ones for equal levels."""
        steps = [round(self.divisor * 2 * scale) for scale in self.scales]
        rest = levels.astype(np.int64) + self.levels[-1]
        blocks = []
        # From the largest step down: each takes what it can.
        for step in reversed(steps):
            taken = rest >= step
            rest = rest - step * taken
            blocks.append(np.where(taken, 1.0, -1.0))
        return np.concatenate(blocks[::-1])


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
