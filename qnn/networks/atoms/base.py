"""What rounding and column generation need to know of a set of neurons."""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from qnn.networks.alphabets import Alphabet

Array = np.ndarray


def gain(correlation: Array, square: Array, penalty: float) -> Array:
    """What a neuron of feature h lowers `½‖r − αh‖² + λ|α|` by, at its best α, from α = 0.

    `max(|c| − λ, 0)² / (2q)` with `c = hᵀr`, `q = ‖h‖²`; 0 where q = 0.
    """
    excess = np.maximum(np.abs(correlation) - penalty, 0.0)
    return excess**2 / (2.0 * np.maximum(square, np.finfo(float).tiny))


class Atoms(ABC):
    """Neurons as bits: m of them are W (parts, D, m) of float signs, D = d times the bits a weight.

    A weight is `Σ_k scales[k] b_k` (see `qnn.networks.alphabets`), so a weight vector meets the
    data as `columns @ b` with `columns = [scales[0] X, scales[1] X, …]` (n, D). `parts` is the
    number of weight vectors a neuron has.
    """

    parts: int

    def __init__(self, X: Array, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        scales = alphabet.scales
        self.columns = X if scales == (1.0,) else np.hstack([scale * X for scale in scales])
        self.d = X.shape[1]

    @cached_property
    def squares(self) -> Array:
        """The entries' squares (n, D)."""
        return np.asarray(self.columns * self.columns)

    @property
    def size(self) -> int:
        """D, the bits of a weight vector."""
        return int(self.columns.shape[1])

    def none(self) -> Array:
        """No atoms, (parts, D, 0)."""
        return np.zeros((self.parts, self.size, 0))

    def products(self, W: Array) -> Array:
        """`Xu` of each weight vector u: (parts, D, m) → (parts, n, m)."""
        return self.columns @ W

    def features(self, W: Array) -> Array:
        """The neurons' outputs H (n, m)."""
        return self.combine(self.products(W))

    def levels(self, W: Array) -> Array:
        """The integer weights of the bits, int8 (parts, d, m)."""
        return np.stack([self.alphabet.compose(part) for part in W])

    @abstractmethod
    def combine(self, T: Array) -> Array:
        """The neurons' outputs (n, m) from their products (parts, n, m)."""

    @abstractmethod
    def slopes(self, T: Array) -> Array:
        """The derivatives of `combine` by each product, (parts, n, m)."""

    @abstractmethod
    def canonical(self, W: Array) -> tuple[Array, Array]:
        """One representative of all atoms with the same feature up to sign, and s (m,) ±1.

        `features(W) = features(representative) * s`.
        """

    @abstractmethod
    def random(self, count: int, rng: np.random.Generator) -> Array:
        """Sign vectors to start the pricing from, (size of the lift's signs, count)."""

    @abstractmethod
    def starts(self, W: Array) -> Array:
        """The sign vectors near these atoms, as `price` takes them."""

    @abstractmethod
    def from_signs(self, U: Array, V: Array) -> Array:
        """The atoms whose value is `uᵀMv` in the lift's M, one a column of U, V (size of M, k)."""

    @abstractmethod
    def price(self, M: Array, starts: Array) -> tuple[Array, Array]:
        """Local maxima over all atoms of `|hᵀν|` from `starts`; M is the lift's adjoint of ν.

        Returns W (parts, D, k) and the values (k,), ≥ 0 up to rounding.
        """

    @abstractmethod
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
        """A neuron after the best changes of a few of its bits, step by step, and its best α.

        T (parts, n), w (parts, D), alpha of the neuron as it is; r (n,) the residual with it in
        place. Steps lower `½‖r + αh − α'h'‖² + λ|α'|` by more than `threshold` each. With sample
        weights (n,) the norm is theirs, and r holds residuals times weights. Returns the bits, α'
        and whether there was any step.
        """

    def overlaps(self, W: Array, w: Array) -> Array:
        """How alike the atoms W (parts, D, m) and the atom w (parts, D) are: (m,), from 0 to 1.

        The product of the weight vectors' |cosines|, 1 where the atoms are the same.
        """
        return np.asarray(np.prod([np.abs(w[k] @ W[k]) for k in range(self.parts)], axis=0)) / (
            float(self.size) ** self.parts
        )

    def spread(self, W: Array, count: int, most: float) -> list[int]:
        """The first atoms of W, at most `count`, none of them overlapping another by `most`."""
        free = np.ones(W.shape[2], dtype=bool)
        chosen: list[int] = []
        while len(chosen) < count and free.any():
            chosen.append(int(np.argmax(free)))
            free &= self.overlaps(W, W[:, :, chosen[-1]]) < most
            free[chosen[-1]] = False
        return chosen

    def keys(self, W: Array) -> list[bytes]:
        """Hashable names of atoms in canonical form, by their integer weights."""
        if W.shape[2] == 0:
            return []
        rows = np.ascontiguousarray(self.levels(W).reshape(-1, W.shape[2]).T)
        return [row.tobytes() for row in rows]

    def unseen(self, W: Array, W_new: Array) -> list[int]:
        """Which of the new atoms are not among W, each once; both in canonical form."""
        seen = set(self.keys(W))
        fresh = []
        for index, key in enumerate(self.keys(W_new)):
            if key not in seen:
                seen.add(key)
                fresh.append(index)
        return fresh

    def merge(self, W: Array, alpha: Array) -> tuple[Array, Array]:
        """The same function with each atom once, in canonical form, in order of appearance.

        `Σ|α|` does not rise. Atoms with alpha 0 are kept.
        """
        W, s = self.canonical(W)
        place: dict[bytes, int] = {}
        index = [place.setdefault(key, len(place)) for key in self.keys(W)]
        merged = np.zeros(len(place))
        np.add.at(merged, index, s * alpha)
        kept = np.unique(index, return_index=True)[1] if index else np.zeros(0, dtype=int)
        return W[:, :, kept], merged


def first_sign(levels: Array) -> Array:
    """The sign of each column's first entry that is not 0, (d, m) → (m,); 1 where all are 0."""
    present = levels != 0
    first = present.argmax(axis=0)
    found = np.sign(levels[first, np.arange(levels.shape[1])])
    return np.where(found == 0, 1, found).astype(np.float64)
