"""The bilinear activation ``(x'u)(x'v)``."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qnn.networks.activations.lift import Lift


@dataclass(frozen=True)
class Bilinear:
    """``f(x) = sum_j alpha_j (x'u_j)(x'v_j)``; the penalty's dual is ``|u'Mv| <= beta d``."""

    name: ClassVar[str] = "bilinear"
    coefficients: ClassVar[None] = None
    #: whether a neuron has two weight vectors, u and v
    pairs: ClassVar[bool] = True

    def lift_size(self, d: int, bits: int) -> int:
        """The order D of the lift of d columns, whatever the bits of a weight are."""
        return d

    def lift(self, X: np.ndarray, scales: tuple[float, ...]) -> Lift:
        """The lift of X (n, d). It needs no bits: conv{uv'} is that of the binary alphabet.

        That holds for every alphabet within [-1, 1] that contains -1 and +1, so ``scales`` is
        not used.
        """
        return Lift(features=X, template=None, pairs=True)

    def hidden(self, X: np.ndarray, U: np.ndarray, V: np.ndarray | None) -> np.ndarray:
        """The neurons' outputs: X (n, d), weights U and V (d, m) as numbers, to (n, m)."""
        assert V is not None, "a bilinear network has two weight matrices"
        return (X @ U) * (X @ V)
