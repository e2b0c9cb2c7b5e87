"""The nearest point of a grid: GPTQ, K-best sphere decoding, and exact descent by coordinates.

With ``H = R'R``, R upper triangular, ``f = sum_i (R_ii (q_i - centre_i))^2 s^2``, where the centre
of coordinate i depends on those after it. Deciding them from the last to the first, each at its
nearest code, is GPTQ (E. Frantar et al., 2023; J. Chen et al., 2025: Babai's algorithm); keeping
the K cheapest beginnings is K-best sphere decoding (Z. Guo, P. Nilsson, 2006). The order in which
coordinates are decided matters: V-BLAST's (P. Wolniansky et al., 1998) begins with the one of the
largest conditional curvature.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from qnn.numerics.compiled import compiled
from qnn.quantization.layers.beams import decoded_alone, decoded_in_blocks
from qnn.quantization.layers.grids import Best, Codes, limits, refit_steps, round_searched

Array = np.ndarray

# Beyond so many inputs neurons are decoded together, in blocks of coordinates.
_FEW = 256
SCALES = np.geomspace(0.6, 1.8, 16)
# Around the best of these, which lie 8 % apart.
_FINER = np.linspace(0.94, 1.06, 8)
_NEARBY = (0.94, 1.0, 1.06)
_SMALL_BEAM, BEAM = 16, 128
_ROUNDS = 20


def factor_in_order(H: Array, order: Array) -> Array:
    """R, upper triangular, with ``R'R`` the matrix H in this order."""
    factor: Array = cholesky(H[np.ix_(order, order)], check_finite=False)
    return factor


def vblast_order(H: Array) -> Array:
    """V-BLAST's order of coordinates, which are decided from its last to its first.

    Always the one of the largest curvature given those that are not decided yet.
    """
    factor = cholesky(H, lower=True, check_finite=False)
    half = solve_triangular(factor, np.eye(len(H)), lower=True, check_finite=False)
    return np.asarray(_eliminated(half.T @ half)[::-1].copy())


@compiled()
def _eliminated(inverse: Array) -> Array:
    """Again and again the index of the smallest diagonal entry, which is then taken out."""
    d = len(inverse)
    order = np.empty(d, np.int64)
    alive = np.ones(d, np.bool_)
    for turn in range(d):
        j, least = -1, np.inf
        for i in range(d):
            if alive[i] and inverse[i, i] < least:
                j, least = i, inverse[i, i]
        if j < 0:
            # Rounding left no positive entry: any order is allowed.
            j = int(np.argmax(alive))
        order[turn] = j
        alive[j] = False
        if least < np.inf and least > 0.0:
            for i in range(d):
                if alive[i]:
                    ratio = inverse[i, j] / least
                    for k in range(d):
                        inverse[i, k] -= ratio * inverse[j, k]
    return order


def gptq(H: Array, W: Array, bits: int) -> Codes:
    """One greedy pass in the order of falling diagonal entries, at the searched steps."""
    s = round_searched(H, W, bits).s
    order = np.argsort(np.diag(H), kind="stable")
    return _decoded(factor_in_order(H, order), order, W, s, bits, 1)


def descent(H: Array, W: Array, bits: int) -> Codes:
    """GPTQ, then exact descent by coordinates and steps."""
    return descended(H, W, gptq(H, W, bits), bits)


def kbest(
    H: Array,
    W: Array,
    bits: int,
    beam: int = BEAM,
    progress: Callable[[float], None] = lambda share: None,
) -> Codes:
    """K-best sphere decoding over 16 steps, 8 near the best, then a wide beam there, and descent.

    Never worse than round to nearest, GPTQ or descent, neuron by neuron: these are where it starts.
    progress is told the share of the beams that is done.
    """
    start = descent(H, W, bits)
    best = Best.of(start, H, W)
    order = vblast_order(H)
    R = factor_in_order(H, order)
    few = min(_SMALL_BEAM, beam)
    done, work = 0, few * (len(SCALES) + len(_FINER)) + beam
    for fractions in (SCALES, _FINER):
        centre = start.s if fractions is SCALES else best.codes.s
        for fraction in fractions:
            tried = _decoded(R, order, W, fraction * centre, bits, few)
            best.take(descended(H, W, tried, bits, 3))
            done += few
            progress(done / work)
    tried = _decoded(R, order, W, best.codes.s, bits, beam)
    best.take(descended(H, W, tried, bits))
    return best.codes


def kbest_at(H: Array, W: Array, s: Array, bits: int, beam: int = BEAM) -> Codes:
    """K-best sphere decoding at given steps s (m,)."""
    order = vblast_order(H)
    return _decoded(factor_in_order(H, order), order, W, s, bits, beam)


def nearby(H: Array, W: Array, codes: Codes, bits: int, beam: int) -> Codes:
    """From given codes: descent, then sphere decoding at three steps near theirs, and descent.

    Never worse than they are; steps rounded to 32 bits, as in the file, where they are new.
    """
    best = Best.of(descended(H, W, codes, bits), H, W)
    order = vblast_order(H)
    R = factor_in_order(H, order)
    s = best.codes.s
    for fraction in _NEARBY:
        best.take(descended(H, W, _decoded(R, order, W, fraction * s, bits, beam), bits))
    rounded = best.codes.s.astype(np.float32).astype(np.float64)
    return codes.better(Codes(rounded, best.codes.q), H, W)


def _decoded(R: Array, order: Array, W: Array, s: Array, bits: int, beam: int) -> Codes:
    lo, hi = limits(bits)
    diagonal = np.diag(R).copy()
    unit = R / diagonal[:, None]
    q = np.empty(W.shape, np.int8)
    if len(R) > _FEW:
        centres = W[:, order] / s[:, None]
        q[:, order] = decoded_in_blocks(unit, diagonal**2, centres, lo, hi, beam)
        return Codes(s.copy(), q)
    for j, (w, step) in enumerate(zip(W, s, strict=True)):
        q[j, order] = decoded_alone(unit, diagonal**2, w[order] / step, lo, hi, beam)
    return Codes(s.copy(), q)


def descended(H: Array, W: Array, codes: Codes, bits: int, rounds: int = _ROUNDS) -> Codes:
    """Exact minimization by single codes and by the step, in turn, until nothing changes."""
    lo, hi = limits(bits)
    q, s = codes.q.copy(), codes.s.copy()
    active = np.arange(len(W))
    for _ in range(rounds):
        slopes = (s[active, None] * q[active] - W[active]) @ H
        pairs = zip(active, slopes, strict=True)
        moved = np.array([_one_round(H, slope, s[j], q[j], lo, hi) for j, slope in pairs])
        fitted = refit_steps(H, W[active], Codes(s[active], q[active]))
        s[active] = fitted.s
        active = active[moved > 0]
        if not len(active):
            break
    return codes.better(Codes(s, q), H, W)


@compiled()
def _one_round(H: Array, gradient: Array, s: float, q: Array, lo: int, hi: int) -> int:
    """Every code once to its best value, the others fixed; how many changed.

    gradient (d,): ``H (s q - w)``, which changes with the codes.
    """
    d = len(q)
    moved = 0
    for i in range(d):
        wanted = np.rint(q[i] - gradient[i] / (s * H[i, i]))
        new = int(min(max(wanted, lo), hi))
        change = new - q[i]
        if change != 0:
            moved += 1
            q[i] = new
            for j in range(d):
                gradient[j] += s * change * H[i, j]
    return moved
