"""The atoms of the bilinear activation: pairs (u, v) with the feature `(Xu)∘(Xv)`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qnn.networks.atoms.base import Array, Atoms, first_sign, gain
from qnn.networks.atoms.maxima import alternating_maximization, signs
from qnn.numerics.weights import weighted


class BilinearAtoms(Atoms):
    """Pairs of weight vectors. (u, v), (v, u) and (−u, −v) are one atom, (−u, v) its negative.

    `uᵀMv` is linear in each, so atoms that price highest have weights −1 and +1 whatever the
    alphabet; other weights come by `best_change`.
    """

    parts = 2

    def combine(self, T: Array) -> Array:
        """`(Xu)∘(Xv)`."""
        return np.asarray(T[0] * T[1])

    def slopes(self, T: Array) -> Array:
        """Each product's factor: the other product."""
        return T[::-1]

    def canonical(self, W: Array) -> tuple[Array, Array]:
        """First weights that are not 0 are positive, and u is not behind v lexicographically."""
        count = W.shape[2]
        if count == 0:
            return W, np.zeros(0)
        levels = self.levels(W)
        s_u, s_v = first_sign(levels[0]), first_sign(levels[1])
        U, V = levels[0] * s_u, levels[1] * s_v
        differs = U != V
        first = differs.argmax(axis=0)
        columns = np.arange(count)
        swap = differs[first, columns] & (U[first, columns] < V[first, columns])
        ordered = np.stack([np.where(swap, V, U), np.where(swap, U, V)])
        return np.stack([self.alphabet.encode(part) for part in ordered]), s_u * s_v

    def overlaps(self, W: Array, w: Array) -> Array:
        """Also with u and v exchanged, the larger."""
        return np.maximum(super().overlaps(W, w), super().overlaps(W, w[::-1]))

    def random(self, count: int, rng: np.random.Generator) -> Array:
        """Uniform signs (d, count)."""
        return signs(rng.standard_normal((self.d, count)))

    def starts(self, W: Array) -> Array:
        """The signs of both weight vectors, (d, 2m)."""
        return signs(np.hstack(list(self.levels(W))))

    def from_signs(self, U: Array, V: Array) -> Array:
        """The atoms of pairs of sign vectors (d, k): the weights −1 and +1."""
        bits = self.size // self.d
        return np.stack([np.tile(U, (bits, 1)), np.tile(V, (bits, 1))])

    def price(self, M: Array, starts: Array) -> tuple[Array, Array]:
        """Alternating maximization of `uᵀMv`."""
        U, V, values = alternating_maximization(M, starts)
        return self.from_signs(U, V), values

    def best_change(
        self,
        T: Array,
        w: Array,
        alpha: float,
        r: Array,
        penalty: float,
        threshold: float,
        weights: Array | None = None,
    ) -> tuple[Array, float, bool]:
        """The best bit of u or v at a time; where none helps, the best pair, one of each.

        Single bits first: a step of theirs is n·D work, the table of all pairs n·D².
        """
        t, w = T.copy(), w.copy()
        rest = r + weighted(alpha * t[0] * t[1], weights)
        square = weighted(t[0] ** 2, weights) @ t[1] ** 2
        value = float(gain(t[0] * t[1] @ rest, square, penalty))
        moved = False
        while True:
            best = self._best_bit(t, w, rest, penalty, weights)
            if best.gain <= value + threshold:
                best = self._best_pair(t, w, rest, penalty, weights)
            if best.gain <= value + threshold:
                return w, alpha, moved
            value, alpha, moved = best.gain, best.alpha, True
            for part, bit in best.bits:
                w[part, bit] = -w[part, bit]
                t[part] += 2.0 * w[part, bit] * self.columns[:, bit]

    def _best_bit(
        self, t: Array, w: Array, rest: Array, penalty: float, weights: Array | None
    ) -> "_Change":
        """Of the 2 D single bits. `(Xu − 2u_i x_i)∘Xv` has its products in closed form."""
        h, others = t[0] * t[1], t[::-1]
        counted = weighted(h, weights)
        slopes = (others * rest) @ self.columns
        crossed = (others * counted) @ self.columns
        correlation = h @ rest - 2.0 * w * slopes
        products = weighted((others * others).T, weights).T
        square = h @ counted - 4.0 * w * crossed + 4.0 * products @ self.squares
        return _Change.best(correlation, square, penalty, lambda part, bit: [(part, bit)])

    def _best_pair(
        self, t: Array, w: Array, rest: Array, penalty: float, weights: Array | None
    ) -> "_Change":
        """Of the D² pairs of a bit of u and a bit of v."""
        left, right = (t[part][:, None] - 2.0 * w[part] * self.columns for part in (0, 1))
        correlation = (left * rest[:, None]).T @ right
        square = weighted(left * left, weights).T @ (right * right)
        return _Change.best(correlation, square, penalty, lambda i, j: [(0, i), (1, j)])


@dataclass(frozen=True)
class _Change:
    """Bits (part, index) to flip, what the neuron then gains and its best alpha."""

    gain: float
    alpha: float
    bits: list[tuple[int, int]]

    @classmethod
    def best(
        cls,
        correlation: Array,
        square: Array,
        penalty: float,
        bits: Callable[[int, int], list[tuple[int, int]]],
    ) -> "_Change":
        """The best entry of a table of changes."""
        gains = gain(correlation, square, penalty)
        row, column = divmod(int(np.argmax(gains)), gains.shape[1])
        c = float(correlation[row, column])
        size = max(abs(c) - penalty, 0.0)
        alpha = float(np.sign(c)) * size / float(square[row, column]) if size else 0.0
        return cls(float(gains[row, column]), alpha, bits(row, column))
