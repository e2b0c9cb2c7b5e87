"""The largest radius that is proven, by bisection between a proof and a witness."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

from qnn.errors import InputError, shown
from qnn.robustness.result import Robustness

# Beyond the first factor is called unbounded; after as many halvings there is no radius.
_UNBOUNDED = 2.0**40
_MOST_HALVINGS = 60


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


def bisected(
    at: Callable[[float], Robustness], attack_at: Callable[[float], Robustness], tol: float
) -> Radius:
    """The radius between what ``at`` (a factor) proves and what it attacks.

    First the attack alone (``attack_at``) says where a witness begins, then the proof is asked for
    just below. Between both everything may be open; then the smallest factor that is not proven is
    taken for the end of a bisection, so that the certified one is found to ``tol``.
    """
    if not isinstance(tol, Real) or not 0.0 < tol < 1.0:
        raise InputError(f"tol must be between 0 and 1 (got {shown(tol)})")
    attack, attacked = _attacked(attack_at, 0.25 * tol)
    proof, certified, failed = None, 0.0, attacked
    factor = (1.0 - 0.5 * tol) * attacked if attack is not None else 1.0
    while failed - certified > tol * certified and 2.0**-_MOST_HALVINGS < factor < _UNBOUNDED:
        found = at(factor)
        if found.verdict == "robust":
            certified, proof = factor, found
        else:
            failed = factor
            if found.verdict == "vulnerable":
                attacked, attack = factor, found
        factor = _between(certified, failed)
    return Radius(certified, attacked, proof, attack)


def _between(low: float, high: float) -> float:
    """The next factor to try between one that holds and one that does not."""
    if low == 0.0:
        return 0.5 * high
    if high == math.inf:
        return 2.0 * low
    return (low * high) ** 0.5 if high > 2.0 * low else 0.5 * (low + high)


def _attacked(
    attack_at: Callable[[float], Robustness], tol: float
) -> tuple[Robustness | None, float]:
    """A factor at which the attack succeeds, within ``tol`` of ones at which it does not.

    The margin found is a function of the factor: its zero is bracketed and found by the secant, one
    end's value halved where it stays (the Illinois rule).
    """
    low, high, attack = 0.0, math.inf, None
    below, above = attack_at(0.0).upper_bound, math.nan
    factor, side = 1.0, 0
    while 2.0**-_MOST_HALVINGS < factor < _UNBOUNDED and high - low > tol * low:
        found = attack_at(factor)
        if found.verdict == "vulnerable":
            high, above, attack = factor, found.upper_bound, found
            below *= 0.5 if side > 0 else 1.0
            side = 1
        else:
            low, below = factor, found.upper_bound
            above *= 0.5 if side < 0 else 1.0
            side = -1
        factor = _between(low, high)
        if low > 0.0 and high <= 2.0 * low and below > 0.0 > above:
            secant = low + (high - low) * below / (below - above)
            inner = 0.25 * tol * low
            factor = min(max(secant, low + inner), high - inner)
    return attack, high
