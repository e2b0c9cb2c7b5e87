"""Many more rows than ``d (d + 1) / 2``: one pass to compress, a small solve, one to certify.

The small problem is solved by ADMM in the space of ``svec(Z)``, where the step with the loss is a
solve with ``G + s/2 I`` (G decomposed once). The full dual point is ``nu = y - Phi z``; of it only
the part in the range of Phi may be scaled: ``z_t = z_ls - t (z_ls - z)`` keeps the form, because
``M(y - Phi z_ls) = 0``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.proofs.streamed import StreamedProof
from qnn.certificates.record import Certificate
from qnn.certificates.streaming import proven_stream_bound
from qnn.errors import CertificateError, InputError
from qnn.numerics.arguments import check_limits
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.gaps import relative_gap
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.relaxation.iteration import Method, iterate
from qnn.training.relaxation.result import Outcome
from qnn.training.relaxation.streaming.compression import Compression, compress, smat, svec

Array = np.ndarray

_RELAX = 1.7
_LIMIT = 20_000


@dataclass(frozen=True, eq=False)
class StreamRelaxation:
    """A solution of the relaxation over rows that were only streamed.

    ``P``, ``N`` (d, d) positive semidefinite with ``diag(P) + diag(N) = rho``; ``upper_bound`` is
    the relaxation's value at them, from the rows; ``certificate`` holds the compressed dual point.
    """

    compression: Compression
    beta: float
    P: Array
    N: Array
    rho: float
    upper_bound: float
    certificate: Certificate
    outcome: Outcome
    message: str
    solver: str = "compressed"
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def lower_bound(self) -> float:
        """The verified lower bound on every network of any width."""
        return self.certificate.lower_bound

    @property
    def gap(self) -> float:
        """``(upper - lower) / |upper|``; 0 where both are 0."""
        return relative_gap(self.upper_bound, self.lower_bound)


def solve_stream(
    batches: Batches,
    beta: float,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    compression: Compression | None = None,
) -> StreamRelaxation:
    """Solve the relaxation for the squared loss over rows that need not fit into memory.

    Parameters
    ----------
    batches : (X, y) blocks that can be read several times (see `qnn.numerics.batches`).
    beta : positive; the penalty is ``beta * d * sum|alpha|``.
    tol : wanted verified relative gap.
    time_limit : seconds for the small solve; passes over the rows are not interrupted.
    max_iterations : of ADMM.
    compression : of the same rows, from `compress`, to spare the first pass (for several betas).

    Raises
    ------
    InputError : bad limits or rows.
    CertificateError : a beta so small that its budget is lost in rounding.
    """
    if not (np.isfinite(beta) and beta > 0.0):
        raise InputError(f"beta must be a positive number (got {beta})")
    check_limits(tol, time_limit, max_iterations)
    started = time.perf_counter()
    data = compress(batches) if compression is None else compression
    compressed_at = time.perf_counter()
    small = _Small(data, float(beta) * data.d, 0.5 * tol)
    deadline = np.inf if time_limit is None else compressed_at + time_limit
    outcome, iterations = small.run(deadline, _LIMIT if max_iterations is None else max_iterations)
    solved_at = time.perf_counter()
    certificate = _certify(data, float(beta), small.dual, batches)
    rho, P, N = small.rho, small.P, small.N
    upper = _loss(batches, P - N) + small.budget * rho
    gap = relative_gap(upper, certificate.lower_bound)
    if gap <= tol:
        outcome = "solved"
    elif outcome == "solved":
        outcome = "stalled"
    message = f"compressed ADMM: {outcome.replace('_', ' ')} after {iterations} iterations"
    statistics = {
        "iterations": float(iterations),
        "compress_seconds": compressed_at - started,
        "solve_seconds": solved_at - compressed_at,
        "certify_seconds": time.perf_counter() - solved_at,
        "seconds": time.perf_counter() - started,
    }
    return StreamRelaxation(
        data, float(beta), P, N, rho, upper, certificate, outcome, message, statistics=statistics
    )


class _Small(Method):
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


def _project(blocks: Array) -> Array:
    values, vectors = np.linalg.eigh(blocks)
    return np.asarray((vectors * np.maximum(values, 0.0)[:, None, :]) @ vectors.transpose(0, 2, 1))


def _certify(data: Compression, beta: float, z: Array, batches: Batches) -> Certificate:
    """A certificate that the streaming checker accepts, its margins predicted to spare passes."""
    budget, free = beta * data.d, data.least_squares
    for caution in (1.0, 1e2, 1e4, 1e6):
        scaled = z
        for _ in range(20):
            (a,) = optimal_diagonals(data.adjoint(scaled), 1, 1e-9)
            reserve = caution * (_rounding(data, scaled) + 1e-12 * float(a.mean()))
            room = budget * (1.0 - 1e-12) - float(reserve.sum())
            if float(a.sum()) <= room:
                break
            t = max(room, 0.0) / float(a.sum())
            scaled = free - t * (1.0 - 1e-12) * (free - scaled)
        else:
            continue
        rest = budget * (1.0 - 1e-13) - float((a + reserve).sum())
        certificate = _record(data, beta, smat(scaled, data.d), a + reserve + rest / data.d)
        try:
            bound, _ = proven_stream_bound(certificate, batches, margin=4.0)
        except CertificateError:
            continue
        return certificate.stating(lower_bound=bound)
    raise CertificateError(
        f"no bound can be proven: beta * d = {budget:g} is below what rounding may add up to over "
        f"{data.n} rows; choose a larger beta"
    )


def _rounding(data: Compression, z: Array) -> Array:
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
    checker = 4.0 * 1.1 * unit * (2.0 * data.n + 2.0 * data.d + 20.0) * nu
    slack = 100.0 * data.d**2 * unit * np.abs(data.adjoint(z)).sum(axis=1)
    return (checker + 64.0 * unit * parts) * matrix.sum(axis=1) + slack


def _record(data: Compression, beta: float, Z: Array, a: Array) -> Certificate:
    claim = Claim(lower_bound=-np.inf, beta=beta, d=data.d, data_sha256=data.data_sha256)
    return Certificate(claim, np.empty(0), StreamedProof((a,), Z))


def _loss(batches: Batches, Z: Array) -> float:
    total = 0.0
    for X, y in row_blocks(batches):
        residual = np.einsum("ij,ij->i", X @ Z, X) - y
        total += 0.5 * float(residual @ residual)
    return total
