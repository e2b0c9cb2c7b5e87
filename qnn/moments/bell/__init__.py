"""Bell scenarios: which behaviours are quantum, as far as a level of moment matrices can tell."""

from qnn.moments.bell.behaviours import checked, coordinates, deterministic, probabilities
from qnn.moments.bell.decision import Decision, decide
from qnn.moments.bell.functionals import Maximum, maximum
from qnn.moments.bell.predictor import train_predictor
from qnn.moments.bell.samples import SETS, sample

__all__ = [
    "SETS",
    "Decision",
    "Maximum",
    "checked",
    "coordinates",
    "decide",
    "deterministic",
    "maximum",
    "probabilities",
    "sample",
    "train_predictor",
]
