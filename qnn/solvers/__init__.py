"""Solvers of the semidefinite relaxation: one algorithm a file, one signature, one record."""

from qnn.solvers.base import Progress, Solver
from qnn.solvers.front import SOLVERS, solve
from qnn.solvers.result import Relaxation

__all__ = ["SOLVERS", "Progress", "Relaxation", "Solver", "solve"]
