"""Weights as planes of bits: what sign-add and popcount work on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from qnn.networks.alphabets import Alphabet, get_alphabet
from qnn.networks.quantized import QuantizedNetwork


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
    """The planes of integer levels (d, m): the bits that the alphabet makes them of."""
    known = get_alphabet(alphabet)
    scales, divisor = plane_scales(known)
    return Planes(known.planes(weights)[_order(known)], scales, divisor)


def planes_of(network: QuantizedNetwork) -> dict[str, Planes]:
    """The planes of "u", and of "v" where there is one; of no neurons those of one of all bits.

    That neuron has the output 0, as its alpha is.
    """
    planes = {"u": to_planes(network.U, network.alphabet)}
    if network.V is not None:
        planes["v"] = to_planes(network.V, network.alphabet)
    if network.neurons:
        return planes
    ones = {name: np.ones((len(one.scales), network.d, 1), bool) for name, one in planes.items()}
    return {name: replace(planes[name], bits=bits) for name, bits in ones.items()}


def plane_scales(alphabet: Alphabet) -> tuple[tuple[int, ...], int]:
    """The planes' scales as whole numbers, and the divisor that makes weights of their sums."""
    steps = [alphabet.steps[k] for k in _order(alphabet)]
    common = math.gcd(2 * alphabet.divisor, *steps)
    return tuple(step // common for step in steps), 2 * alphabet.divisor // common


def _order(alphabet: Alphabet) -> list[int]:
    """From the smallest scale up; of equal ones first the one that `encode` sets first."""
    return sorted(range(len(alphabet.steps)), key=lambda k: (alphabet.steps[k], -k))
