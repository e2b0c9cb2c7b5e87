"""Symmetric grids of integers with a step a neuron, and rounding to the nearest.

A neuron's weights are ``s q`` with one step s > 0 and codes q in {-2^(b-1), ..., 2^(b-1) - 1}. Its
error is ``f(s, q) = (s q - w)' H (s q - w)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# Fractions of the largest weight that the search of a step tries.
_FRACTIONS = np.linspace(0.25, 1.3, 64)


@dataclass(frozen=True, eq=False)
class Codes:
    """Quantized neurons: steps s (m,), positive, and codes q (m, d), int8."""

    s: Array
    q: Array

    @property
    def weights(self) -> Array:
        """The weights that they stand for, (m, d)."""
        return self.s[:, None] * self.q

    def better(self, other: Codes, H: Array, W: Array) -> Codes:
        """Neuron by neuron the one of smaller error."""
        take = errors(H, other.weights - W) < errors(H, self.weights - W)
        return self.replaced(take, other)

    def replaced(self, take: Array, other: Codes) -> Codes:
        """The other codes of the neurons that `take` (m,) names."""
        return Codes(np.where(take, other.s, self.s), np.where(take[:, None], other.q, self.q))


@dataclass(eq=False)
class Best:
    """The best codes so far of neurons W (m, d) with their errors, which are computed once."""

    codes: Codes
    H: Array
    W: Array
    errors: Array

    @classmethod
    def of(cls, codes: Codes, H: Array, W: Array) -> Best:
        """To begin with."""
        return cls(codes, H, W, errors(H, codes.weights - W))

    def take(self, other: Codes) -> None:
        """Neuron by neuron the other codes where their error is smaller."""
        found = errors(self.H, other.weights - self.W)
        less = found < self.errors
        self.codes = self.codes.replaced(less, other)
        self.errors = np.where(less, found, self.errors)


def limits(bits: int) -> tuple[int, int]:
    """The smallest and the largest code."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def errors(H: Array, E: Array) -> Array:
    """``e' H e`` of each row e of E (m, d): (m,)."""
    values: Array = np.einsum("ij,ij->i", E @ H, E)
    return values


def nearest(W: Array, s: Array, bits: int) -> Codes:
    """The nearest codes at the steps s (m,)."""
    q = np.clip(np.rint(W / s[:, None]), *limits(bits))
    return Codes(s, q.astype(np.int8))


def largest_steps(W: Array, bits: int) -> Array:
    """Steps at which the largest weight of each neuron is the largest code; 1 for a zero neuron."""
    top = np.abs(W).max(axis=1)
    steps: Array = np.where(top > 0.0, top / limits(bits)[1], 1.0)
    return steps


def round_to_range(H: Array, W: Array, bits: int) -> Codes:
    """Round to nearest with the step of the range: the plainest method."""
    return nearest(W, largest_steps(W, bits), bits)


def round_searched(H: Array, W: Array, bits: int) -> Codes:
    """Round to nearest with the step, of 64, whose error is smallest."""
    s0 = largest_steps(W, bits)
    best = Best.of(nearest(W, s0, bits), H, W)
    for fraction in _FRACTIONS:
        best.take(nearest(W, fraction * s0, bits))
    return best.codes


def refit_steps(H: Array, W: Array, codes: Codes) -> Codes:
    """The best step of the codes, ``q'Hw / q'Hq`` where that is positive."""
    q = codes.q.astype(np.float64)
    products = q @ H
    above, below = (products * W).sum(axis=1), (products * q).sum(axis=1)
    good = (above > 0.0) & (below > 0.0)
    steps = np.divide(above, below, out=np.ones_like(above), where=good)
    return Codes(np.where(good, steps, codes.s), codes.q)
