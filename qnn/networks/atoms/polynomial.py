"""The atoms of a polynomial activation: weight vectors u with the feature `σ(Xu)`."""

import numpy as np

from qnn.networks.activations import Polynomial
from qnn.networks.alphabets import Alphabet
from qnn.networks.atoms.base import Array, Atoms, first_sign, gain
from qnn.networks.atoms.maxima import flip_maximization, signs
from qnn.numerics.weights import weighted


class PolynomialAtoms(Atoms):
    """Single weight vectors. u and −u are one atom where `σ` is even, negatives where it is odd."""

    parts = 1

    def __init__(self, X: Array, alphabet: Alphabet, activation: Polynomial) -> None:
        super().__init__(X, alphabet)
        self.activation = activation

    def combine(self, T: Array) -> Array:
        """`σ(Xu)`."""
        return self.activation.value(T[0])

    def slopes(self, T: Array) -> Array:
        """`σ'(Xu)`."""
        return self.activation.slope(T)

    def canonical(self, W: Array) -> tuple[Array, Array]:
        """The bits that the integer weights are encoded as; even or odd: a first sign of +1."""
        levels = self.levels(W)[0]
        s = np.ones(W.shape[2])
        if self.activation.parity:
            turn = first_sign(levels)
            levels = levels * turn
            if self.activation.parity < 0:
                s = turn
        return self.alphabet.encode(levels)[None], s

    def random(self, count: int, rng: np.random.Generator) -> Array:
        """Uniform signs (D, count)."""
        return signs(rng.standard_normal((self.size, count)))

    def starts(self, W: Array) -> Array:
        """The bits themselves."""
        return np.asarray(W[0])

    def from_signs(self, U: Array, V: Array) -> Array:
        """The bits of homogenized vectors (D + 1, k), scaled to a last entry of +1; V is U."""
        return np.asarray((U[:-1] * U[-1])[None])

    def price(self, M: Array, starts: Array) -> tuple[Array, Array]:
        """Single flips, uphill and downhill, of `[u; 1]ᵀM[u; 1]`."""
        U, values = flip_maximization(M, starts)
        return U[None], values

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
        """One bit at a time, the best of all. Column 0 of the table stands for "unchanged"."""
        t, u = T[0], w[0]
        h = self.activation.value(t)
        rest = r + weighted(alpha * h, weights)
        value = float(gain(h @ rest, h @ weighted(h, weights), penalty))
        moved = False
        while True:
            table = np.column_stack([t, t[:, None] - 2.0 * u * self.columns])
            outputs = self.activation.value(table)
            correlation = outputs.T @ rest
            square = np.einsum("ij,ij->j", outputs, weighted(outputs, weights))
            gains = gain(correlation, square, penalty)
            i = int(np.argmax(gains))
            if gains[i] <= value + threshold:
                break
            value, moved = float(gains[i]), True
            u = u.copy()
            u[i - 1] = -u[i - 1]
            t = table[:, i]
            c = float(correlation[i])
            alpha = float(np.sign(c)) * max(abs(c) - penalty, 0.0) / float(square[i])
        return u[None], alpha, moved
