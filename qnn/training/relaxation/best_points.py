"""The best feasible points that a solve has seen, with verified bounds only."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.certificates.record import Certificate
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.repair import certify
from qnn.training.relaxation.result import Outcome, Relaxation, primal_value, repair_primal
from qnn.training.relaxation.solver import Callback, Progress

Array = np.ndarray


class BestPoints:
    """Keeps the best primal and the best certified dual point; starts at the zero network.

    Everything is in the problem's own units. ``callback`` is told after each certificate.
    """

    def __init__(
        self,
        problem: Problem,
        solver: str,
        time_limit: float | None = None,
        callback: Callback | None = None,
    ) -> None:
        self.problem, self.solver, self.callback = problem, solver, callback
        self.started = time.perf_counter()
        self.deadline = np.inf if time_limit is None else self.started + time_limit
        size = problem.lift.size
        self._P, self._N = np.zeros((size, size)), np.zeros((size, size))
        self.rho: tuple[float, ...] = (0.0,) * problem.lift.diagonals
        self.predictions = np.zeros(problem.n)
        self.upper = primal_value(problem, self.predictions, self.rho)
        self.certificate: Certificate | None = None

    @property
    def lower(self) -> float:
        """The best verified bound; minus infinity before the first certificate."""
        return -np.inf if self.certificate is None else self.certificate.lower_bound

    @property
    def gap(self) -> float:
        """The relative gap between the best bounds."""
        return relative_gap(self.upper, self.lower)

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self.started

    def out_of_time(self) -> bool:
        """Whether the time limit is over."""
        return time.perf_counter() > self.deadline

    def offer_primal(self, P: Array, N: Array) -> float:
        """Repair positive semidefinite P, N (D, D), keep them if better; returns their value."""
        P, N, rho = repair_primal(self.problem, P, N)
        predictions = self.problem.lift.apply(P - N)
        value = primal_value(self.problem, predictions, rho)
        if value < self.upper:
            self._P, self._N, self.rho = P, N, rho
            self.upper, self.predictions = value, predictions
        return value

    def offer_dual(
        self,
        nu: Array,
        diagonals: Iterable[Array] | None,
        iteration: int = 0,
        margin: float = 1e-13,
    ) -> float:
        """Certify a dual point, keep it if better; returns its verified bound.

        ``margin`` is the relative part of the bound that may be given up for a quicker proof.
        """
        certificate = certify(self.problem, nu, diagonals, margin)
        if certificate.lower_bound > self.lower or self.certificate is None:
            self.certificate = certificate
        if self.callback is not None:
            self.callback(Progress(iteration, self.seconds, self.upper, self.lower, self.gap))
        return certificate.lower_bound

    def certify_trivial(self) -> None:
        """Make sure that there is a certificate, if only of the dual point 0."""
        if self.certificate is None:
            self.offer_dual(np.zeros(self.problem.n), None)

    def relaxation(
        self,
        outcome: Outcome,
        message: str,
        statistics: dict[str, float],
        trail: object = None,
    ) -> Relaxation:
        """The record of the best points seen."""
        self.certify_trivial()
        certificate = self.certificate
        assert certificate is not None
        assert isinstance(certificate.proof, DiagonalProof)
        return Relaxation(
            problem=self.problem,
            P=self._P,
            N=self._N,
            rho=self.rho,
            predictions=self.predictions,
            nu=certificate.nu,
            diagonals=certificate.proof.diagonals,
            upper_bound=self.upper,
            certificate=certificate,
            solver=self.solver,
            outcome=outcome,
            message=message,
            statistics={**statistics, "seconds": self.seconds},
            trail=trail,
        )
