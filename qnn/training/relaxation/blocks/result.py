"""What a solve over blocks returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.record import Certificate
from qnn.training.relaxation.result import Bounded, Outcome

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class BlocksRelaxation(Bounded):
    """A feasible point of the relaxation, and the certificate of its dual, over all blocks.

    ``P``, ``N`` (d, d) are positive semidefinite with ``diag(P) + diag(N) = rho``; ``upper_bound``
    is the relaxation's value at them, from the rows; ``passes`` counts how often those were read.
    """

    beta: float
    P: Array
    N: Array
    rho: float
    upper_bound: float
    certificate: Certificate
    outcome: Outcome
    message: str
    passes: int
    statistics: dict[str, float] = field(default_factory=dict)
