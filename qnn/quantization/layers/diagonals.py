"""Diagonals below H, which bound what the undecided coordinates of a search must still cost.

With ``H - Diag(D) >= 0`` codes that lie r_i from where the rest of f has its minimum cost at least
``sum_i D_i r_i^2`` more (M. Stojnic, H. Vikalo, B. Hassibi, IEEE Trans. Signal Processing, 2008,
bound the sphere decoder's rest so). The best D, of largest sum, is a small semidefinite program:
Newton's method on ``sum D + t (log det(H - Diag(D)) + sum log D)`` for falling t.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

# A leading block has a larger diagonal of its own: most nodes lie at its depth.
LEADING = 0.625
_STEPS, _START, _LAST, _FALL = 60, 0.3, 1e-2, 0.2


def leading_diagonals(R: Array) -> Array:
    """Diagonals (2, d) of the best sums: below ``R'R``, and below a leading block, 0 beyond it.

    R (d, d) is upper triangular and regular. A row is 0 where none is found.
    """
    d = len(R)
    block = int(np.ceil(LEADING * d))
    H = R.T @ R
    made = np.zeros((2, d))
    made[0] = _below(H)
    made[1, :block] = _below(H[:block, :block])
    return made


def _below(H: Array) -> Array:
    try:
        D = _start(H)
        t = _START * float(D.sum()) / len(H)
        for _ in range(_STEPS):
            D, small = _newton(H, D, t)
            if small and len(H) * t < _LAST * D.sum():
                break
            t *= _FALL if small else 1.0
    except np.linalg.LinAlgError:
        return np.zeros(len(H))
    good = np.isfinite(D).all() and D.min() > 0.0
    return D * (1.0 - 1e-9) if good else np.zeros(len(H))


def _start(H: Array) -> Array:
    curvature = 1.0 / np.diag(np.linalg.inv(H))
    root = np.sqrt(curvature)
    values: Array = 0.9 * np.linalg.eigvalsh(H / np.outer(root, root))[0] * curvature
    return values


def _newton(H: Array, D: Array, t: float) -> tuple[Array, bool]:
    """One step; whether t may fall now."""
    inverse = np.linalg.inv(H - np.diag(D))
    gradient = 1.0 - t * np.diag(inverse) + t / D
    hessian = t * inverse * inverse
    hessian.flat[:: len(D) + 1] += t / D**2
    step = np.linalg.solve(hessian, gradient)
    small = bool(gradient @ step < 0.3 * t * len(D))
    ratio = float((-step / D).max())
    length = min(1.0, 0.95 / ratio) if ratio > 0.0 else 1.0
    now = _barrier(H, D, t)
    while length > 1e-6:
        if _barrier(H, D + length * step, t) >= now:
            return D + length * step, small
        length *= 0.5
    return D, True


def _barrier(H: Array, D: Array, t: float) -> float:
    try:
        factor = np.linalg.cholesky(H - np.diag(D))
    except np.linalg.LinAlgError:
        return -np.inf
    return float(D.sum() + t * (2.0 * np.log(np.diag(factor)).sum() + np.log(D).sum()))
