"""The checker's own search: no code of the grid comes below a value. It shares no maker's code.

With R upper triangular and ``H - R'R >= 0``, ``f(s, q) >= |R (s q - w)|^2``, a sum of squares that
grows as q is decided from its last coordinate to its first. A beginning whose part reaches the
value is left out with all its ends; if no full q is left, the value is proven.

Rounding: row i of ``R (s q - w)`` sums at most d products of three roundings, so the vector is off
by at most ``tau = |gamma_{2d+20} |R| (s Q + |w|)|``, Q the largest code, and it suffices that the
computed part reaches ``(sqrt(value) + tau)^2``, but for the relative rounding of the sum. Over a
cell [first, last] of steps the part is a parabola in s: ``alpha s^2 - 2 beta s + delta`` with
``beta^2 <= alpha delta``; its rounding at a step up to last is at most
``gamma_{8d+80} (alpha last^2 + delta)``, which is added to what must be reached.

At one step, what the first k coordinates must still cost is bounded too. Let U be R with rows
scaled to a diagonal of 1, V its inverse as computed, and ``delta_l = z_l - v_l`` for decided
coordinates of z = s q - w, where ``v_j = sum_l V_jl delta_l`` as computed. Then
``R z = R_k (z - v) + r`` in the first k rows, where R_k is their square part and
``|r| <= diag(R) (|U V - I| + gamma_{3d} |U| |V|) |delta|``: v is where they lie best, but for that.
With ``R_k'R_k - Diag(D) >= 0``, proven once, they cost at least
``(sqrt(sum_i D_i (z_i - v_i)^2) - |r|)^2``, whatever v is; codes lie no nearer than the nearest.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from qnn.certificates.slack import prove_semidefinite
from qnn.errors import CertificateError
from qnn.numerics.compiled import compiled
from qnn.numerics.floating import TINY, gamma

Array = np.ndarray

# Within these no product under- or overflows in a way that matters.
_SMALL, _LARGE = 1e-50, 1e50


def prove_at(
    R: Array,
    w: Array,
    s: float,
    lo: int,
    hi: int,
    bound: float,
    most_nodes: int,
    margin: float,
    rest: tuple[Array, Array] | None = None,
) -> int:
    """Prove ``f(s, q) >= bound`` for all codes; R and w in one order. Returns the nodes it took.

    ``rest``: two rows (d,), each minus a diagonal below s^2 R'R, or below a leading block of it.
    """
    if bound <= 0.0:
        return 0
    _check_ranges(R, w, np.array([s]), bound)
    reach = _reach(R, w, s, lo, hi, bound, margin)
    D, blocks = _diagonals(R, s, rest, margin)
    V, loss, steepest = _inverted(R, reach, margin)
    if not loss < _LARGE:
        blocks[:] = 0
    # The two errors are those of parts of one vector.
    far = (reach**0.5 + loss) ** 2 * (1.0 + margin * gamma(4 * len(w) + 50))
    found, nodes = _search_at(R, w, s, lo, hi, reach, most_nodes, V, D, blocks, far, steepest)
    _judge(int(found), int(nodes), most_nodes)
    return int(nodes)


def _diagonals(
    R: Array, s: float, rest: tuple[Array, Array] | None, margin: float
) -> tuple[Array, Array]:
    """Diagonals D (2, d) in the units of R'R, each proven below its leading block; their sizes."""
    D, blocks = np.zeros((2, len(R))), np.zeros(2, np.int64)
    for k, row in enumerate(rest or ()):
        if not row.any():
            continue
        size = int(np.flatnonzero(row)[-1]) + 1
        values = -row[:size] / (s * s)
        if not (np.isfinite(values).all() and values.min() >= 0.0 and values.max() < _LARGE):
            raise CertificateError("a diagonal of a search must be finite and of one sign")
        part = R[:size, :size]
        errors = gamma(2 * size + 20) * (np.abs(part).T @ np.abs(part).sum(axis=1)) + size * TINY
        prove_semidefinite(-values, part.T @ part, margin * errors, margin)
        D[k, :size], blocks[k] = values, size
    return D, blocks


