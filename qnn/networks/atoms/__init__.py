"""The atoms of an activation: the neurons there are, what they compute, and how to find good ones.

An activation and an alphabet make a finite set of neurons. Rounding and column generation need the
same few things of every such set, whatever its neurons are; each activation has one file here.
"""

from typing import TYPE_CHECKING

from qnn.networks.activations import Polynomial
from qnn.networks.atoms.base import Atoms
from qnn.networks.atoms.bilinear import BilinearAtoms
from qnn.networks.atoms.polynomial import PolynomialAtoms

if TYPE_CHECKING:
    from qnn.training.problems.problem import Problem

__all__ = ["Atoms", "BilinearAtoms", "PolynomialAtoms", "atoms_of"]


def atoms_of(problem: "Problem") -> Atoms:
    """The atoms of a problem's activation and alphabet."""
    if isinstance(problem.activation, Polynomial):
        return PolynomialAtoms(problem.X, problem.alphabet, problem.activation)
    return BilinearAtoms(problem.X, problem.alphabet)
