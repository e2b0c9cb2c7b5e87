"""Checking a compressed certificate row by row: memory does not depend on the number of rows.

For the squared loss the dual point of a problem with more rows than ``d (d + 1) / 2`` is
``nu_i = y_i - x_i' Z' x_i`` for a (d, d) matrix Z', which is all that the certificate stores. The
numbers that the formula gives in floating arithmetic *are* the dual point that is proven here, so
its evaluation needs no error bound; the sums over rows do, as in the checker.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from qnn.certificates.checker import slacks
from qnn.certificates.record import FORMAT, Certificate
from qnn.certificates.slack import prove_budget, prove_semidefinite, with_radius
from qnn.errors import CertificateError
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.floating import TINY, UNIT

Array = np.ndarray


def verify_stream(certificate: Certificate, batches: Batches) -> float:
    """The proven lower bound of a compressed certificate on the rows it speaks of, in one pass.

    Parameters
    ----------
    certificate : a record with ``nu_matrix``; its own ``lower_bound`` is only compared.
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
            f"it states the bound {certificate.lower_bound!r}, but only {bound!r} is proven"
        )
    return bound


def proven_stream_bound(
    certificate: Certificate, batches: Batches, margin: float = 1.0
) -> tuple[float, str]:
    """The bound that the dual point proves on these rows, and their SHA-256.

    ``margin`` multiplies every allowance for rounding; a maker of certificates asks for 2 or more.
    """
    _check_record(certificate)
    sums = _accumulate(certificate, batches)
    M, radius = with_radius(sums.M, sums.sizes, sums.rows, sums.largest)
    for diagonal, sign in slacks(certificate):
        prove_semidefinite(diagonal, sign * M, margin * radius, margin)
        prove_budget(diagonal, certificate.beta, certificate.d)
    # A term is rounded at most twice, its block's exact sum once, the sum of blocks once.
    error = 6.0 * UNIT * sums.absolute + 2.0 * sums.rows * TINY
    return sums.value - margin * error, sums.digest


def _check_record(certificate: Certificate) -> None:
    d = certificate.d
    if certificate.format != FORMAT:
        raise CertificateError(f"unknown certificate format {certificate.format}")
    if certificate.kind != "relaxation":
        raise CertificateError(f"unknown kind of certificate {certificate.kind!r}")
    if certificate.loss != "squared" or certificate.loss_parameter is not None:
        raise CertificateError("a compressed dual point belongs to the squared loss")
    if certificate.activation != "bilinear" or certificate.polynomial is not None:
        raise CertificateError("a compressed dual point belongs to the bilinear activation")
    if certificate.alphabet != "binary":
        raise CertificateError("a compressed dual point belongs to the binary alphabet")
    if not (math.isfinite(certificate.beta) and certificate.beta > 0):
        raise CertificateError(f"beta must be positive (it is {certificate.beta})")
    Z = certificate.nu_matrix
    if Z is None or certificate.nu.size:
        raise CertificateError("it has no compressed dual point: check it with verify")
    if Z.shape != (d, d) or not np.isfinite(Z).all():
        raise CertificateError(f"nu_matrix must be {d} x {d} finite numbers")
    a = certificate.diag
    if a is None or a.shape != (d,) or not np.isfinite(a).all():
        raise CertificateError(f"diag must be {d} finite numbers")
    if certificate.diag_positive is not None or certificate.diag_negative is not None:
        raise CertificateError("diag_positive and diag_negative do not belong to this activation")


@dataclass(frozen=True, eq=False)
class _Sums:
    M: Array
    sizes: Array
    value: float
    absolute: float
    rows: int
    largest: float
    digest: str


def _accumulate(certificate: Certificate, batches: Batches) -> _Sums:
    """One pass: M(nu), row sums of ``|X|' diag|nu| |X|``, the dual value's terms, the digest."""
    d, Z = certificate.d, certificate.nu_matrix
    M, sizes = np.zeros((d, d)), np.zeros(d)
    values: list[float] = []
    absolutes: list[float] = []
    rows, largest, digest = 0, 1.0, hashlib.sha256()
    for X, y in row_blocks(batches):
        if X.shape[1] != d:
            raise CertificateError(f"it is for {d} columns, the data have {X.shape[1]}")
        digest.update(np.column_stack([X, y]).astype("<f8").tobytes())
        nu = y - np.einsum("ij,ij->i", X @ Z, X)
        terms = np.concatenate([nu * y, -0.5 * nu * nu])
        if not np.isfinite(terms).all():
            raise CertificateError("the dual value overflows")
        absolute = np.abs(X)
        M += (X * nu[:, None]).T @ X
        sizes += absolute.T @ (np.abs(nu) * absolute.sum(axis=1))
        values.append(math.fsum(terms.tolist()))
        absolutes.append(math.fsum(np.abs(terms).tolist()))
        largest = max(largest, float(absolute.max()) ** 2)
        rows += len(X)
    total, magnitude = math.fsum(values), math.fsum(absolutes)
    return _Sums(M, sizes, total, magnitude, rows, largest, digest.hexdigest())
