"""Anderson acceleration of a fixed-point iteration."""

from __future__ import annotations

import numpy as np

from qnn.numerics.compiled import compiled

Array = np.ndarray

# Relative to the trace of the normal equations, by precision: small enough to keep the speed, large
# enough for the rounding of the products.
_RIDGE = {"float64": 1e-8, "float32": 1e-6}
_GROWTH = 3.0
#: what the compiled step changes: how many steps there were, whether there is a last point, and the
#: least square of a residual
_COUNT, _BASED, _LEAST = range(3)


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
        self._normal, self._right = np.zeros((window, window)), np.zeros(window)
        self._ridge = _RIDGE[dtype]
        self._point, self._residual = np.zeros(length, dtype), np.zeros(measured, dtype)
        self._best = np.zeros(length, dtype)
        self._status = np.zeros(3)
        self.weights: Array | None = None
        self.restart()

    def restart(self) -> None:
        """Forget all steps, as after a change of the map."""
        self._status[:] = 0.0, 0.0, np.inf

    def adopt(self, other: Anderson) -> None:
        """Take over the steps of another: of a map that differs from this one by a constant.

        Differences of residuals do not see the constant.
        """
        count = other._status[_COUNT]
        self._status[:] = count, 0.0, np.inf
        filled = int(min(count, self.window))
        self._steps[:filled] = other._steps[:filled]
        self._residuals[:filled] = other._residuals[:filled]
        self._normal[:filled, :filled] = other._normal[:filled, :filled]

    def advance(self, x: Array, r: Array) -> float:
        """Replace x, in place, by the accelerated point after its residual r, both (length,).

        Returns the square of the residual's weighted norm. r is overwritten.
        """
        x += r
        residual = r[: self.measured]
        if self.weights is not None:
            residual *= self.weights
        # A step that was too bold goes back to the best point, from where it goes on without speed.
        return float(
            _advance(
                x,
                residual,
                self._steps,
                self._residuals,
                self._normal,
                self._right,
                self._point,
                self._residual,
                self._best,
                self._status,
                self._ridge,
            )
        )


@compiled(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _product(a: Array, b: Array) -> float:
    total = a.dtype.type(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return float(total)


@compiled(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _weights(normal: Array, right: Array, ridge: float) -> Array:
    """Least squares over the window, by Cholesky's factor; NaN where there is none."""
    order = len(right)
    factor, weights = normal.copy(), right.copy()
    lift = ridge * np.trace(normal)
    for i in range(order):
        for j in range(i + 1):
            total = factor[i, j] + (lift if i == j else 0.0)
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(total) if i == j else total / factor[j, j]
    for i in range(order):
        for k in range(i):
            weights[i] -= factor[i, k] * weights[k]
        weights[i] /= factor[i, i]
    for i in range(order - 1, -1, -1):
        for k in range(i + 1, order):
            weights[i] -= factor[k, i] * weights[k]
        weights[i] /= factor[i, i]
    return weights


@compiled(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _advance(
    x: Array,
    residual: Array,
    steps: Array,
    residuals: Array,
    normal: Array,
    right: Array,
    point: Array,
    before: Array,
    best: Array,
    status: Array,
    ridge: float,
) -> float:
    """The normal equations change in one row a step, and with it their right side."""
    window = len(steps)
    norm = _product(residual, residual)
    if norm > _GROWTH**2 * status[_LEAST]:
        x[:] = best
        status[_COUNT], status[_BASED], status[_LEAST] = 0.0, 0.0, np.inf
        return norm
    if norm < status[_LEAST]:
        best[:] = x
        status[_LEAST] = norm
    count = int(status[_COUNT])
    if status[_BASED]:
        slot = count % window
        count += 1
        for i in range(len(x)):
            steps[slot, i] = x[i] - point[i]
        for i in range(len(residual)):
            residuals[slot, i] = residual[i] - before[i]
        for other in range(min(count, window)):
            product = _product(residuals[other], residuals[slot])
            normal[slot, other] = normal[other, slot] = product
            right[other] += product
        right[slot] = _product(residuals[slot], residual)
    else:
        for other in range(min(count, window)):
            right[other] = _product(residuals[other], residual)
    point[:], before[:] = x, residual
    filled = min(count, window)
    status[_BASED], status[_COUNT] = 1.0, float(count)
    if filled == 0:
        return norm
    weights = _weights(normal[:filled, :filled], right[:filled], ridge)
    for weight in weights:
        if not np.isfinite(weight):
            status[_COUNT] = 0.0
            return norm
    for other in range(filled):
        weight = x.dtype.type(weights[other])
        for i in range(len(x)):
            x[i] -= weight * steps[other, i]
    return norm
