"""What a solve over blocks returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.record import Certificate
from qnn.numerics.gaps import relative_gap
from qnn.training.relaxation.result import Outcome

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class BlocksRelaxation:
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

    @property
    def lower_bound(self) -> float:
        """The verified lower bound on every network of any width."""
        return self.certificate.lower_bound

    @property
    def gap(self) -> float:
        """``(upper - lower) / |upper|``; 0 where both are 0."""
        return relative_gap(self.upper_bound, self.lower_bound)
