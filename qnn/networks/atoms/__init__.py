"""The atoms of an activation: the neurons there are, what they compute, and how to find good ones.

An activation and an alphabet make a finite set of neurons. Rounding and column generation need the
same few things of every such set, whatever its neurons are; each activation has one file here.
"""

from qnn.networks.activations import Activation, Polynomial
from qnn.networks.alphabets import Alphabet
from qnn.networks.atoms.base import Array, Atoms
from qnn.networks.atoms.bilinear import BilinearAtoms
from qnn.networks.atoms.polynomial import PolynomialAtoms

__all__ = ["Atoms", "BilinearAtoms", "PolynomialAtoms", "atoms_of"]


def atoms_of(X: Array, alphabet: Alphabet, activation: Activation) -> Atoms:
    """The neurons of an activation and an alphabet over the rows X (n, d)."""
    if isinstance(activation, Polynomial):
        return PolynomialAtoms(X, alphabet, activation)
    return BilinearAtoms(X, alphabet)
