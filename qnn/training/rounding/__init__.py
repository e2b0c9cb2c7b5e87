"""From a solved relaxation to a quantized network."""

from qnn.training.rounding.krivine import KrivineSampler, krivine_network
from qnn.training.rounding.methods import METHODS, check_rounding, round_relaxation
from qnn.training.rounding.refined import column_generation, refined_network
from qnn.training.rounding.refit.second_layer import SecondLayer, refit

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