def _inverted(R: Array, reach: float, margin: float) -> tuple[Array, float, float]:
    """V (d, d); the bound of |r| while ``R_ll |delta_l|`` stays below a limit, and this limit."""
    d = len(R)
    diagonal = np.diag(R)
    U = R / diagonal[:, None]
    V = np.triu(np.linalg.solve(U, np.eye(d)), 1) + np.eye(d)
    size = np.abs(U) @ np.abs(V)
    error = np.abs(U @ V - np.eye(d)) + margin * gamma(8 * d + 40) * size
    limit = 4.0 * reach**0.5
    loss = 1.01 * float(np.linalg.norm(diagonal * (error @ (limit / diagonal))))
    return np.ascontiguousarray(V), loss, limit


def prove_over(
    R: Array,
    w: Array,
    edges: Array,
    lo: int,
    hi: int,
    bound: float,
    most_nodes: int,
    margin: float,
) -> int:
    """Prove ``f(s, q) >= bound`` for all codes and steps s > 0; ``edges`` cut them into cells."""
    if bound <= 0.0:
        return 0
    if not (len(edges) >= 2 and edges[0] == 0.0 and (np.diff(edges) > 0.0).all()):
        raise CertificateError("the cells of steps do not cover them")
    _check_ranges(R, w, edges[1:], bound)
    g = R @ w
    _prove_beyond(R, w, g, float(edges[-1]), bound, margin)
    nodes = 0
    for first, last in pairwise(edges):
        reach = _reach(R, w, float(last), lo, hi, bound, margin)
        slack = margin * gamma(8 * len(w) + 80)
        found, used = _search_cell(
            R, g, float(first), float(last), lo, hi, reach, slack, most_nodes - nodes
        )
        nodes += int(used)
        _judge(int(found), nodes, most_nodes)
    return nodes


def _check_ranges(R: Array, w: Array, steps: Array, bound: float) -> None:
    diagonal, width = np.diag(R), float(np.abs(R).max())
    good = diagonal.min() > _SMALL and width < _LARGE and float(np.abs(w).max()) < _LARGE
    good = good and steps.min() > _SMALL and steps.max() < _LARGE and bound > _SMALL**2
    if not good:
        raise CertificateError("its numbers are too large or too small for the search's arithmetic")


def _judge(found: int, nodes: int, most_nodes: int) -> None:
    if found:
        raise CertificateError("some codes are not proven to cost as much as the bound")
    if nodes > most_nodes:
        raise CertificateError("its search takes far more nodes than it states")


def _reach(R: Array, w: Array, s: float, lo: int, hi: int, bound: float, margin: float) -> float:
    """What a computed sum of squares must reach at steps up to s."""
    d = len(w)
    sizes = np.abs(R) @ (s * max(-lo, hi) + np.abs(w))
    tau = 1.01 * margin * gamma(2 * d + 20) * float(np.linalg.norm(sizes))
    reach = (bound**0.5 + tau) ** 2
    return reach * (1.0 + margin * gamma(4 * d + 50))


def _prove_beyond(R: Array, w: Array, g: Array, last: float, bound: float, margin: float) -> None:
    """Beyond the last cell: the first nonzero code costs enough by itself, and so does q = 0."""
    sizes = np.abs(R) @ np.abs(w)
    off = 1.01 * margin * gamma(2 * len(w) + 20) * sizes
    root = bound**0.5 * (1.0 + 1e-12)
    far = last * np.diag(R) * (1.0 - 1e-12) >= np.abs(g) + off + root
    rest = float(np.linalg.norm(np.maximum(np.abs(g) - off, 0.0)))
    if not (far.all() and rest * (1.0 - margin * gamma(2 * len(w) + 20)) >= root):
        raise CertificateError("steps beyond the last cell are not proven to cost as much")


