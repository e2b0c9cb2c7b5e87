"""What the ADMM of both activations share."""

import numpy as np

from qnn.semidefinite.cone import positive_part

Array = np.ndarray

RELAXATION_FACTOR = 1.6
# Parts of the bound given up for a proof, the smallest that is enough.
MARGINS = (1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-6, 1e-4, 1e-2, 1.0)


def project(target: Array, block: Array, W: Array) -> tuple[Array, Array]:
    """Over-relaxed projection onto the positive semidefinite matrices, and the new scaled dual."""
    point = RELAXATION_FACTOR * target + (1.0 - RELAXATION_FACTOR) * block + W
    positive = positive_part(point)
    return positive, point - positive
