"""Bounds of many dual points of one data set at once, a beta each: what `checker` proves of one.

The criteria are those of the checker and of `DiagonalProof`, written for stacks: M of every point
in one product, Cholesky factorizations one after the other in one call, and a plain sum with its
rounding where the checker sums exactly. So a bound here is lower by some 1e-13 of its terms, and
what is proven here the checker proves too. It is for bilinear activations, whose diagonal serves
both signs, and for the squared loss.
"""

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.slack import prove_budget, radius_of, semidefinite, underflow_of
from qnn.errors import CertificateError, InputError
from qnn.losses import Loss, get_loss
from qnn.numerics.floating import UNIT, gamma, parabolas_below

Array = np.ndarray

# Numbers of scaled rows at once.
_BLOCK = 2**20


def proven_bounds(
    claim: Claim,
    betas: Array,
    nu: Array,
    diagonals: Array,
    X: Array,
    y: Array,
    margin: float = 1.0,
) -> Array:
    """What each dual point proves of the claim's problem at its own beta, (K,); -inf for nothing.

    Parameters
    ----------
    claim : the problem; its own beta, bound and digest do not count.
    betas : (K,) positive.
    nu, diagonals : the points (K, n) and the diagonals (K, D) of both signs.
    X, y : the training matrix (n, d) and targets (n,), finite.
    margin : multiplies every allowance for rounding, as in `checker.proven_bound`.

    Raises CertificateError where shapes do not fit, and for another activation or loss.
    """
    _check(claim, betas, nu, diagonals, X, y)
    loss = _loss(claim, y)
    with np.errstate(all="ignore"):
        M, radius = _adjoints(X, nu)
        values = parabolas_below(nu, y, margin, loss.weight)
        twice = np.concatenate([diagonals, diagonals]), np.concatenate([-M, M])
        slacks = semidefinite(*twice, margin * np.concatenate([radius, radius]), margin)
        proven = np.isfinite(values) & _within(diagonals, betas, claim.d)
        proven &= slacks.reshape(2, -1).all(axis=0)
    return np.where(proven, values, -np.inf)


def _loss(claim: Claim, y: Array) -> Loss:
    if not claim.bilinear:
        raise CertificateError("points are proven together for bilinear activations alone")
    try:
        loss = get_loss(claim.loss, claim.loss_parameter).weighted(claim.weights)
        loss.check_targets(y)
    except InputError as error:
        raise CertificateError(str(error)) from None
    if not loss.quadratic:
        raise CertificateError(f"points are proven together for loss 'squared', not {loss.name!r}")
    return loss


def _check(claim: Claim, betas: Array, nu: Array, diagonals: Array, X: Array, y: Array) -> None:
    claim.check()
    count, (n, d) = len(betas), X.shape
    shapes = (nu.shape, diagonals.shape, y.shape, claim.d)
    if shapes != ((count, n), (count, d), (n,), d):
        raise CertificateError(f"points, diagonals, targets and columns do not fit: {shapes}")
    if claim.weights is not None and claim.weights.shape != (n,):
        raise CertificateError(f"there are {claim.weights.size} sample weights for {n} rows")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise CertificateError("the data are not finite")
    if not (np.isfinite(betas).all() and (betas > 0.0).all()):
        raise CertificateError("each beta must be positive and finite")


def _adjoints(X: Array, nu: Array) -> tuple[Array, Array]:
    """M(nu) of each point (K, d, d), whose lower triangles count, and its errors' row sums (K, d).

    As in the checker: n additions and 2 products an entry.
    """
    count, (n, d) = len(nu), X.shape
    M, sizes, top = np.zeros((count * d, d)), np.zeros((count, d)), 0.0
    rows = max(1, _BLOCK // max(count * d, 1))
    for start in range(0, n, rows):
        block, weights = X[start : start + rows], nu[:, start : start + rows]
        scaled = np.ascontiguousarray(block.T) * weights[:, None, :]
        M += scaled.reshape(count * d, len(block)) @ block
        absolute = np.abs(block)
        sizes += (np.abs(weights) * absolute.sum(axis=1)) @ absolute
        top = max(top, float(absolute.max(initial=0.0)))
    lost = underflow_of(n, top, np.abs(nu).sum(axis=1))
    return M.reshape(count, d, d), radius_of(sizes, n, d) + d * lost[:, None]


def _within(diagonals: Array, betas: Array, d: int) -> Array:
    """Which diagonals are within the budget beta d: in rational arithmetic where it is close."""
    rounding = gamma(2 * diagonals.shape[1] + 2) * np.abs(diagonals).sum(axis=1)
    spent = diagonals.sum(axis=1) + rounding
    within = (spent >= 0.0) & (spent < betas * d * (1.0 - 8.0 * UNIT))
    for cell in np.flatnonzero(~within & np.isfinite(spent)):
        try:
            prove_budget(diagonals[cell], float(betas[cell]), d)
        except CertificateError:
            continue
        within[cell] = True
    return within
