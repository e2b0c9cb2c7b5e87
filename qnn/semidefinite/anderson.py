"""Anderson acceleration of a fixed-point iteration."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

Array = np.ndarray

# Relative to the trace of the normal equations, by precision: small enough to keep the speed, large
# enough for the rounding of the products.
_RIDGE = {"float64": 1e-8, "float32": 1e-6}
_GROWTH = 3.0


class Anderson:
    """Type-II Anderson acceleration with a window (D. Anderson 1965; H. Walker, P. Ni 2011).

    Of the last steps ``x -> x + r`` it combines the ``x + r`` so that the combined residual r is
    least. Vectors have ``length`` entries, of which the first ``measured`` count in the residual,
    each with its weight; the rest are linear functions of these that are carried along.
    """

    def __init__(self, length: int, measured: int, dtype: str = "float64", window: int = 15):
        self.window, self.measured = window, measured
        self._steps = np.zeros((window, length), dtype)
        self._residuals = np.zeros((window, measured), dtype)
        self._normal = np.zeros((window, window))
        self._ridge = _RIDGE[dtype]
        self._point, self._residual = np.zeros(length, dtype), np.zeros(measured, dtype)
        self._best = np.zeros(length, dtype)
        self.weights: Array | None = None
        self.restart()

    def restart(self) -> None:
        """Forget all steps, as after a change of the map."""
        self._count = 0
        self._rebase()

    def _rebase(self) -> None:
        self._based = False
        self._least = np.inf

    def adopt(self, other: Anderson) -> None:
        """Take over the steps of another: of a map that differs from this one by a constant.

        Differences of residuals do not see the constant.
        """
        self._count = other._count
        filled = min(self._count, self.window)
        self._steps[:filled] = other._steps[:filled]
        self._residuals[:filled] = other._residuals[:filled]
        self._normal[:filled, :filled] = other._normal[:filled, :filled]
        self._rebase()

    def advance(self, x: Array, r: Array) -> float:
        """Replace x, in place, by the accelerated point after its residual r, both (length,).

        Returns the square of the residual's weighted norm.
        """
        x += r
        residual = r[: self.measured]
        if self.weights is not None:
            residual = self.weights * residual
        norm = float(np.dot(residual, residual))
        if norm > _GROWTH**2 * self._least:
            # The step was too bold: back to the best point, from where it goes on without speed.
            x[:] = self._best
            self.restart()
            return norm
        if norm < self._least:
            self._best[:], self._least = x, norm
        if self._based:
            slot = self._count % self.window
            self._count += 1
            np.subtract(x, self._point, out=self._steps[slot])
            np.subtract(residual, self._residual, out=self._residuals[slot])
            self._measure(slot)
        self._point[:], self._residual[:] = x, residual
        self._based = True
        if self._count:
            weights = self._weights()
            x -= np.dot(weights, self._steps[: len(weights)])
        return norm

    def _measure(self, slot: int) -> None:
        """The normal equations change in one row a step."""
        filled = min(self._count, self.window)
        row = np.dot(self._residuals[:filled], self._residuals[slot])
        self._normal[slot, :filled] = self._normal[:filled, slot] = row

    def _weights(self) -> Array:
        """Least squares over the window."""
        filled = min(self._count, self.window)
        normal = self._normal[:filled, :filled].copy()
        diagonal = normal.reshape(-1)[:: filled + 1]
        diagonal += self._ridge * diagonal.sum()
        right = np.dot(self._residuals[:filled], self._residual)
        _, weights, info = lapack.dposv(normal, right, lower=1, overwrite_a=1)
        if info != 0:
            self._count = 0
            return np.zeros(filled, right.dtype)
        return np.asarray(weights, right.dtype)
