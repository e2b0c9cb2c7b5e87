"""A proof's whole numbers as bytes: what format 2 of a certificate's file has in their place.

Every number is a varint: seven bits a byte, the lowest first, the highest bit of a byte set where
another follows. In this order: the lengths of tree, diagonals, cuts and leaves; the tree's nodes
plus 1; the cuts' lengths; of each cut's entries, which grow, the steps from one to the next times
2, plus 1 where the coefficient is negative; 1 and the coefficients' sizes, or 0 where all are 1; of
each leaf the number of its cuts, and the power of two of its multipliers plus 256; the leaves'
cuts, which do not fall, as steps; and the multipliers in units of that power. The checker sees
what is unpacked, and takes it for no more than what format 1 has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qnn.certificates.csp.layout import CspProof

Array = np.ndarray

# Whole numbers times powers of two that float32 holds exactly.
CODES, LOWEST, HIGHEST = 2**24, -149, 104
_OFFSET = 256
_MOST_BYTES = 5


def pack(proof: CspProof) -> Array:
    """The bytes (uint8) of a proof's whole numbers and multipliers; ValueError where none can be.

    That is where entries of a cut or cuts of a leaf are not in order, or multipliers of a leaf are
    further apart than 24 bits.
    """
    cuts, leaves = np.diff(proof.cut_starts), np.diff(proof.leaf_starts)
    sizes = np.abs(proof.cut_coefficients.astype(np.int64))
    steps = _steps(proof.cut_entries, cuts)
    exponents, codes = _codes(proof.multipliers, leaves)
    plain = bool(np.all(sizes == 1))
    lengths = [len(part) for part in (proof.tree, proof.diagonals, cuts, leaves)]
    parts = [lengths, proof.tree.astype(np.int64) + 1, cuts]
    parts += [2 * steps + (proof.cut_coefficients < 0), [0 if plain else 1]]
    parts += [[] if plain else sizes, leaves, exponents + _OFFSET]
    parts += [_steps(proof.leaf_cuts, leaves), codes]
    return _bytes(np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]))


def unpack(words: Array) -> dict[str, Any]:
    """The fields that were packed, and `split`: how many of the reals are diagonals.

    ValueError for what is no such thing.
    """
    taken = _Numbers(words)
    nodes, split, count, leaves = taken.following(4).tolist()
    tree = taken.following(nodes) - 1
    cuts = taken.following(count)
    total = int(cuts.sum())
    signed = taken.following(total)
    plain = taken.following(1)[0] == 0
    sizes = np.ones(total, dtype=np.int64) if plain else taken.following(total)
    if sizes.max(initial=0) > 127:
        raise ValueError("a coefficient of a cut is too large")
    lengths, exponents = taken.following(leaves), taken.following(leaves) - _OFFSET
    uses = int(lengths.sum())
    leaf_cuts, codes = _sums(taken.following(uses), lengths), taken.following(uses)
    taken.end()
    return {
        "split": split,
        "tree": _narrow(tree),
        "cut_starts": _starts(cuts),
        "cut_entries": _narrow(_sums(signed >> 1, cuts)),
        "cut_coefficients": np.where(signed & 1, -sizes, sizes).astype(np.int8),
        "leaf_starts": _starts(lengths),
        "leaf_cuts": _narrow(leaf_cuts),
        "multipliers": _multipliers(codes, exponents, lengths),
    }


class _Numbers:
    """Numbers read one after the other."""

    def __init__(self, words: Array) -> None:
        self.numbers, self.at = _whole(words), 0

    def following(self, count: int) -> Array:
        if count > len(self.numbers) - self.at:
            raise ValueError("there are too few numbers")
        self.at += count
        return self.numbers[self.at - count : self.at]

    def end(self) -> None:
        if self.at != len(self.numbers):
            raise ValueError("there are too many numbers")


def _bytes(numbers: Array) -> Array:
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= 2**31):
        raise ValueError("a number is out of range")
    places = 7 * np.arange(_MOST_BYTES)
    digits = (numbers[:, None] >> places) & 127
    used = np.maximum((numbers[:, None] >> places > 0).sum(axis=1), 1)
    more = np.arange(_MOST_BYTES) < used[:, None] - 1
    kept = np.arange(_MOST_BYTES) < used[:, None]
    return (digits + 128 * more)[kept].astype(np.uint8)


def _whole(words: Array) -> Array:
    """The numbers (int64) that bytes are; each in its shortest form alone."""
    last = np.flatnonzero(words < 128)
    if len(words) and (not len(last) or last[-1] != len(words) - 1):
        raise ValueError("the last number is cut short")
    first = np.append(0, last[:-1] + 1) if len(last) else last
    lengths = last - first + 1
    if lengths.max(initial=0) > _MOST_BYTES or np.any((lengths > 1) & (words[last] == 0)):
        raise ValueError("a number is not in its shortest form")
    place = np.arange(len(words)) - np.repeat(first, lengths)
    digits = (words & 127).astype(np.int64) << (7 * place)
    numbers = np.add.reduceat(digits, first) if len(first) else digits
    if numbers.max(initial=0) >= 2**31:
        raise ValueError("a number is out of range")
    return numbers


def _steps(numbers: Array, lengths: Array) -> Array:
    """Of each part the first number and the differences of the following."""
    starts = np.cumsum(lengths) - lengths
    steps = np.diff(numbers.astype(np.int64), prepend=0)
    first = starts[lengths > 0]
    steps[first] = numbers[first]
    if np.any(steps < 0):
        raise ValueError("numbers that should grow do not")
    return steps


def _sums(steps: Array, lengths: Array) -> Array:
    """What `_steps` are the steps of."""
    sums = np.cumsum(steps)
    before = np.append(0, sums)[np.cumsum(lengths) - lengths]
    return np.asarray(sums - np.repeat(before, lengths))


def _starts(lengths: Array) -> Array:
    return _narrow(np.append(0, np.cumsum(lengths)))


def _narrow(numbers: Array) -> Array:
    if numbers.max(initial=0) >= 2**31:
        raise ValueError("a number is out of range")
    return numbers.astype(np.int32)


def _codes(multipliers: Array, lengths: Array) -> tuple[Array, Array]:
    """Of each leaf the power of two, and the multipliers in units of it."""
    if not (np.isfinite(multipliers).all() and np.all(multipliers >= 0.0)):
        raise ValueError("a multiplier is not finite, or negative")
    mantissas, powers = np.frexp(multipliers.astype(np.float64))
    whole = np.rint(np.ldexp(mantissas, 24)).astype(np.int64)
    # The lowest bit that is set, counted from 2^0.
    lowest = np.where(whole > 0, powers - 25 + np.frexp((whole & -whole).astype(float))[1], HIGHEST)
    leaf = np.repeat(np.arange(len(lengths)), lengths)
    exponents = np.full(len(lengths), HIGHEST)
    np.minimum.at(exponents, leaf, lowest)
    codes = np.ldexp(multipliers.astype(np.float64), -exponents[leaf])
    if np.any(codes >= CODES):
        raise ValueError("the multipliers of a leaf are too far apart")
    return exponents, codes.astype(np.int64)


def _multipliers(codes: Array, exponents: Array, lengths: Array) -> Array:
    if np.any(exponents < LOWEST) or np.any(exponents > HIGHEST) or codes.max(initial=0) >= CODES:
        raise ValueError("a multiplier is out of range")
    return np.ldexp(codes.astype(np.float64), np.repeat(exponents, lengths)).astype(np.float32)
