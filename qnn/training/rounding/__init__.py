"""From a solved relaxation to a quantized network."""

from typing import TYPE_CHECKING

from qnn.registry import imported_later

if TYPE_CHECKING:
    from qnn.training.rounding.krivine import KrivineSampler, krivine_network
    from qnn.training.rounding.methods import check_rounding, round_relaxation
    from qnn.training.rounding.refined import column_generation, refined_network
    from qnn.training.rounding.refit.second_layer import SecondLayer, refit
    from qnn.training.rounding.registry import METHODS

__all__ = [
    "METHODS",
    "KrivineSampler",
    "SecondLayer",
    "check_rounding",
    "column_generation",
    "krivine_network",
    "refined_network",
    "refit",
    "round_relaxation",
]

# The names of the methods are part of every sweep's configuration, their libraries are not.
__getattr__ = imported_later(
    __name__,
    {
        "METHODS": "qnn.training.rounding.registry",
        "KrivineSampler": "qnn.training.rounding.krivine",
        "SecondLayer": "qnn.training.rounding.refit.second_layer",
        "check_rounding": "qnn.training.rounding.methods",
        "column_generation": "qnn.training.rounding.refined",
        "krivine_network": "qnn.training.rounding.krivine",
        "refined_network": "qnn.training.rounding.refined",
        "refit": "qnn.training.rounding.refit.second_layer",
        "round_relaxation": "qnn.training.rounding.methods",
    },
)
