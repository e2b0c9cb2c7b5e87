"""The best dual diagonal for a given M: a small semidefinite program of its own."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigvalsh
from scipy.linalg.lapack import dpotri

from qnn.errors import InputError

Array = np.ndarray
Blocks = tuple[Array, ...]

_MIXING_RANK = 16
_MIXING_STEPS = 200


def optimal_diagonals(M: Array, count: int, tol: float = 1e-9) -> tuple[Array, ...]:
    """Diagonals of least sum that dominate M.

    count 1: one ``a`` with ``Diag(a) - M >= 0`` and ``Diag(a) + M >= 0``; its sum is the norm
    ``max <M, Z>`` over ``gamma_2(Z) <= 1``, at least ``max u'Mv`` over signs. count 2: a pair
    ``(a_plus, a_minus)`` with ``Diag(a_plus) - M >= 0`` and ``Diag(a_minus) + M >= 0``.

    Each is feasible in floating arithmetic and its sum within ``tol`` relative of the least. M
    (D, D) symmetric; the diagonals (D,).

    Raises InputError where M is not finite.

    A few steps of the mixing method come first for one diagonal (Wang, Chang, Kolter, The
    mixing method, 2017): they end the work where the optimum has a low rank and is well separated,
    as for images, and are the start of the interior-point method otherwise.
    """
    scale = float(np.abs(M).sum(axis=1).max(initial=0.0))
    if not np.isfinite(scale):
        raise InputError(
            "products of the data's entries overflow double precision: choose other units, so that "
            "they are nearer to 1"
        )
    if scale == 0.0:
        return (np.zeros(len(M)),) * count
    M = M / scale
    if count == 2:
        return tuple(scale * _interior_point((B,), *_cold((B,)), tol) for B in (M, -M))
    a, P, N, gap = _mixing(M, tol)
    if gap > tol:
        a = _interior_point((M, -M), *_blend(a, (P, N)), tol)
    return (scale * a,)


def dominating_diagonal(blocks: Blocks, a: Array, primal: Blocks, tol: float) -> Array:
    """The diagonal of least sum with ``Diag(a) - B >= 0`` for all blocks B, near a given one.

    blocks: (D, D) symmetric. a (D,): a guess, whose sum may be too small. primal: guesses of the
    blocks' multipliers, of any size. The answer is feasible in floating arithmetic.
    """
    lowest = min(float(eigvalsh(S, check_finite=False)[0]) for S in _slacks(a, blocks))
    scale = float(np.abs(a).mean()) or 1.0
    raised = a - min(lowest, 0.0)
    even, size = np.eye(len(a)) / len(blocks), float(sum(P.trace() for P in primal)) / len(a)
    inside = (
        tuple(0.9 * P / size + 0.1 * even for P in primal) if size > 0.0 else (even,) * len(blocks)
    )
    start = raised + 1e-3 * scale
    found = _interior_point(blocks, start, _unit_diagonal(inside), tol)
    return found if found.sum() < raised.sum() else raised


def _mixing(M: Array, tol: float) -> tuple[Array, Array, Array, float]:
    """Alternate unit vectors ``u_i ~ (M V)_i``, ``v_i ~ (M U)_i``; a feasible a, and (P, N).

    They climb ``sum_ij M_ij u_i'v_j``, a lower bound of the least sum; the norms ``|(M V)_i|`` are
    the KKT multipliers at a fixed point, raised to be feasible. The gap is between those two.
    """
    size = len(M)
    rows = np.abs(M).sum(axis=1)
    V = np.random.default_rng(0).standard_normal((size, _MIXING_RANK))
    V /= np.linalg.norm(V, axis=1)[:, None]
    gap, value = np.inf, 0.0
    check = 8
    for step in range(1, _MIXING_STEPS + 1):
        U, norms_u = _unit_rows(M @ V)
        V, norms_v = _unit_rows(M @ U)
        rise, value = float(norms_v.sum()) - value, float(norms_v.sum())
        slow = rise < 1e-2 * tol * value
        if step in (check, _MIXING_STEPS) or slow:
            a = np.maximum(0.5 * (norms_u + norms_v), 1e-6 * np.maximum(rows, 1e-6))
            a = a * _dominance(M, a)
            gap = 1.0 - value / float(a.sum())
            if gap <= tol or slow:
                break
            check *= 2
    p, q = 0.5 * (U + V), 0.5 * (U - V)
    return a, p @ p.T, q @ q.T, gap


def _unit_rows(G: Array) -> tuple[Array, Array]:
    norms = np.linalg.norm(G, axis=1)
    unit = G / np.where(norms > 0.0, norms, 1.0)[:, None]
    unit[norms == 0.0, 0] = 1.0
    return unit, norms


def _dominance(M: Array, a: Array) -> float:
    """The least t with ``t Diag(a) - M`` and ``t Diag(a) + M`` semidefinite, rounded up."""
    root = 1.0 / np.sqrt(a)
    values = eigvalsh(root[:, None] * M * root[None, :], check_finite=False)
    return float(max(values[-1], -values[0])) * (1.0 + 4.0 * len(M) * np.finfo(np.float64).eps)


def _cold(blocks: Blocks) -> tuple[Array, Blocks]:
    """A start that is strictly diagonally dominant, and lifted where a row is tiny."""
    rows = np.abs(blocks[0]).sum(axis=1)
    share = np.eye(len(rows)) / len(blocks)
    return 1.1 * np.maximum(rows, 0.1 * float(rows.mean())), tuple(share for _ in blocks)


def _blend(a: Array, blocks: Blocks, weight: float = 0.1) -> tuple[Array, Blocks]:
    """An interior point near the mixing method's answer."""
    even = np.eye(len(a)) / len(blocks)
    lifted = np.maximum(a, 1e-3 * float(a.mean()))
    return (1.0 + weight) * lifted, tuple((1.0 - weight) * P + weight * even for P in blocks)


