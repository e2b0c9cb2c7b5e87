"""The polynomial activation ``sigma(t) = a t^2 + b t + c``."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qnn.errors import InputError
from qnn.networks.activations.lift import Lift


@dataclass(frozen=True)
class Polynomial:
    """``f(x) = sum_j alpha_j sigma(x'u_j)``, ``sigma(t) = a t^2 + b t + c``.

    Homogenized with ``[u; 1]``: ``sigma(x'u) = <A_x, [u;1][u;1]'>`` with
    ``A_x = [[a xx', b/2 x], [b/2 x', c]]``.
    """

    a: float
    b: float
    c: float
    name: ClassVar[str] = "polynomial"
    pairs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        coefficients = np.array([self.a, self.b, self.c], dtype=float)
        if not np.isfinite(coefficients).all() or not coefficients.any():
            raise InputError(
                f"Polynomial({self.a}, {self.b}, {self.c}): the coefficients must be finite and "
                "not all zero"
            )

    def lift_size(self, d: int, bits: int) -> int:
        """The order D of the lift of d columns and weights of so many bits."""
        return d * bits + 1

    def lift(self, X: np.ndarray, scales: tuple[float, ...]) -> Lift:
        """The lift of X (n, d) for weights ``sum_k scales[k] b_k``, b_k binary: D = d*bits + 1."""
        columns = [scale * X for scale in scales] if scales != (1.0,) else [X]
        features = np.column_stack([*columns, np.ones(len(X))])
        template = np.full((features.shape[1],) * 2, float(self.a))
        template[-1, :] = template[:, -1] = 0.5 * self.b
        template[-1, -1] = self.c
        return Lift(features=np.ascontiguousarray(features), template=template, pairs=False)

    def hidden(self, X: np.ndarray, U: np.ndarray, V: np.ndarray | None) -> np.ndarray:
        """The neurons' outputs: X (n, d), weights U (d, m) as numbers, to (n, m)."""
        assert V is None, "a polynomial network has one weight matrix"
        return self.value(X @ U)

    def value(self, t: np.ndarray) -> np.ndarray:
        """``sigma(t)``, entrywise."""
        return (self.a * t + self.b) * t + self.c

    def slope(self, t: np.ndarray) -> np.ndarray:
        """``sigma'(t)``, entrywise."""
        return 2.0 * self.a * t + self.b

    @property
    def parity(self) -> int:
        """1 where ``sigma(-t) = sigma(t)``, -1 where it is ``-sigma(t)``, else 0."""
        if self.b == 0.0:
            return 1
        return -1 if self.a == self.c == 0.0 else 0

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """(a, b, c)."""
        return self.a, self.b, self.c
