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
        self.weights: Array | None = None
        self.restart()

    def restart(self) -> None:
        """Forget all steps, as after a change of the map."""
        self._count = -1
        self._least = np.inf

    def advance(self, x: Array, r: Array) -> None:
        """Replace x, in place, by the accelerated point after its residual r, both (length,)."""
        x += r
        residual = r[: self.measured]
        if self.weights is not None:
            residual = self.weights * residual
        norm = float(np.dot(residual, residual))
        if norm > _GROWTH**2 * self._least:
            self.restart()
        self._least = min(self._least, norm)
        slot = self._count % self.window
        self._count += 1
        if self._count:
            np.subtract(x, self._point, out=self._steps[slot])
            np.subtract(residual, self._residual, out=self._residuals[slot])
        self._point[:], self._residual[:] = x, residual
        if self._count:
            weights = self._weights(slot)
            x -= np.dot(weights, self._steps[: len(weights)])

    def _weights(self, slot: int) -> Array:
        """Least squares over the window; the normal equations change in one row a step."""
        filled = min(self._count, self.window)
        differences = self._residuals[:filled]
        row = np.dot(differences, self._residuals[slot])
        self._normal[slot, :filled] = self._normal[:filled, slot] = row
        normal = self._normal[:filled, :filled].copy()
        normal.flat[:: filled + 1] += self._ridge * normal.trace()
        right = np.dot(differences, self._residual)
        _, weights, info = lapack.dposv(normal, right, lower=1)
        if info != 0:
            self.restart()
            return np.zeros(filled, right.dtype)
        return np.asarray(weights, right.dtype)
