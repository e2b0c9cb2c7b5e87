"""Solvers of the semidefinite relaxation: one algorithm a file, one signature, one record."""

from qnn.training.relaxation.choice import SOLVERS, solve
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.solver import Progress, Solver

__all__ = ["SOLVERS", "Progress", "Relaxation", "Solver", "solve"]