@compiled()
def _search_at(
    R: Array,
    w: Array,
    s: float,
    lo: int,
    hi: int,
    reach: float,
    most_nodes: int,
    V: Array,
    D: Array,
    blocks: Array,
    far: float,
    steepest: float,
) -> tuple[bool, int]:
    d = len(w)
    z = np.zeros(d)
    part, base = np.zeros(d + 1), np.zeros(d)
    code, last = np.zeros(d, np.int64), np.zeros(d, np.int64)
    # Row i: where the coordinates before i lie best; straight[i]: no delta from i on is too large.
    v = np.zeros((d + 1, d))
    straight = np.ones(d + 1, np.bool_)
    level, nodes = d - 1, 0
    fresh = True
    while level < d:
        if fresh:
            total = 0.0
            for j in range(level + 1, d):
                total += R[level, j] * z[j]
            base[level] = total
            # A window of codes, one thousandth wider than the reach; all where that is not certain.
            centre = (w[level] - total / R[level, level]) / s
            wide = np.sqrt(max(reach - part[level + 1], 0.0)) / (R[level, level] * s) + 1e-3
            code[level], last[level] = lo, hi
            if abs(centre) + wide < 1e6:
                code[level] = max(lo, int(np.ceil(centre - wide)))
                last[level] = min(hi, int(np.floor(centre + wide)))
            fresh = False
        if code[level] > last[level]:
            level += 1
            continue
        nodes += 1
        if nodes > most_nodes:
            return False, nodes
        z[level] = s * code[level] - w[level]
        code[level] += 1
        term = base[level] + R[level, level] * z[level]
        total = part[level + 1] + term * term
        if total >= reach:
            continue
        if level == 0:
            return True, nodes
        if blocks.any():
            delta = z[level] - v[level + 1, level]
            straight[level] = straight[level + 1] and abs(delta) * R[level, level] <= steepest
            for i in range(level):
                v[level, i] = v[level + 1, i] + V[i, level] * delta
            row = 1 if level <= blocks[1] else 0
            if straight[level] and level <= blocks[row]:
                more = _least(D[row], w, v[level], s, lo, hi, level)
                if total + more >= far:
                    continue
        part[level] = total
        level -= 1
        fresh = True
    return False, nodes


@compiled()
def _least(D: Array, w: Array, v: Array, s: float, lo: int, hi: int, count: int) -> float:
    """At most ``sum_i D_i (s q_i - w_i - v_i)^2`` over all codes of the first coordinates."""
    total = 0.0
    for i in range(count):
        target = w[i] + v[i]
        near = s * min(max(np.rint(target / s), lo), hi)
        slack = 1e-12 * (abs(near) + abs(w[i]) + abs(v[i]))
        total += D[i] * max(abs(near - target) - slack, 0.0) ** 2
    return total * (1.0 - 1e-11)


@compiled()
def _search_cell(
    R: Array,
    g: Array,
    first: float,
    last: float,
    lo: int,
    hi: int,
    reach: float,
    slack: float,
    most_nodes: int,
) -> tuple[bool, int]:
    d = len(g)
    q = np.zeros(d)
    code = np.zeros(d, np.int64)
    alpha, beta, delta = np.zeros(d + 1), np.zeros(d + 1), np.zeros(d + 1)
    low, high = np.full(d + 1, first), np.full(d + 1, last)
    base = np.zeros(d)
    level, nodes = d - 1, 0
    fresh = True
    while level < d:
        if fresh:
            total = 0.0
            for j in range(level + 1, d):
                total += R[level, j] * q[j]
            base[level] = total
            delta[level] = delta[level + 1] + g[level] * g[level]
            code[level] = lo
            fresh = False
        if code[level] > hi:
            level += 1
            continue
        nodes += 1
        if nodes > most_nodes:
            return False, nodes
        q[level] = code[level]
        code[level] += 1
        a = base[level] + R[level, level] * q[level]
        square = alpha[level + 1] + a * a
        product = beta[level + 1] + a * g[level]
        limit = reach + slack * (square * last * last + delta[level])
        from_, to = low[level + 1], high[level + 1]
        if square == 0.0:
            if delta[level] >= limit:
                continue
        else:
            inner = product * product - square * (delta[level] - limit)
            if inner < 0.0:
                continue
            root = np.sqrt(inner)
            left, right = (product - root) / square, (product + root) / square
            from_ = max(from_, left - 1e-9 * abs(left))
            to = min(to, right + 1e-9 * abs(right))
            if from_ > to:
                continue
        if level == 0:
            return True, nodes
        alpha[level], beta[level] = square, product
        low[level], high[level] = from_, to
        level -= 1
        fresh = True
    return False, nodes
