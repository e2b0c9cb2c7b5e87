"""The lifted operators: a network is linear in the matrix that its weights span.

For one row with features ``f`` the network's output is ``A(Z) = f' (T o Z) f`` (o: entrywise),
and the adjoint is ``M(nu) = T o (F' diag(nu) F)``. The bilinear activation has ``f = x`` and T all
ones; the polynomial one has ``f = [x; 1]`` and ``T = [[a, b/2], [b/2, c]]`` by blocks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

Array = np.ndarray

_BLOCK = 4096

T = TypeVar("T")


@dataclass(frozen=True)
class Lift:
    """Features (n, D), the template T (D, D; None for all ones), and what a neuron's weights span.

    ``pairs``: a neuron spans ``uv'`` of two sign vectors (bilinear), and both blocks share one
    diagonal, ``diag(P) + diag(N) = rho``; otherwise it spans ``uu'`` (polynomial), and each block
    has its own, ``diag(P) = rho_plus`` and ``diag(N) = rho_minus``.
    """

    features: Array
    template: Array | None
    pairs: bool

    def replaced(self, features: Array, template: Array | None) -> "Lift":
        """The same kind of lift with other features (n, D) and template (D, D)."""
        return replace(self, features=features, template=template)

    @property
    def size(self) -> int:
        """D, the order of the lifted matrices."""
        return int(self.features.shape[1])

    @property
    def diagonals(self) -> int:
        """How many diagonals a dual point has, and values rho has: what `sides` takes."""
        return 1 if self.pairs else 2

    def sides(self, diagonals: Sequence[T]) -> Iterator[tuple[T, float]]:
        """What belongs to M(nu) and to -M(nu): pairs (a, s) with ``Diag(a) - s M(nu) >= 0``.

        One entry of ``diagonals`` serves both signs; of two the first is that of M(nu).
        The primal blocks stand in the same order: P has the sign +1, N the sign -1.
        """
        yield diagonals[0], 1.0
        yield diagonals[-1], -1.0

    def groups(self, P: T, N: T) -> tuple[tuple[T, ...], ...]:
        """What belongs to the blocks P and N, by the diagonals: those that share one together."""
        return ((P, N),) if self.diagonals == 1 else ((P,), (N,))

    @property
    def free_diagonal(self) -> bool:
        """Whether the diagonal of ``Z = P - N`` is free: it is constant where each block's is."""
        return self.pairs

    def settled(self, Z: Array) -> Array:
        """The nearest Z (D, D) with such a diagonal, in place."""
        if not self.pairs:
            Z.flat[:: len(Z) + 1] = Z.trace() / len(Z)
        return Z

    def largest_product(self, u: Array, product: Array) -> float:
        """The largest ``|u'Mv|`` over the v that a neuron has beside u (D,); product: ``M u``."""
        return float(np.abs(product).sum() if self.pairs else abs(u @ product))

    @property
    def even(self) -> bool:
        """Whether u and -u have the same ``u'M(nu)u``, last entry aside: T has no b."""
        return self.template is None or not self.template[-1, :-1].any()

    def apply(self, Z: Array) -> Array:
        """``A(Z)``: (D, D) symmetric to (n,)."""
        weighted = Z if self.template is None else self.template * Z
        values = np.empty(len(self.features))
        for rows in self._blocks():
            block = self.features[rows]
            values[rows] = np.einsum("ij,ij->i", block @ weighted, block)
        return values

    def adjoint(self, nu: Array) -> Array:
        """``M(nu)``: (n,) to (D, D) symmetric."""
        M = np.zeros((self.size, self.size))
        for rows in self._blocks():
            block = self.features[rows]
            M += (block * nu[rows, None]).T @ block
        M = 0.5 * (M + M.T)
        return M if self.template is None else self.template * M

    def _blocks(self) -> Iterator[slice]:
        """Row blocks, so that no second matrix of the size of the features is ever formed."""
        for start in range(0, len(self.features), _BLOCK):
            yield slice(start, start + _BLOCK)

    def gram(self) -> Array:
        """``K[i, k] = <A_i, A_k>``, (n, n): the kernel of the lifted rows."""
        if self.template is None:
            return (self.features @ self.features.T) ** 2
        # T has at most the blocks (a, b/2, c) with the last feature apart, so K splits by them.
        head, tail = self.features[:, :-1], self.features[:, -1]
        a, half_b = self.template[0, 0], self.template[0, -1]
        c = self.template[-1, -1]
        K = np.empty((len(head), len(head)), head.dtype)
        for start in range(0, len(head), 256):
            rows = slice(start, start + 256)
            inner, last = head[rows] @ head.T, np.outer(tail[rows], tail)
            K[rows] = a**2 * inner**2 + 2.0 * half_b**2 * inner * last + c**2 * last**2
        return K
