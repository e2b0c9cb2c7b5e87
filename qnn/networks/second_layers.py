"""The second layers by name: free numbers, one common scalar, or a grid of 2 to 8 bits."""

from __future__ import annotations

import numpy as np

from qnn.errors import InputError
from qnn.registry import Registry

#: the largest |k| of the steps `α_j = s k_j`, None where α is free
SECOND_LAYERS: Registry[str | int, int | None] = Registry(
    "second_layer",
    {"float": None, "common": 1, **{bits: 2 ** (bits - 1) - 1 for bits in range(2, 9)}},
)


def check_second_layer(second_layer: str | int) -> None:
    """Raise InputError for what is no second layer: "float", "common" or 2 to 8 bits."""
    word = isinstance(second_layer, str | int | np.integer) and not isinstance(second_layer, bool)
    if not word or second_layer not in SECOND_LAYERS:
        raise InputError(
            f"second_layer {second_layer!r} is not known: choose float, common or 2 to 8 bits"
        )


def largest_step(second_layer: str | int) -> int | None:
    """The largest |k|: `2^(K−1) − 1` on a grid of K bits, 1 for a common scalar, None for float."""
    return SECOND_LAYERS[int(second_layer) if str(second_layer).isdecimal() else second_layer]


def steps_of(values: np.ndarray, most: int) -> np.ndarray | None:
    """The whole numbers (m,) of which the values (m,) are multiples, the largest at most ``most``.

    The smallest ones; None where there are none to 1e-9.
    """
    top = float(np.abs(values).max(initial=0.0))
    for largest in range(1, most + 1):
        steps = values / top * largest if top > 0.0 else values
        if np.all(np.abs(steps - np.rint(steps)) <= 1e-9):
            return np.asarray(np.rint(steps))
    return None


def factored(
    alpha: np.ndarray, second_layer: str | int, divisor: float
) -> tuple[np.ndarray, np.ndarray]:
    """``alpha / divisor`` as parts, of alpha's shape, times a factor for each output, to rounding.

    Where an output's alpha are whole numbers of one step, the parts are those numbers times a power
    of two, so that their sums with whole numbers are exact, and zero exactly where the output is.
    alpha (m,) or (m, C), factors () or (C,). Everybody who computes a network sums by these parts.
    """
    most = largest_step(second_layer) or 1
    columns = [alpha] if alpha.ndim == 1 else list(alpha.T)
    pairs = [_factored(column, most, divisor) for column in columns]
    parts = np.array([part for part, _ in pairs]).T.reshape(alpha.shape)
    return parts, np.array([factor for _, factor in pairs]).reshape(alpha.shape[1:])


def _factored(alpha: np.ndarray, most: int, divisor: float) -> tuple[np.ndarray, float]:
    steps = steps_of(alpha, most)
    if steps is None or not steps.any():
        return alpha, 1.0 / divisor
    step = float(np.abs(alpha).max() / np.abs(steps).max())
    if np.any(np.abs(step * steps - alpha) > 2.0 * np.spacing(np.abs(alpha))):
        return alpha, 1.0 / divisor
    mantissa, exponent = np.frexp(step)
    return np.ldexp(steps, exponent - 1), 2.0 * float(mantissa) / divisor
