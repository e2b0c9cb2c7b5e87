"""Solvers of the semidefinite relaxation: one algorithm a file, one signature, one record."""

from typing import TYPE_CHECKING

from qnn.registry import imported_later

if TYPE_CHECKING:
    from qnn.training.relaxation.choice import solve
    from qnn.training.relaxation.registry import SOLVERS
    from qnn.training.relaxation.result import Relaxation
    from qnn.training.relaxation.solver import Progress, Solver

__all__ = ["SOLVERS", "Progress", "Relaxation", "Solver", "solve"]

# Names and costs of the solvers are part of every plan, their libraries are not.
__getattr__ = imported_later(
    __name__,
    {
        "Progress": "qnn.training.relaxation.solver",
        "Relaxation": "qnn.training.relaxation.result",
        "SOLVERS": "qnn.training.relaxation.registry",
        "Solver": "qnn.training.relaxation.solver",
        "solve": "qnn.training.relaxation.choice",
    },
)
