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
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from qnn.errors import CertificateError
from qnn.numerics.compiled import compiled
from qnn.numerics.floating import gamma

Array = np.ndarray

# Within these no product under- or overflows in a way that matters.
_SMALL, _LARGE = 1e-50, 1e50


def prove_at(
    R: Array, w: Array, s: float, lo: int, hi: int, bound: float, most_nodes: int, margin: float
) -> int:
    """Prove ``f(s, q) >= bound`` for all codes; R and w in one order. Returns the nodes it took."""
    if bound <= 0.0:
        return 0
    _check_ranges(R, w, np.array([s]), bound)
    reach = _reach(R, w, s, lo, hi, bound, margin)
    found, nodes = _search_at(R, w, s, lo, hi, reach, most_nodes)
    _judge(int(found), int(nodes), most_nodes)
    return int(nodes)


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
    R: Array, w: Array, s: float, lo: int, hi: int, reach: float, most_nodes: int
) -> tuple[bool, int]:
    d = len(w)
    z = np.zeros(d)
    part, base = np.zeros(d + 1), np.zeros(d)
    code, last = np.zeros(d, np.int64), np.zeros(d, np.int64)
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
        part[level] = total
        level -= 1
        fresh = True
    return False, nodes


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
