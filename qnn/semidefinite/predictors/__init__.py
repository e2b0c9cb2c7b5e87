"""Small networks from a program's data to a candidate solution; what they say is never trusted."""

from qnn.semidefinite.predictors.network import Network
from qnn.semidefinite.predictors.training import train

__all__ = ["Network", "train"]