def _interior_point(blocks: Blocks, a: Array, primal: Blocks, tol: float) -> Array:
    """``min sum(a)`` s.t. ``Diag(a) - B >= 0`` for all blocks B.

    The primal-dual method of Helmberg, Rendl, Vanderbei, Wolkowicz (An interior-point method for
    semidefinite programming, 1996) with one more block: the primal is ``max sum <B, P>`` with
    ``diag(sum P) = 1``, restored exactly after each step so that its value is a lower bound.
    """
    size, count = len(a), len(blocks)
    slacks = _slacks(a, blocks)
    mu = 0.5 * _inner(primal, slacks) / (count * size)
    for _ in range(150):
        if float(a.sum()) - _inner(primal, blocks) <= tol * float(np.abs(a).sum()):
            break
        try:
            inverses = tuple(_inverse(S) for S in slacks)
        except np.linalg.LinAlgError:
            # So near the boundary that rounding decides: a is feasible, and as good as it gets.
            break
        hessian = np.sum([P * W for P, W in zip(primal, inverses, strict=True)], axis=0)
        centre = mu * np.sum([np.diag(W) for W in inverses], axis=0) - 1.0
        step = _solve(hessian, centre)
        changes = tuple(
            _symmetric(mu * W - P - (P * step) @ W) for P, W in zip(primal, inverses, strict=True)
        )
        length_primal = _length(primal, changes)
        length_dual = _length(slacks, (np.diag(step),) * count)
        if length_primal + length_dual == 0.0:
            break
        primal = _unit_diagonal(
            tuple(P + length_primal * D for P, D in zip(primal, changes, strict=True))
        )
        a = a + length_dual * step
        slacks = _slacks(a, blocks)
        reach = length_primal + length_dual
        mu = _inner(primal, slacks) / (count * size)
        mu *= 0.5 if reach <= 1.6 else 0.1 if reach < 1.9 else 0.03
    return a


def _slacks(a: Array, blocks: Blocks) -> Blocks:
    return tuple(np.diag(a) - B for B in blocks)


def _inner(left: Blocks, right: Blocks) -> float:
    return float(sum(np.vdot(L, R) for L, R in zip(left, right, strict=True)))


def _symmetric(D: Array) -> Array:
    return 0.5 * (D + D.T)


def _unit_diagonal(primal: Blocks) -> Blocks:
    root = 1.0 / np.sqrt(np.sum([np.diag(P) for P in primal], axis=0))
    return tuple(P * root[:, None] * root[None, :] for P in primal)


def _length(blocks: Blocks, changes: Blocks) -> float:
    """A step that keeps all blocks positive definite, the full one where that does."""
    length = 1.0
    while length > 1e-12:
        try:
            for B, D in zip(blocks, changes, strict=True):
                np.linalg.cholesky(B + length * D)
        except np.linalg.LinAlgError:
            length *= 0.8
        else:
            return length if length == 1.0 else 0.95 * length
    return 0.0


def _solve(matrix: Array, right: Array) -> Array:
    """Newton's system, equilibrated: features may differ by many orders of magnitude."""
    scale = 1.0 / np.sqrt(np.diag(matrix))
    scaled = _symmetric(matrix) * scale[:, None] * scale[None, :]
    # Without the ridge rounding alone can make a positive semidefinite matrix indefinite.
    np.fill_diagonal(scaled, 1.0 + 4.0 * len(scaled) * np.finfo(np.float64).eps)
    factor = cho_factor(scaled, check_finite=False)
    return scale * cho_solve(factor, scale * right, check_finite=False)


def _inverse(S: Array) -> Array:
    factor, lower = cho_factor(S, lower=True, check_finite=False)
    inverse, _ = dpotri(factor, lower=lower)
    return np.tril(inverse) + np.tril(inverse, -1).T
