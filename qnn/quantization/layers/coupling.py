"""Neurons decided against each other's errors: what the rows' gradients say of them together.

With g_cj the derivatives of the network's outputs (directions c, as Fisher's matrix sums them) by
the output of neuron j, and e_j its error on a row, the divergence is to second order half the mean
over rows of ``sum_c (sum_j g_cj e_j)^2``. Fisher's weights of a neuron alone keep the squares of
this and drop the products of two neurons. Here neuron after neuron is decided again while the
others are fixed: the products move its target w to

    w' = w - H^-1 E[sum_c g_cj (sum_{k != j} g_ck e_k) (x - mean)] / F_j,

F_j the scale by which H was taken relative, and sphere decoding near its step finds codes for it.
A step is taken only where it lowers the sum, so the sum never rises. It is block coordinate descent
by Gauss and Newton's model of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import solve

from qnn.quantization.layers.grids import Codes
from qnn.quantization.layers.lattice import nearby
from qnn.quantization.layers.objective import Objective

Array = np.ndarray

# Fisher's weights of rows get this share of their mean, so that no row counts for nothing.
FLOOR = 0.1
# Neurons of less effect, relative to the largest, are not asked to make up for the others.
_LEAST = 1e-6
_ROUNDS = 3
_BEAM = 32


def fisher_weights(square: Array) -> Array:
    """Weights (n, m) of mean 1 from Fisher's diagonal (n, m); 1 for a neuron of no effect."""
    mean = square.mean(axis=0)
    relative = np.divide(square, mean, out=np.ones_like(square), where=mean > 0.0)
    return np.asarray((relative + FLOOR) / (1.0 + FLOOR))


class Coupled:
    """A layer's neurons, their errors on the rows, and what these sum to by direction.

    X (n, d) inputs, outputs (n, m) wanted, gradients (c, n, m); objectives one a neuron, whose rows
    `fisher_weights` of the gradients' squares weigh.
    """

    def __init__(
        self,
        X: Array,
        outputs: Array,
        gradients: Array,
        objectives: Sequence[Objective],
        codes: Codes,
        bits: Array,
    ) -> None:
        self.X, self.outputs, self.gradients = X, outputs, gradients
        self.objectives, self.codes, self.bits = objectives, codes, bits
        self.size = (1.0 + FLOOR) * (gradients**2).sum(axis=0).mean(axis=0)
        self.wrong = np.stack([self._wrong(j) for j in range(len(bits))], axis=1)
        self.sums = np.einsum("cnm,nm->cn", gradients, self.wrong)

    def improve(self, progress: Callable[[float], None]) -> None:
        """Every neuron again and again, until none changes or three rounds are done."""
        for turn in range(_ROUNDS):
            changed = 0
            for j in range(len(self.bits)):
                changed += self._decide(j)
                progress((turn + (j + 1) / len(self.bits)) / _ROUNDS)
            if not changed:
                break
        progress(1.0)

    def target(self, j: int) -> Array:
        """Of neuron j (d,), what the others do counted."""
        objective, own = self.objectives[j], self.gradients[:, :, j]
        if not self.size[j] > _LEAST * self.size.max():
            return np.asarray(objective.W[0])
        others = (own * (self.sums - own * self.wrong[:, j])).sum(axis=0)
        pull = others @ (self.X - objective.input_mean) / (len(self.X) * self.size[j])
        moved = objective.W[0] - solve(objective.H, pull, assume_a="pos", check_finite=False)
        return np.asarray(moved)

    def loss(self) -> float:
        """Half the mean square over rows: the divergence's second-order model."""
        return 0.5 * float((self.sums**2).sum()) / len(self.X)

    def _decide(self, j: int) -> bool:
        H, w, one = self.objectives[j].H, self.target(j)[None], slice(j, j + 1)
        old = Codes(self.codes.s[one], self.codes.q[one])
        new = old.better(nearby(H, w, old, int(self.bits[j]), _BEAM), H, w)
        if new.s[0] == old.s[0] and np.array_equal(new.q, old.q):
            return False
        self.codes.s[one], self.codes.q[one] = new.s, new.q
        wrong = self._wrong(j)
        self.sums += self.gradients[:, :, j] * (wrong - self.wrong[:, j])
        self.wrong[:, j] = wrong
        return True

    def _wrong(self, j: int) -> Array:
        """The error (n,) of neuron j with its best bias."""
        objective, v = self.objectives[j], self.codes.s[j] * self.codes.q[j]
        bias = objective.output_mean[0] - v @ objective.input_mean
        return np.asarray(self.X @ v + bias - self.outputs[:, j])
