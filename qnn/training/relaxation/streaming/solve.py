"""Many more rows than ``d (d + 1) / 2``: one pass to compress, a small solve, one to certify."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.proofs.streamed import StreamedProof
from qnn.certificates.record import Certificate
from qnn.certificates.streaming import proven_stream_bound
from qnn.errors import InputError
from qnn.numerics.arguments import check_limits
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.gaps import relative_gap
from qnn.training.relaxation.result import Bounded, Outcome, settled
from qnn.training.relaxation.streaming.compression import Compression, compress
from qnn.training.relaxation.streaming.small import SmallProblem, certify

Array = np.ndarray

LIMIT = 20_000


@dataclass(frozen=True, eq=False)
class StreamRelaxation(Bounded):
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
    small = SmallProblem(data, float(beta) * data.d, 0.5 * tol)
    deadline = np.inf if time_limit is None else compressed_at + time_limit
    outcome, iterations = small.run(deadline, LIMIT if max_iterations is None else max_iterations)
    solved_at = time.perf_counter()
    certificate = _certify(data, float(beta), small.dual, batches)
    rho, P, N = small.rho, small.P, small.N
    upper = _loss(batches, P - N) + small.budget * rho
    gap = relative_gap(upper, certificate.lower_bound)
    outcome = settled(outcome, gap, tol)
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


def _certify(data: Compression, beta: float, z: Array, batches: Batches) -> Certificate:
    """A certificate that the streaming checker accepts."""

    def prove(Z: Array, a: Array) -> Certificate:
        certificate = _record(data, beta, Z, a)
        bound, _ = proven_stream_bound(certificate, batches, margin=4.0)
        return certificate.stating(lower_bound=bound)

    return certify(data, beta, z, data.n, prove)


def _record(data: Compression, beta: float, Z: Array, a: Array) -> Certificate:
    claim = Claim(lower_bound=-np.inf, beta=beta, d=data.d, data_sha256=data.data_sha256)
    return Certificate(claim, np.empty(0), StreamedProof((a,), Z))


def _loss(batches: Batches, Z: Array) -> float:
    total = 0.0
    for X, y in row_blocks(batches):
        residual = np.einsum("ij,ij->i", X @ Z, X) - y
        total += 0.5 * float(residual @ residual)
    return total
