"""Polarization: a bilinear binary network as a quadratic ternary one, exactly."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from qnn.errors import InputError

if TYPE_CHECKING:
    from qnn.networks.quantized import QuantizedNetwork


def to_ternary(network: "QuantizedNetwork") -> "QuantizedNetwork":
    """The same function with weights {−1, 0, 1} and the activation t², of twice the width.

    `(xᵀu)(xᵀv) = (xᵀ(u+v)/2)² − (xᵀ(u−v)/2)²`: m neurons with α become 2m with α and −α. That
    doubles Σ|α|, so the network's objective and its certificate stay those of the bilinear one.
    Raises InputError for a network that is not bilinear with binary weights.
    """
    if network.V is None or network.alphabet != "binary":
        raise InputError(
            "to_ternary needs a bilinear network with binary weights (got activation "
            f"{network.activation!r}, alphabet {network.alphabet!r})"
        )
    half_sum = (network.U + network.V) // 2
    half_difference = (network.U - network.V) // 2
    return replace(
        network,
        U=np.hstack([half_sum, half_difference]),
        V=None,
        alpha=np.concatenate([network.alpha, -network.alpha]),
        activation="polynomial",
        polynomial=(1.0, 0.0, 0.0),
        alphabet="ternary",
        second_layer="float",
    )
