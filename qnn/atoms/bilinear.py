"""The atoms of the bilinear activation: pairs (u, v) with the feature `(Xu)∘(Xv)`."""

import numpy as np

from qnn.atoms.base import Array, Atoms, first_sign, gain, signs
from qnn.pricing.heuristic import alternating_maximization


class BilinearAtoms(Atoms):
    """Pairs of weight vectors. (u, v), (v, u) and (−u, −v) are one atom, (−u, v) its negative.

    `uᵀMv` is linear in each, so atoms that price highest have weights −1 and +1 whatever the
    alphabet; other weights come by `best_change`.
    """

    parts = 2

    def combine(self, T: Array) -> Array:
        """`(Xu)∘(Xv)`."""
        return np.asarray(T[0] * T[1])

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
        self, T: Array, w: Array, alpha: float, r: Array, penalty: float, threshold: float
    ) -> tuple[Array, float, bool]:
        """Up to one bit of u and one of v at a time, the best of all such pairs.

        Row 0 of the tables stands for "u unchanged", column 0 for "v unchanged".
        """
        (a, b), (u, v) = T, w
        rest = r + alpha * a * b
        h = a * b
        value = float(gain(h @ rest, h @ h, penalty))
        moved = False
        while True:
            left = np.column_stack([a, a[:, None] - 2.0 * u * self.columns])
            right = np.column_stack([b, b[:, None] - 2.0 * v * self.columns])
            correlation = (left * rest[:, None]).T @ right
            square = (left * left).T @ (right * right)
            gains = gain(correlation, square, penalty)
            i, j = np.unravel_index(int(np.argmax(gains)), gains.shape)
            if gains[i, j] <= value + threshold:
                break
            value, moved = float(gains[i, j]), True
            u, v = u.copy(), v.copy()
            if i:
                u[i - 1] = -u[i - 1]
            if j:
                v[j - 1] = -v[j - 1]
            a, b = left[:, i], right[:, j]
            c = float(correlation[i, j])
            alpha = float(np.sign(c)) * max(abs(c) - penalty, 0.0) / float(square[i, j])
        return np.stack([u, v]), alpha, moved
