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
  are added to what it finds (see `sign_norm`, `sign_form` and `branching` beside this file).
* The budget, ``sum(a) <= beta d`` or ``max u'Mv <= beta d``, is compared in rational arithmetic.
"""

import hashlib
import math
from fractions import Fraction

import numpy as np

from qnn.certificates.branching import (
    check_form_leaves,
    check_leaves,
    largest_of_form_leaves,
    largest_of_leaves,
)
from qnn.certificates.cuts import check_cuts, cut_sums, form_cut_sums
from qnn.certificates.record import FORMAT, Certificate
from qnn.certificates.slack import prove_budget, prove_semidefinite, with_radius
from qnn.errors import CertificateError, InputError, NotProvenAgainError
from qnn.losses import get_loss
from qnn.numerics.floating import UNIT

Array = np.ndarray

_EXACT_METHODS = ("enumeration", "branch_and_bound")
_KINDS = ("relaxation", "tightened", "exact")
# Rows at once: their copies stay small beside X.
_ROWS = 4096


def verify(certificate: Certificate, X: Array, y: Array, fast: bool = False) -> float:
    """The proven lower bound of a certificate on the data it speaks of.

    Parameters
    ----------
    certificate : the record; its own ``lower_bound`` is not trusted, only compared.
    X, y : the training matrix (n, d) and targets (n,), as the certificate's digest has them.
    fast : skip the enumeration of an "exact" certificate, which takes some 2^d steps. All else is
        checked, and then `NotProvenAgainError` raised: an unproven number is never returned.

    Returns
    -------
    A number that the objective of every network of the certificate's kind, of any width, reaches
    or exceeds.

    Raises
    ------
    CertificateError : where anything is not proven.
    NotProvenAgainError : a CertificateError too; see ``fast``.
    """
    X, y = np.ascontiguousarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _check_record(certificate, X, y)
    if data_digest(X, y) != certificate.data_sha256:
        raise CertificateError("the data are not those of the certificate (SHA-256 differs)")
    skipped = fast and certificate.method == "enumeration"
    bound = dual_value(certificate, y, 1.0) if skipped else proven_bound(certificate, X, y)
    if not certificate.lower_bound <= bound:
        raise CertificateError(
            f"it states the bound {certificate.lower_bound!r}, but only {bound!r} is proven"
        )
    if skipped:
        raise NotProvenAgainError(certificate.lower_bound)
    return bound


def proven_bound(certificate: Certificate, X: Array, y: Array, margin: float = 1.0) -> float:
    """The bound that the dual point proves, whatever the record states.

    ``margin`` multiplies every allowance for rounding; a maker of certificates asks for 2 or more,
    so that the rounding of another machine cannot refuse what this one accepted.
    """
    if certificate.polynomial is None:
        weights, template = [1.0], None
    else:
        a, b, c = (float(value) for value in certificate.polynomial)
        weights, template = _bit_weights(certificate.alphabet), (a, b, c)
    M, radius = _adjoint(X, certificate.nu, weights, template)
    if certificate.kind == "exact":
        _prove_sign_products(M, margin * radius, certificate, margin)
        return dual_value(certificate, y, margin)
    if certificate.kind == "tightened":
        _prove_tightened(M, radius, certificate, margin)
        return dual_value(certificate, y, margin)
    for diagonal, sign in slacks(certificate):
        prove_semidefinite(diagonal, sign * M, margin * radius, margin)
        prove_budget(diagonal, certificate.beta, certificate.d)
    return dual_value(certificate, y, margin)


def data_digest(X: Array, y: Array) -> str:
    """SHA-256 of the rows [x, y], little-endian float64, one row after the other."""
    digest = hashlib.sha256()
    for start in range(0, len(X), 4096):
        block = np.hstack([X[start : start + 4096], y[start : start + 4096, None]])
        digest.update(block.astype("<f8").tobytes())
    return digest.hexdigest()


def _check_record(certificate: Certificate, X: Array, y: Array) -> None:
    n, d = X.shape
    if certificate.format != FORMAT:
        raise CertificateError(f"unknown certificate format {certificate.format}")
    if certificate.kind not in _KINDS:
        raise CertificateError(f"unknown kind of certificate {certificate.kind!r}")
    if certificate.nu_matrix is not None:
        raise CertificateError("its dual point is stored compressed: check it with verify_stream")
    if certificate.d != d or certificate.nu.shape != (n,) or y.shape != (n,):
        raise CertificateError(
            f"it is for {len(certificate.nu)} rows of {certificate.d} columns, the data have {n} "
            f"of {d}"
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all() and np.isfinite(certificate.nu).all()):
        raise CertificateError("the data or the dual point are not finite")
    if not (math.isfinite(certificate.beta) and certificate.beta > 0):
        raise CertificateError(f"beta must be positive (it is {certificate.beta})")
    bilinear = certificate.activation == "bilinear"
    if bilinear == (certificate.polynomial is not None) or (
        not bilinear and certificate.activation != "polynomial"
    ):
        raise CertificateError(f"unknown activation {certificate.activation!r}")
    weights = _bit_weights(certificate.alphabet)
    size = d if bilinear else d * len(weights) + 1
    if certificate.polynomial is not None and not (
        certificate.polynomial.shape == (3,) and np.isfinite(certificate.polynomial).all()
    ):
        raise CertificateError("a polynomial activation has three finite coefficients")
    exact = certificate.kind == "exact"
    if certificate.method not in (_EXACT_METHODS if exact else (None,)):
        raise CertificateError(f"unknown method of proof {certificate.method!r}")
    if certificate.method == "branch_and_bound":
        if certificate.polynomial is None:
            check_leaves(certificate.leaves, certificate.leaf_diagonals, d)
        else:
            even = float(certificate.polynomial[1]) == 0.0
            check_form_leaves(certificate.leaves, certificate.leaf_diagonals, size, even)
    elif certificate.leaves is not None or certificate.leaf_diagonals is not None:
        raise CertificateError(f"leaves do not belong to the method {certificate.method!r}")
    if certificate.kind == "tightened":
        check_cuts(certificate.cuts, certificate.multipliers, 2 * d if bilinear else size, bilinear)
    elif certificate.cuts is not None or certificate.multipliers is not None:
        raise CertificateError(f"inequalities do not belong to kind {certificate.kind!r}")
    wanted = {
        "diag": bilinear and not exact,
        "diag_positive": not bilinear and not exact,
        "diag_negative": not bilinear and not exact,
    }
    for name, present in wanted.items():
        diagonal = getattr(certificate, name)
        if (diagonal is not None) != present:
            raise CertificateError(f"{name} does not belong to this activation, or is missing")
        if present and not (diagonal.shape == (size,) and np.isfinite(diagonal).all()):
            raise CertificateError(f"{name} must be {size} finite numbers")


def _bit_weights(alphabet: str) -> list[float]:
    """What each binary vector of the lift counts for."""
    if alphabet == "binary":
        return [1.0]
    if alphabet == "ternary":
        return [0.5, 0.5]
    if not (alphabet.isdecimal() and 2 <= int(alphabet) <= 7):
        raise CertificateError(f"unknown alphabet {alphabet!r}")
    bits = int(alphabet)
    return [2**k / (2**bits - 1) for k in range(bits)]


def slacks(certificate: Certificate) -> list[tuple[Array, float]]:
    """The pairs (a, s) whose ``Diag(a) + s M`` must be semidefinite."""
    if certificate.diag is not None:
        return [(certificate.diag, -1.0), (certificate.diag, 1.0)]
    assert certificate.diag_positive is not None
    assert certificate.diag_negative is not None
    return [(certificate.diag_positive, -1.0), (certificate.diag_negative, 1.0)]


def _adjoint(
    X: Array, nu: Array, weights: list[float], template: tuple[float, float, float] | None
) -> tuple[Array, Array]:
    """M(nu) in floating arithmetic, lower triangle valid, and per row the sum of error bounds."""
    width = X.shape[1] * len(weights) + (template is not None)
    M, sizes = np.zeros((width, width)), np.zeros(width)
    largest = 1.0
    for start in range(0, len(X), _ROWS):
        block = _features(X[start : start + _ROWS], weights, template is not None)
        weight = nu[start : start + _ROWS]
        M += (block * weight[:, None]).T @ block
        top, block_sizes = _sizes(block, weight, template)
        sizes += block_sizes
        largest = max(largest, top**2)
    if template is not None:
        a, b, c = template
        mask = np.full(M.shape, a)
        mask[-1, :] = mask[:, -1] = 0.5 * b
        mask[-1, -1] = c
        M = mask * M
        largest *= 1.0 + max(abs(value) for value in template)
    return with_radius(M, sizes, len(X), largest)


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


def _prove_sign_products(M: Array, radius: Array, certificate: Certificate, margin: float) -> None:
    """Prove ``|u'M'v| <= beta d`` for all signs and every M' within the error bounds of M.

    Of a polynomial activation u = v with a last entry of +1.
    """
    pairs = certificate.polynomial is None
    if not np.isfinite(radius).all():
        raise CertificateError("the errors of M overflow")
    if certificate.method == "branch_and_bound":
        leaves, diagonals = certificate.leaves, certificate.leaf_diagonals
        assert leaves is not None
        assert diagonals is not None
        largest_of = largest_of_leaves if pairs else largest_of_form_leaves
        found, rounding = largest_of(M, leaves, diagonals, prove_semidefinite, margin)
    else:
        found, rounding = _enumerated(M, pairs)
    if not math.isfinite(found + rounding):
        raise CertificateError("the bounds of the signs overflow")
    allowances = [margin * rounding, *radius.tolist()]
    # An extra relative 2^-50 for the roundings of the radius itself.
    largest = Fraction(found) + sum(map(Fraction, allowances)) * (1 + Fraction(1, 2**50))
    if largest > Fraction(certificate.beta) * certificate.d:
        product = (
            "u, v exceed the budget: |u'M(nu)v|" if pairs else "u exceed the budget: |u'M(nu)u|"
        )
        raise CertificateError(f"some signs {product} > beta * d")


def _enumerated(M: Array, pairs: bool) -> tuple[float, float]:
    # Only here: the compiler takes a second to import, and relaxations do not need it.
    from qnn.certificates.sign_form import largest_sign_form
    from qnn.certificates.sign_norm import largest_sign_product

    return largest_sign_product(M) if pairs else largest_sign_form(M)


def _prove_tightened(M: Array, radius: Array, certificate: Certificate, margin: float) -> None:
    """Prove the bound of all signs by diagonals, inequalities and their multipliers."""
    cuts, tau = certificate.cuts, certificate.multipliers
    assert cuts is not None
    assert tau is not None
    if certificate.polynomial is None:
        K_P, K_N, error = cut_sums(cuts, tau, certificate.d)
        sides = [(K_P, error, tau), (K_N, error, tau)]
    else:
        sides = [(*form_cut_sums(cuts, own), own) for own in np.split(tau, 2)]
    for (a, sign), (K, error, own) in zip(slacks(certificate), sides, strict=True):
        # One more rounding in each entry of the sum.
        rounding = 4.0 * UNIT * (np.abs(K) + np.abs(M)).sum(axis=1)
        prove_semidefinite(a, sign * M - K, margin * (radius + error + rounding), margin)
        prove_budget(np.concatenate([a, -own]), certificate.beta, certificate.d)


def dual_value(certificate: Certificate, y: Array, margin: float) -> float:
    """A lower bound of ``-g*(-nu)``, with the domain of the conjugate checked exactly."""
    name, parameter = certificate.loss, certificate.loss_parameter
    try:
        loss = get_loss(name, parameter)
        loss.check_targets(y)
    except InputError as error:
        raise CertificateError(str(error)) from None
    if loss.parameter != parameter:
        raise CertificateError(f"loss {name!r}: its parameter is missing")
    return loss.proven_dual_value(certificate.nu, y, margin)
