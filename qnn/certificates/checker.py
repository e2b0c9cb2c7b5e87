"""The independent checker: from a certificate and the data to a proven lower bound.

It imports no solver and no lift: every formula is written here a second time, in floating
arithmetic whose rounding errors are bounded and taken off; of a loss it calls the conjugate that is
written for it alone (`Loss.proven_dual_value`). With ``u = 2^-53`` and
``gamma_k = k u / (1 - k u)``:

* A sum of n products of three factors, computed in any order, differs from its exact value by at
  most ``gamma_{n+2}`` times the sum of absolute values (N. Higham, Accuracy and Stability of
  Numerical Algorithms, 2002, section 3.1). So ``|fl(M) - M| <= E`` entrywise with E computable, and
  ``Diag(row sums of E)`` dominates the error matrix.
* If the floating Cholesky factorization of S runs to its end then ``S + Delta >= 0`` with
  ``|Delta_ij| <= gamma / (1 - gamma) sqrt(s_ii s_jj)`` (Higham, theorem 10.3), and
  ``sqrt(s_ii s_jj)`` as a matrix is dominated by ``D Diag(s)``. So a relative reduction of the
  diagonal before the factorization turns its success into a proof (compare S. M. Rump,
  Verification of positive definiteness, BIT 2006).
* A certificate of kind "exact" has no slack: ``max u'Mv`` itself, or ``max |u'Mu|`` with the lift's
  last entry +1 (polynomial), is enumerated, or bounded leaf by leaf, and E and the rounding of that
  are added to what it finds. Each kind of proof checks itself, in its file in `proofs`.
* The budget, ``sum(a) <= beta d`` or ``max u'Mv <= beta d``, is compared in rational arithmetic.
"""

import hashlib

import numpy as np

from qnn.certificates.claim import Claim, bit_weights
from qnn.certificates.record import Certificate
from qnn.certificates.slack import underflow_of, with_radius
from qnn.errors import CertificateError, InputError, NotProvenAgainError, shown
from qnn.losses import get_loss
from qnn.numerics.arrays import floats_of

Array = np.ndarray

# Rows at once: their copies stay small beside X.
_ROWS = 4096


def verify(certificate: Certificate, X: Array, y: Array, fast: bool = False) -> float:
    """The proven lower bound of a certificate on the data it speaks of.

    Parameters
    ----------
    certificate : the record; its own ``lower_bound`` is not trusted, only compared.
    X, y : the training matrix (n, d) and targets (n,), as the certificate's digest has them. Where
        rows are weighted, the weights are the certificate's own, and its digest has them too.
    fast : skip the enumeration of an "exact" certificate, which takes some 2^d steps. All else is
        checked, and then `NotProvenAgainError` raised: an unproven number is never returned.

    Returns
    -------
    A number that the objective of every network of the certificate's kind, of any width, reaches
    or exceeds.

    Raises
    ------
    CertificateError : where anything is not proven.
    InputError : for complex numbers, masked entries and text in X or y.
    NotProvenAgainError : a CertificateError too; see ``fast``.
    """
    X, y = floats_of(X, "X"), floats_of(y, "y")
    if X.ndim != 2:
        raise CertificateError(f"X must have rows and columns (got shape {X.shape})")
    _check_record(certificate, X, y)
    if data_digest(X, y, certificate.weights) != certificate.data_sha256:
        raise CertificateError("the data are not those of the certificate (SHA-256 differs)")
    skipped = fast and certificate.proof.long
    bound = dual_value(certificate, y, 1.0) if skipped else proven_bound(certificate, X, y)
    if not certificate.lower_bound <= bound:
        raise CertificateError(
            f"it states the bound {shown(certificate.lower_bound)}, but only "
            f"{shown(bound)} is proven"
        )
    if skipped:
        raise NotProvenAgainError(certificate.lower_bound)
    return bound


def proven_bound(certificate: Certificate, X: Array, y: Array, margin: float = 1.0) -> float:
    """The bound that the dual point proves, whatever the record states.

    ``margin`` multiplies every allowance for rounding; a maker of certificates asks for 2 or more,
    so that the rounding of another machine cannot refuse what this one accepted.
    """
    M, radius = adjoint(X, certificate.nu, certificate.claim)
    certificate.proof.prove(M, radius, certificate.claim, margin)
    return dual_value(certificate, y, margin)


def data_digest(X: Array, y: Array, weights: Array | None = None) -> str:
    """SHA-256 of the rows [x, y], or [x, y, w], little-endian float64, one after the other."""
    digest = hashlib.sha256()
    last = [y] if weights is None else [y, weights]
    for start in range(0, len(X), 4096):
        block = np.column_stack([part[start : start + 4096] for part in (X, *last)])
        digest.update(block.astype("<f8").tobytes())
    return digest.hexdigest()


