"""Anderson acceleration of a fixed-point iteration."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

Array = np.ndarray

# Relative to the trace of the normal equations: small enough to keep the speed, large enough for
# their rounding.
_RIDGE = 1e-8
_GROWTH = 3.0


class Anderson:
    """Type-II Anderson acceleration with a window (D. Anderson 1965; H. Walker, P. Ni 2011).

    Of the last steps ``x -> g`` it combines the g so that the combined residual ``g - x`` is least.
    Vectors have ``length`` entries, of which the first ``measured`` count in the residual, each
    with its weight; the rest are linear functions of these that are carried along.
    """

    def __init__(self, length: int, measured: int, window: int = 10) -> None:
        self.window, self.measured = window, measured
        self._steps = np.zeros((window, length))
        self._residuals = np.zeros((window, measured))
        self._normal = np.zeros((window, window))
        self.weights: Array | float = 1.0
        self.restart()

    def restart(self) -> None:
        """Forget all steps, as after a change of the map."""
        self._count = 0
        self._last: tuple[Array, Array] | None = None
        self._least = np.inf

    def combine(self, x: Array, g: Array) -> Array:
        """The accelerated point after the step from x to g, both (length,)."""
        residual = self.weights * (g[: self.measured] - x[: self.measured])
        norm = float(residual @ residual)
        if norm > _GROWTH**2 * self._least:
            self.restart()
        self._least = min(self._least, norm)
        last, self._last = self._last, (g, residual)
        if last is None:
            return g
        slot = self._count % self.window
        self._count += 1
        np.subtract(g, last[0], out=self._steps[slot])
        np.subtract(residual, last[1], out=self._residuals[slot])
        filled = min(self._count, self.window)
        differences = self._residuals[:filled]
        row = differences @ differences[slot]
        self._normal[slot, :filled] = self._normal[:filled, slot] = row
        normal = self._normal[:filled, :filled].copy()
        normal.flat[:: filled + 1] += _RIDGE * np.trace(normal)
        _, weights, info = lapack.dposv(normal, differences @ residual, lower=1)
        if info != 0:
            self.restart()
            return g
        return np.asarray(g - weights @ self._steps[:filled])
