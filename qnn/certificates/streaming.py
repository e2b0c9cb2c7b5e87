"""Checking a compressed certificate row by row: memory does not depend on the number of rows.

The dual point comes from each row as the proof says (see `qnn.certificates.proofs.streamed`); the
sums over rows are those of the checker.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from qnn.certificates.proofs.streamed import StreamedProof
from qnn.certificates.record import Certificate
from qnn.certificates.slack import underflow_of, with_radius
from qnn.errors import CertificateError, shown
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.floating import TINY, UNIT, summed

Array = np.ndarray


def verify_stream(certificate: Certificate, batches: Batches) -> float:
    """The proven lower bound of a compressed certificate on the rows it speaks of, in one pass.

    Parameters
    ----------
    certificate : a record with a `StreamedProof`; its own ``lower_bound`` is only compared.
    batches : (X, y) blocks (see `qnn.numerics.batches`); how rows are cut into blocks does not
        matter.

    Raises
    ------
    CertificateError : where anything is not proven.
    InputError : where the batches cannot be read.
    """
    bound, digest = proven_stream_bound(certificate, batches)
    if digest != certificate.data_sha256:
        raise CertificateError("the data are not those of the certificate (SHA-256 differs)")
    if not certificate.lower_bound <= bound:
        raise CertificateError(
            f"it states the bound {shown(certificate.lower_bound)}, but only "
            f"{shown(bound)} is proven"
        )
    return bound


def proven_stream_bound(
    certificate: Certificate, batches: Batches, margin: float = 1.0
) -> tuple[float, str]:
    """The bound that the dual point proves on these rows, and their SHA-256.

    ``margin`` multiplies every allowance for rounding; a maker of certificates asks for 2 or more.
    """
    proof = certificate.proof
    if not isinstance(proof, StreamedProof) or certificate.nu.size:
        raise CertificateError("it has no compressed dual point: check it with verify")
    certificate.check_types()
    proof.fits(certificate.claim)
    sums = _accumulate(proof, batches)
    underflow = underflow_of(sums.rows, sums.top, sums.weight)
    M, radius = with_radius(sums.M, sums.sizes, sums.rows, underflow, sums.touched)
    proof.prove(M, radius, certificate.claim, margin)
    # A term is rounded at most twice, its block's exact sum once, the sum of blocks once.
    error = 6.0 * UNIT * sums.absolute + 2.0 * sums.rows * TINY
    return sums.value - margin * error, sums.digest


@dataclass(frozen=True, eq=False)
class _Sums:
    M: Array
    sizes: Array
    value: float
    absolute: float
    rows: int
    top: float
    weight: float
    touched: Array
    digest: str


def _accumulate(proof: StreamedProof, batches: Batches) -> _Sums:
    """One pass: M(nu), row sums of ``|X|' diag|nu| |X|``, the dual value's terms, the digest."""
    d = len(proof.nu_matrix)
    M, sizes = np.zeros((d, d)), np.zeros(d)
    values: list[float] = []
    absolutes: list[float] = []
    touched = np.zeros(d, dtype=bool)
    rows, top, weight, digest = 0, 0.0, 0.0, hashlib.sha256()
    for X, y in row_blocks(batches):
        if X.shape[1] != d:
            raise CertificateError(f"it is for {d} columns, the data have {X.shape[1]}")
        digest.update(np.column_stack([X, y]).astype("<f8").tobytes())
        nu = proof.dual_point(X, y)
        terms = np.concatenate([nu * y, -0.5 * nu * nu])
        absolute = np.abs(X)
        M += (X * nu[:, None]).T @ X
        sizes += absolute.T @ (np.abs(nu) * absolute.sum(axis=1))
        values.append(summed(terms, "the dual value"))
        absolutes.append(summed(np.abs(terms), "the dual value"))
        top = max(top, float(absolute.max()))
        weight += float(np.abs(nu).sum())
        touched |= X.any(axis=0)
        rows += len(X)
    total, magnitude = (summed(np.array(k), "the dual value") for k in (values, absolutes))
    digits = digest.hexdigest()
    return _Sums(M, sizes, total, magnitude, rows, top, weight, touched, digits)