def _check_record(certificate: Certificate, X: Array, y: Array) -> None:
    n, d = X.shape
    claim, nu = certificate.claim, certificate.nu
    certificate.check_types()
    if certificate.proof.compressed:
        raise CertificateError(
            "its dual point is stored compressed: check it with verify_stream, or with "
            "verify_blocks where its method is blocks"
        )
    if claim.d != d or nu.shape != (n,) or y.shape != (n,):
        raise CertificateError(
            f"it is for {len(nu)} rows of {claim.d} columns, the data have {n} of {d}"
        )
    if claim.weights is not None and claim.weights.shape != (n,):
        raise CertificateError(f"it has {claim.weights.size} sample weights for {n} rows")
    if not (np.isfinite(X).all() and np.isfinite(y).all() and np.isfinite(nu).all()):
        raise CertificateError("the data or the dual point are not finite")
    claim.check()
    certificate.proof.fits(claim)


def adjoint(X: Array, nu: Array, claim: Claim) -> tuple[Array, Array]:
    """M(nu) of a claim's lift, symmetric, and the row sums of its error bounds."""
    weights = [1.0] if claim.bilinear else bit_weights(claim.alphabet)
    return _adjoint(X, nu, weights, None if claim.bilinear else claim.template)


def _adjoint(
    X: Array, nu: Array, weights: list[float], template: tuple[float, float, float] | None
) -> tuple[Array, Array]:
    """M(nu) in floating arithmetic, lower triangle valid, and per row the sum of error bounds."""
    width = X.shape[1] * len(weights) + (template is not None)
    M, sizes, top = np.zeros((width, width)), np.zeros(width), 0.0
    touched = np.zeros(width, dtype=bool)
    for start in range(0, len(X), _ROWS):
        rows, weight = X[start : start + _ROWS], nu[start : start + _ROWS]
        block = _features(rows, weights, template is not None)
        M += (block * weight[:, None]).T @ block
        block_top, block_sizes = _sizes(block, weight, template)
        sizes += block_sizes
        top = max(top, block_top)
        # By the numbers themselves: a feature may have become 0.
        touched |= _touched(rows[weight != 0.0], len(weights), template is not None)
    scale = 0.0
    if template is not None:
        a, b, c = template
        mask = np.full(M.shape, a)
        mask[-1, :] = mask[:, -1] = 0.5 * b
        mask[-1, -1] = c
        M = mask * M
        scale = max(abs(value) for value in template)
    underflow = underflow_of(len(X), top, float(np.abs(nu).sum()), scale)
    return with_radius(M, sizes, len(X), underflow, touched)


def _sizes(
    features: Array, nu: Array, template: tuple[float, float, float] | None
) -> tuple[float, Array]:
    """The largest |feature|, and the row sums of ``|T| o |F|' diag|nu| |F|``, (D,), as products."""
    absolute, weight = np.abs(features), np.abs(nu)
    top = float(absolute.max(initial=0.0))
    if template is None:
        return top, absolute.T @ (weight * absolute.sum(axis=1))
    a, b, c = (abs(value) for value in template)
    head, last = absolute[:, :-1], absolute[:, -1]
    inner = head.sum(axis=1)
    sizes = np.empty(features.shape[1])
    sizes[:-1] = head.T @ (weight * (a * inner + 0.5 * b * last))
    sizes[-1] = last @ (weight * (0.5 * b * inner + c * last))
    return top, sizes


def _features(X: Array, weights: list[float], constant: bool) -> Array:
    """The lifted rows of a block: a copy of X for each bit, and a constant column."""
    features = np.hstack([weight * X for weight in weights]) if weights != [1.0] else X
    return np.hstack([features, np.ones((len(X), 1))]) if constant else features


def _touched(X: Array, bits: int, constant: bool) -> Array:
    """Which columns of the lifted rows hold anything but exact zeros, (D,)."""
    columns = np.tile(X.any(axis=0), bits)
    return np.append(columns, len(X) > 0) if constant else columns


def dual_value(certificate: Certificate, y: Array, margin: float) -> float:
    """A lower bound of ``-g*(-nu)``, with the domain of the conjugate checked exactly."""
    name, parameter = certificate.loss, certificate.loss_parameter
    try:
        loss = get_loss(name, parameter).weighted(certificate.weights)
        loss.check_targets(y)
    except InputError as error:
        raise CertificateError(str(error)) from None
    if loss.parameter != parameter:
        raise CertificateError(f"loss {name!r}: its parameter is missing")
    return loss.proven_dual_value(certificate.nu, y, margin)
