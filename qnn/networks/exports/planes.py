"""Weights as planes of bits: what sign-add and popcount work on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.networks.alphabets import get_alphabet


@dataclass(frozen=True, eq=False)
class Planes:
    """A weight is `Σ_p scales[p] · (±1) / divisor`, + where `bits[p]` is set.

    bits: (P, d, m) bool. Binary: one plane; ternary: two of scale 1 over 2; M bits: scales 2^p over
    2^M − 1.
    """

    bits: np.ndarray
    scales: tuple[int, ...]
    divisor: int

    def words(self) -> np.ndarray:
        """Packed to uint64 (P, m, ceil(d/64)): feature k is bit k % 64 of word k // 64."""
        count, d, m = self.bits.shape
        padded = np.zeros((count, m, -(-d // 64) * 64), dtype=bool)
        padded[:, :, :d] = self.bits.transpose(0, 2, 1)
        return np.packbits(padded, axis=2, bitorder="little").view("<u8")


def to_planes(weights: np.ndarray, alphabet: str) -> Planes:
    """The planes of integer levels (d, m)."""
    levels = weights.astype(np.int64)
    if alphabet == "ternary":
        return Planes(np.stack([levels > -1, levels > 0]), (1, 1), 2)
    divisor = get_alphabet(alphabet).divisor
    count = divisor.bit_length()
    # Level = Σ 2^p (2 digit_p − 1), so the digits are those of (level + divisor) / 2.
    digits = (levels + divisor) // 2
    bits = np.stack([(digits >> p) & 1 == 1 for p in range(count)])
    return Planes(bits, tuple(2**p for p in range(count)), divisor)
