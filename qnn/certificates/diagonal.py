"""The best dual diagonal for a given M: a small semidefinite program of its own."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotri

Array = np.ndarray


def optimal_diagonals(M: Array, joint: bool, tol: float = 1e-9) -> tuple[Array, ...]:
    """Diagonals of least sum that dominate M.

    joint: one ``a`` with ``Diag(a) - M >= 0`` and ``Diag(a) + M >= 0``; its sum is the norm
    ``max <M, Z>`` over ``gamma_2(Z) <= 1``, at least ``max u'Mv`` over signs. Otherwise a pair
    ``(a_plus, a_minus)`` with ``Diag(a_plus) - M >= 0`` and ``Diag(a_minus) + M >= 0``.

    Each is strictly feasible in floating arithmetic and its sum within ``tol`` relative of the
    least. M (D, D) symmetric; the diagonals (D,).
    """
    if joint:
        return (_least_diagonal((M, -M), tol),)
    return _least_diagonal((M,), tol), _least_diagonal((-M,), tol)


def _least_diagonal(blocks: tuple[Array, ...], tol: float) -> Array:
    """``min sum(a)`` s.t. ``Diag(a) - B >= 0`` for all blocks B, by a log barrier.

    Newton's method on ``sum(a)/mu - sum log det(Diag(a) - B)``; the Hessian is the sum of the
    entrywise squares of the inverses, and the duality gap on the path is ``mu D len(blocks)``.
    """
    size = len(blocks[0])
    scale = float(np.abs(blocks[0]).sum(axis=1).max())
    if scale == 0.0:
        return np.zeros(size)
    blocks = tuple(B / scale for B in blocks)
    # Strictly diagonally dominant, so feasible.
    a = 1.05 * np.maximum(np.abs(blocks[0]).sum(axis=1), 1e-3)
    mu = float(a.sum()) / (size * len(blocks))
    while mu * size * len(blocks) > 0.5 * tol * float(a.sum()):
        a = _center(blocks, a, mu)
        mu *= 0.1
    return scale * a


def _center(blocks: tuple[Array, ...], a: Array, mu: float) -> Array:
    for _ in range(50):
        inverses = [_inverse(np.diag(a) - B) for B in blocks]
        gradient = 1.0 / mu - sum(np.diag(inverse) for inverse in inverses)
        hessian = np.sum([inverse**2 for inverse in inverses], axis=0)
        step = -cho_solve(cho_factor(hessian, check_finite=False), gradient, check_finite=False)
        decrement = float(np.sqrt(max(-gradient @ step, 0.0)))
        length = 1.0 if decrement < 0.25 else 1.0 / (1.0 + decrement)
        a = _feasible(blocks, a, step, length)
        if decrement < 0.5:
            break
    return a


def _feasible(blocks: tuple[Array, ...], a: Array, step: Array, length: float) -> Array:
    """The longest of ``length, length/2, ...`` along step that stays positive definite."""
    while length > 1e-12:
        candidate = a + length * step
        try:
            for B in blocks:
                np.linalg.cholesky(np.diag(candidate) - B)
        except np.linalg.LinAlgError:
            length *= 0.5
        else:
            return candidate
    return a


def _inverse(S: Array) -> Array:
    factor, lower = cho_factor(S, lower=True, check_finite=False)
    inverse, _ = dpotri(factor, lower=lower)
    return np.tril(inverse) + np.tril(inverse, -1).T
