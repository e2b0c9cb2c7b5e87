"""What every solver of the relaxation returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from qnn.certificates.record import Certificate
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.problem import Problem

Array = np.ndarray
Outcome = Literal["solved", "time_limit", "iteration_limit", "stalled"]


class Bounded:
    """What has a value of the relaxation and a certificate: the two bounds and their gap."""

    upper_bound: float
    certificate: Certificate

    @property
    def lower_bound(self) -> float:
        """The verified lower bound, of the relaxation and so of every network of any width."""
        return self.certificate.lower_bound

    @property
    def gap(self) -> float:
        """``(upper - lower) / |upper|``; 0 where both are 0."""
        return relative_gap(self.upper_bound, self.lower_bound)


def settled(outcome: Outcome, gap: float, tol: float) -> Outcome:
    """How a solve ended, now that its verified gap is known: the gap alone says "solved"."""
    if gap <= tol:
        return "solved"
    return "stalled" if outcome == "solved" else outcome


@dataclass(frozen=True, eq=False)
class Relaxation(Bounded):
    """A feasible primal point of the relaxation, a verified dual bound, and how they were found.

    ``P``, ``N`` (D, D) are positive semidefinite with ``diag(P) + diag(N) = rho`` (pairs) or
    ``diag(P) = rho_plus``, ``diag(N) = rho_minus``; ``rho`` holds the one or the two values.
    ``predictions`` is ``A(P - N)`` (n,), ``nu`` the dual point (n,), ``diagonals`` the dual's
    diagonal(s). ``upper_bound`` is the relaxation's own primal value at (P, N); ``lower_bound`` the
    verified bound of ``certificate``. A solve that stops early has its honest, larger ``gap``.
    ``trail`` is the solver's own, for a warm start from this record at the next beta of a path.
    """

    problem: Problem
    P: Array
    N: Array
    rho: tuple[float, ...]
    predictions: Array
    nu: Array
    diagonals: tuple[Array, ...]
    upper_bound: float
    certificate: Certificate
    solver: str
    outcome: Outcome
    message: str
    statistics: dict[str, float] = field(default_factory=dict)
    trail: object = field(default=None, repr=False)


def repair_primal(problem: Problem, P: Array, N: Array) -> tuple[Array, Array, tuple[float, ...]]:
    """Make positive semidefinite P, N exactly feasible: raise their diagonals to the largest.

    Blocks that share a diagonal get half of what is missing each, which leaves Z = P - N as it is.
    Otherwise each block is raised to its own largest entry.
    """
    raised, rhos = [], []
    for group in problem.lift.groups(P, N):
        total = np.sum([np.diag(block) for block in group], axis=0)
        rho = float(total.max())
        missing = np.diag((rho - total) / len(group))
        raised += [block + missing for block in group]
        rhos.append(rho)
    return raised[0], raised[1], tuple(rhos)


def primal_value(problem: Problem, predictions: Array, rho: tuple[float, ...]) -> float:
    """``loss(A(P - N), y) + beta d sum(rho)``."""
    return problem.loss.value(predictions, problem.y) + problem.budget * float(sum(rho))
