"""The second layers by name: free numbers, one common scalar, or a grid of 2 to 8 bits."""

from __future__ import annotations

from qnn.errors import InputError
from qnn.registry import Registry

#: the largest |k| of the steps `α_j = s k_j`, None where α is free
SECOND_LAYERS: Registry[str | int, int | None] = Registry(
    "second_layer",
    {"float": None, "common": 1, **{bits: 2 ** (bits - 1) - 1 for bits in range(2, 9)}},
)


def check_second_layer(second_layer: str | int) -> None:
    """Raise InputError for what is no second layer: "float", "common" or 2 to 8 bits."""
    if second_layer not in SECOND_LAYERS or isinstance(second_layer, bool):
        raise InputError(
            f"second_layer {second_layer!r} is not known: choose float, common or 2 to 8 bits"
        )


def largest_step(second_layer: str | int) -> int | None:
    """The largest |k|: `2^(K−1) − 1` on a grid of K bits, 1 for a common scalar, None for float."""
    return SECOND_LAYERS[int(second_layer) if str(second_layer).isdecimal() else second_layer]
