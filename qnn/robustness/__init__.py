"""What an attacker or a noisy sensor can do to a network: proven bounds, attacks, radii."""

from qnn.robustness.certification import Prover, certify, largest_radius
from qnn.robustness.radii import Radius
from qnn.robustness.reconstruction import Reconstruction, certify_reconstruction
from qnn.robustness.result import Limits, Robustness

__all__ = [
    "Limits",
    "Prover",
    "Radius",
    "Reconstruction",
    "Robustness",
    "certify",
    "certify_reconstruction",
    "largest_radius",
]
