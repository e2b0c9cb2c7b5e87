"""The compressed problem of the squared loss: ADMM in ``svec(Z)``, and dual points to certify.

The step with the loss is a solve with ``G + s/2 I`` (G decomposed once). The full dual point is
``nu = y - Phi z``; of it only the part in the range of Phi may be scaled:
``z_t = z_ls - t (z_ls - z)`` keeps the form, because ``M(y - Phi z_ls) = 0``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from qnn.certificates.record import Certificate
from qnn.errors import CertificateError
from qnn.numerics.gaps import relative_gap
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.relaxation.iteration import Method, iterate
from qnn.training.relaxation.result import Outcome
from qnn.training.relaxation.streaming.compression import Compression, smat, svec

Array = np.ndarray

_RELAX = 1.7


class SmallProblem(Method):
    """The compressed problem and its best points: ``P``, ``N``, ``rho``, z of a dual one.

    ADMM on ``(P, N)``; x is feasible for the diagonals, and the copies for the cones.
    """

    def __init__(self, data: Compression, budget: float, tol: float) -> None:
        d = data.d
        self.data, self.budget, self.tol = data, budget, tol
        self.values, self.vectors = np.linalg.eigh(data.gram)
        self.values = np.maximum(self.values, 0.0)
        self.P, self.N, self.rho = np.zeros((d, d)), np.zeros((d, d)), 0.0
        self.upper, self.lower = 0.5 * data.square, -np.inf
        self.dual = data.least_squares
        self._offer_dual(np.zeros_like(data.cross))
        self._penalty = max(
            2.0 * float(np.exp(np.log(self.values + 1e-8 * self.values[-1]).mean())), 1e-300
        )
        self._copies, self._prices = np.zeros((2, d, d)), np.zeros((2, d, d))
        self._cross, self._z = self.vectors.T @ data.cross, np.zeros_like(data.cross)
        self._residuals, self._next_check = (0.0, 0.0), 10

    @property
    def gap(self) -> float:
        """Relative, by the compressed numbers: not yet verified."""
        return relative_gap(self.upper, self.lower)

    def run(self, deadline: float, limit: int) -> tuple[Outcome, int]:
        """Iterate until the gap is at most ``tol``."""
        if self.gap <= self.tol:
            return "solved", 0
        outcome, iterations = iterate(self, limit, lambda: time.perf_counter() > deadline)
        if outcome != "solved":
            self._offer()
            outcome = "solved" if self.gap <= self.tol else outcome
        return outcome, iterations

    def step(self, left: int) -> int:
        """One."""
        d, penalty, copies = self.data.d, self._penalty, self._copies
        start = copies - self._prices
        difference, total = start[0] - start[1], start[0] + start[1]
        inner = self._cross + 0.5 * penalty * (self.vectors.T @ svec(difference))
        self._z = self.vectors @ (inner / (self.values + 0.5 * penalty))
        rho = max(float(np.diag(total).mean()) - 2.0 * self.budget / (penalty * d), 0.0)
        np.fill_diagonal(total, rho)
        Z = smat(self._z, d)
        x = 0.5 * np.stack([total + Z, total - Z])
        relaxed = _RELAX * x + (1.0 - _RELAX) * copies
        self._copies = _project(relaxed + self._prices)
        self._prices = self._prices + relaxed - self._copies
        moved = float(np.linalg.norm(self._copies - copies))
        self._residuals = float(np.linalg.norm(x - self._copies)), moved
        return 1

    def check(self, iteration: int) -> Literal["solved"] | None:
        """Look at the bounds where it is time."""
        if iteration != self._next_check:
            return None
        self._offer()
        self._next_check += max(10, iteration // 5)
        return "solved" if self.gap <= self.tol else None

    def prepare(self, iteration: int) -> None:
        """Residual balancing, weaker as time goes on so that it cannot cycle."""
        if iteration % 10:
            return
        primal, dual = self._residuals
        ratio = float(np.clip(primal / max(dual, 1e-300), 0.1, 10.0))
        factor = ratio ** (1.0 / (1.0 + iteration / 200.0))
        if factor > 2.0 or factor < 0.5:
            self._penalty, self._prices = self._penalty * factor, self._prices / factor

    def _offer(self) -> None:
        self._offer_primal(self._copies)
        self._offer_dual(self._z)

    def _offer_primal(self, blocks: Array) -> None:
        P, N = blocks
        total = np.diag(P) + np.diag(N)
        rho = float(total.max())
        value = self.data.loss(svec(P - N)) + self.budget * rho
        if value < self.upper:
            missing = np.diag(0.5 * (rho - total))
            self.P, self.N, self.rho, self.upper = P + missing, N + missing, rho, value

    def _offer_dual(self, z: Array) -> None:
        free = self.data.least_squares
        move = free - z
        (a,) = optimal_diagonals(self.data.adjoint(z), 1, 1e-7)
        spent = float(a.sum())
        image = self.data.gram @ move
        square = float(move @ image)
        t = 0.0 if square <= 0.0 else float(free @ image) / square
        t = float(np.clip(t, 0.0, self.budget / spent if spent > 0.0 else np.inf))
        scaled = free - t * move
        value = self.data.dual_value(scaled)
        if value > self.lower:
            self.dual, self.lower = scaled, value


def certify(
    data: Compression,
    beta: float,
    z: Array,
    roundings: int,
    prove: Callable[[Array, Array], Certificate],
) -> Certificate:
    """A certificate near the dual point z, its margins predicted to spare passes over the rows.

    ``roundings``: of the longest sum over rows; ``prove(Z, a)`` makes a certificate of the matrix
    (d, d) and the diagonal (d,), or raises CertificateError, as this does at last.
    """
    budget, free = beta * data.d, data.least_squares
    for caution in (1.0, 1e2, 1e4, 1e6):
        scaled = z
        for _ in range(20):
            (a,) = optimal_diagonals(data.adjoint(scaled), 1, 1e-9)
            reserve = caution * (_rounding(data, scaled, roundings) + 1e-12 * float(a.mean()))
            room = budget * (1.0 - 1e-12) - float(reserve.sum())
            if float(a.sum()) <= room:
                break
            t = max(room, 0.0) / float(a.sum())
            scaled = free - t * (1.0 - 1e-12) * (free - scaled)
        else:
            continue
        rest = budget * (1.0 - 1e-13) - float((a + reserve).sum())
        try:
            return prove(smat(scaled, data.d), a + reserve + rest / data.d)
        except CertificateError:
            continue
    raise CertificateError(
        f"no bound can be proven: beta * d = {budget:g} is below what rounding may add up to over "
        f"{data.n} rows; choose a larger beta"
    )


def _rounding(data: Compression, z: Array, roundings: int) -> Array:
    """Row sums of what the checker will allow for rounding, with its margin of 4, and the Gram's.

    By Cauchy-Schwarz ``sum_i |nu_i x_ij x_ik| <= ||nu|| sqrt(sum_i x_ij^2 x_ik^2)``, and these sums
    are the diagonal of G.
    """
    unit = 2.0**-53
    lengths = np.sqrt(np.diag(data.gram))
    squared_nu = data.square - 2.0 * float(data.cross @ z) + float(z @ (data.gram @ z))
    nu = np.sqrt(max(squared_nu, 0.0) + 1e-12 * data.square)
    parts = np.sqrt(data.square) + float(np.abs(z) @ lengths)
    # svec's off-diagonal entries carry sqrt(2), as smat takes off.
    matrix = smat(lengths, data.d)
    checker = 4.0 * 1.1 * unit * (2.0 * roundings + 2.0 * data.d + 20.0) * nu
    slack = 100.0 * data.d**2 * unit * np.abs(data.adjoint(z)).sum(axis=1)
    return (checker + 64.0 * unit * parts) * matrix.sum(axis=1) + slack


def _project(blocks: Array) -> Array:
    values, vectors = np.linalg.eigh(blocks)
    return np.asarray((vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1))
