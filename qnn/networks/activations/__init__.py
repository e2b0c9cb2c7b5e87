"""The activations: how first-layer weights meet the data, and the lift that makes it linear."""

from qnn.errors import InputError
from qnn.networks.activations.bilinear import Bilinear
from qnn.networks.activations.polynomial import Polynomial

__all__ = ["Activation", "Bilinear", "Polynomial", "get_activation"]

Activation = Bilinear | Polynomial


def get_activation(activation: str | Activation) -> Activation:
    """The activation of this name; Polynomial is given as an object with its coefficients."""
    if isinstance(activation, Bilinear | Polynomial):
        return activation
    if activation == Bilinear.name:
        return Bilinear()
    raise InputError(
        f"activation {activation!r} is not known: choose 'bilinear' or qnn.Polynomial(a, b, c)"
    )
