"""The largest radius that is proven, by bisection between a proof and a witness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qnn.errors import InputError
from qnn.robustness.result import Robustness

# Doublings or halvings of the first radius before it is called unbounded, or 0.
_MOST_DOUBLINGS = 60
_MOST_HALVINGS = 100


@dataclass(frozen=True, eq=False)
class Radius:
    """How far a row may move.

    certified: the largest factor with a proof, ``proof``, 0 and None where the row itself is not
    decided. attacked: the smallest with another answer, its ``attack`` having the witness; infinite
    and None where none was found.
    """

    certified: float
    attacked: float
    proof: Robustness | None
    attack: Robustness | None

    @property
    def certificate(self) -> Any:
        """Of the certified radius; None where that is 0."""
        return None if self.proof is None else self.proof.certificate


def bisected(at: Callable[[float], Robustness], tol: float) -> Radius:
    """The radius between what ``at`` (a factor) proves and what it attacks.

    Between both everything may be open; then the smallest factor that is not proven is taken for
    the end of the bisection, so that the certified one is found to ``tol``.
    """
    if not 0.0 < tol < 1.0:
        raise InputError(f"tol must be between 0 and 1 (got {tol!r})")
    proof, attack = None, None
    certified, failed, attacked = 0.0, float("inf"), float("inf")
    factor = 1.0
    for _ in range(_MOST_DOUBLINGS + _MOST_HALVINGS):
        found = at(factor)
        if found.verdict == "robust":
            certified, proof = factor, found
        else:
            failed = factor
            if found.verdict == "vulnerable":
                attacked, attack = factor, found
        if failed - certified <= tol * certified or factor < 2.0**-_MOST_HALVINGS:
            break
        if certified == 0.0:
            factor = 0.25 * failed
        elif failed == float("inf"):
            factor = 2.0 * certified
            if factor > 2.0**_MOST_DOUBLINGS:
                break
        else:
            wide = failed > 2.0 * certified
            factor = (certified * failed) ** 0.5 if wide else 0.5 * (certified + failed)
    return Radius(certified, attacked, proof, attack)
