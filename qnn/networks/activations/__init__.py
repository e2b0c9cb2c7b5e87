"""The activations: how first-layer weights meet the data, and the lift that makes it linear."""

from qnn.errors import InputError
from qnn.networks.activations.bilinear import Bilinear
from qnn.networks.activations.polynomial import Polynomial
from qnn.registry import Registry

__all__ = ["ACTIVATIONS", "Activation", "Bilinear", "Polynomial", "get_activation"]

Activation = Bilinear | Polynomial

#: those that a name says whole; Polynomial is given by its coefficients
ACTIVATIONS: Registry[str, Activation] = Registry("activation", {Bilinear.name: Bilinear()})


def get_activation(activation: str | Activation) -> Activation:
    """The activation of this name; Polynomial is given as an object with its coefficients."""
    if isinstance(activation, Bilinear | Polynomial):
        return activation
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    listed = ", ".join(map(repr, ACTIVATIONS))
    raise InputError(
        f"activation {activation!r} is not known: choose {listed} or qnn.Polynomial(a, b, c)"
    )
