"""A dual point moved to where its slacks vanish on the primal's face, which repairs it well.

At an optimum each slack ``Diag(a) - s M(nu)`` vanishes on the range U of its multiplier, so that
what a near dual point lacks is first of all ``U' (Diag(a) - s M(nu)) U = 0``: linear equations in
nu and a, some r^2 / 2 of them a side. Their nearest solution leaves violations that are of second
order in the distance to the optimum (the Schur complement of the vanishing block), where
the even shift of the diagonals, or the best one at the same nu, pays for those of first order.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import get_blas_funcs, lapack

from qnn.networks.activations.lift import Lift
from qnn.numerics.compiled import compiled
from qnn.semidefinite.coordinates import smat, svec
from qnn.training.relaxation.admm.ridge import Ridge
from qnn.training.relaxation.scaling import ScaledProblem

Array = np.ndarray
Dual = tuple[Array, Array, tuple[Array, ...]]

#: relative to the equations' mean size: where they contradict each other, or hardly depend on nu
_RIDGE = 1e-6
#: equations beyond which they may be a quarter as many as the linear step's: for memory
_MANY = 600
_ROWS = 256


def onto_face(
    scaled: ScaledProblem, ridge: Ridge, factors: tuple[Array, Array], dual: Dual
) -> Dual | None:
    """The dual point ``(nu, M(nu), diagonals)`` moved; None where there is no face to move it to.

    ridge: the linear step, whose precision serves for products and whose order for a limit of the
    equations' number. factors (D, r) of the primal's P and N, their columns orthogonal. Rows move
    as their conjugate's curvature lets them, and not where nu is at an end of its domain; sums of
    diagonals stay.
    """
    nu, M, diagonals = dual
    lift = ridge.lift
    bases = [_basis(factor) for factor in factors]
    sizes = [U.shape[1] * (U.shape[1] + 1) // 2 for U in bases]
    mobility = _mobility(scaled, nu)
    most = min(max(_MANY, ridge.order // 4), np.count_nonzero(mobility))
    if not 0 < sum(sizes) <= most:
        return None
    sides = zip(lift.sides(diagonals), bases, strict=True)
    blocks = [svec(U.T @ (a[:, None] * U - sign * (M @ U)), True) for (a, sign), U in sides]
    K = _gram(lift, bases, sizes, mobility)
    K.flat[:: len(K) + 1] += _RIDGE * K.trace() / len(K)
    _, x, info = lapack.dposv(K, np.concatenate(blocks), lower=1, overwrite_a=1)
    if info != 0:
        return None
    P, N = (
        U @ smat(own, U.shape[1], True) @ U.T
        for U, own in zip(bases, np.split(x, sizes[:1]), strict=True)
    )
    nu = scaled.loss.clip_dual(nu + mobility * scaled.lift.apply(P - N), scaled.y)
    steps = (
        sum((block.diagonal() for block in group), np.zeros(lift.size))
        for group in lift.groups(P, N)
    )
    moved = tuple(a - step + step.mean() for a, step in zip(diagonals, steps, strict=True))
    return nu, scaled.lift.adjoint(nu), moved


def _basis(factor: Array) -> Array:
    """Orthonormal columns from orthogonal ones, (D, r)."""
    norms = np.sqrt(np.einsum("ij,ij->j", factor, factor))
    return np.asarray(factor[:, norms > 0.0] / norms[norms > 0.0])


def _mobility(scaled: ScaledProblem, nu: Array) -> Array:
    """The inverse of the conjugate's curvature, (n,); 1 where it is linear, 0 where it ends."""
    loss, y = scaled.loss, scaled.y
    if loss.quadratic:
        return np.ones(len(nu))
    far = np.full(len(nu), np.inf)
    inside = (nu > loss.clip_dual(-far, y)) & (nu < loss.clip_dual(far, y))
    mobility = inside.astype(np.float64)
    if loss.has_dual_slopes and not loss.piecewise_linear:
        with np.errstate(divide="ignore", invalid="ignore"):
            mobility[inside] = -1.0 / loss.dual_slopes(nu, y)[1][inside]
    return mobility


def _gram(lift: Lift, bases: list[Array], sizes: list[int], mobility: Array) -> Array:
    """The equations' matrix (m, m), for moves in the metric of the mobility (n,).

    An equation's row is ``s u_i' A_k u_j`` for each nu_k, and for the diagonal ``u_i o u_j`` less
    its mean.
    """
    m, dtype = sum(sizes), lift.features.dtype
    parts = slice(sizes[0]), slice(sizes[0], m)
    (syrk,) = get_blas_funcs(("syrk",), dtype=dtype)
    forms = [
        (weight, [(factor[:, None] * U).T.astype(dtype) for U in bases])
        for weight, factor in _squares(lift)
    ]
    root = np.sqrt(np.sqrt(mobility)).astype(dtype)[:, None]
    K = np.zeros((m, m), dtype, order="F")
    for start in range(0, len(root), _ROWS):
        block = slice(start, start + _ROWS)
        features = (lift.features[block] * root[block]).T
        rows = np.zeros((m, features.shape[1]), dtype)
        for weight, sides in forms:
            for side, part, sign in zip(sides, parts, (weight, -weight), strict=True):
                add_products(side @ features, dtype.type(sign), rows[part])
        K = syrk(1.0, rows.T, beta=1.0, c=K, trans=1, lower=1, overwrite_c=1)
    for group in lift.groups(0, 1):
        shifts = np.zeros((m, lift.size), dtype)
        for side in group:
            columns = np.ascontiguousarray(bases[side].T, dtype)
            add_products(columns, dtype.type(1.0), shifts[parts[side]])
        shifts -= shifts.mean(axis=1, keepdims=True)
        K = syrk(1.0, shifts.T, beta=1.0, c=K, trans=1, lower=1, overwrite_c=1)
    return np.asarray(K.astype(np.float64))


def _squares(lift: Lift) -> list[tuple[float, Array]]:
    """``u' A_k v = sum w (t o f_k)'u (t o f_k)'v``: the pairs (w, t) for these features f_k."""
    size, template = lift.size, lift.template
    if template is None:
        return [(1.0, np.ones(size))]
    corner = [[template[0, 0], template[0, -1]], [template[-1, 0], template[-1, -1]]]
    weights, vectors = np.linalg.eigh(np.array(corner, np.float64))
    return [
        (float(weight), np.append(np.full(size - 1, head), last))
        for weight, (head, last) in zip(weights, vectors.T, strict=True)
    ]


@compiled(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def add_products(hidden: Array, weight: float, out: Array) -> None:
    """Add the products of all pairs of rows of hidden (r, n) to out (r (r + 1) / 2, n).

    In the order and with the factors of `svec`, of a form; those and the weight multiply them.
    """
    r, n = hidden.shape
    double = weight * hidden.dtype.type(np.sqrt(2.0))
    at = r
    for i in range(r):
        for k in range(n):
            out[i, k] += weight * hidden[i, k] * hidden[i, k]
        for j in range(i + 1, r):
            for k in range(n):
                out[at, k] += double * hidden[i, k] * hidden[j, k]
            at += 1
