"""The exact optimum of a neuron: depth first, at one step or over all steps s > 0.

In the triangular coordinates of ``H = R'R`` a beginning q_i..q_d costs at least
``P(s) = sum_{k>=i} (s a_k - g_k)^2``, ``a = R q``, ``g = R w``: its own part of f. At one step the
codes of a coordinate are tried from its centre outwards (C. Schnorr, M. Euchner, 1994), and a
beginning also pays what its rest costs at least by a diagonal below H (`diagonals`). Over all
steps P is a parabola in s: every beginning keeps the interval of steps at which it can still win,
and its leaves take their best step in closed form. The steps are cut into cells, so that the
interval is narrow from the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from qnn.numerics.compiled import compiled
from qnn.quantization.layers.grids import limits

Array = np.ndarray

# Relative: what is better by less is not looked for.
TOLERANCE = 1e-6
_CELL = 1.08


@dataclass(frozen=True, eq=False)
class Searched:
    """The best point found, the nodes it took, and whether the search ended: then it is proven.

    ``edges`` are the ends of the cells of steps, from 0; empty for a search at one step.
    """

    s: float
    q: Array
    nodes: int
    proven: bool
    edges: Array


def search_at(
    R: Array,
    w: Array,
    s: float,
    q: Array,
    bits: int,
    most_nodes: int,
    diagonals: Array | None = None,
) -> Searched:
    """The nearest grid point at one step, from the codes q (d,) on; all in the order of R.

    ``diagonals`` (2, d) as of `leading_diagonals`: what is undecided costs at least by them.
    """
    lo, hi = limits(bits)
    diagonal = np.diag(R)
    unit = R / diagonal[:, None]
    inverse = solve_triangular(unit, np.eye(len(w)), unit_diagonal=True)
    rest = np.zeros((2, len(w))) if diagonals is None else s * s * diagonals
    block = int(np.count_nonzero(rest[1]))
    start = float(((R @ (s * q - w)) ** 2).sum())
    found, nodes, proven = _closest(
        inverse,
        (s * diagonal) ** 2,
        w / s,
        lo,
        hi,
        start * (1.0 - TOLERANCE),
        q,
        most_nodes,
        rest,
        block,
    )
    return Searched(s, found, int(nodes), bool(proven), np.zeros(0))


@compiled()
def _closest(
    inverse: Array,
    curvature: Array,
    c: Array,
    lo: int,
    hi: int,
    best: float,
    start: Array,
    most_nodes: int,
    rest: Array,
    block: int,
) -> tuple[Array, int, bool]:
    d = len(c)
    answer = start.copy()
    q = np.zeros(d, np.int64)
    left, right = np.zeros(d, np.int64), np.zeros(d, np.int64)
    below = np.zeros(d + 1)
    # centre[i, j]: where coordinate j < i lies best, those from i on decided.
    centre = np.zeros((d + 1, d))
    centre[d] = c
    i, nodes, enter = d - 1, 0, True
    while i < d:
        middle = centre[i + 1, i]
        if enter:
            floor = int(np.floor(min(max(middle, lo - 1.0), hi + 1.0)))
            left[i], right[i] = min(floor, hi), max(floor + 1, lo)
            enter = False
        nodes += 1
        if nodes > most_nodes:
            return answer, nodes, False
        go_left = left[i] >= lo and (right[i] > hi or middle - left[i] <= right[i] - middle)
        if not go_left and right[i] > hi:
            i += 1
            continue
        k = left[i] if go_left else right[i]
        cost = below[i + 1] + curvature[i] * (k - middle) ** 2
        if cost >= best:
            # All others of this coordinate cost more still.
            i += 1
            continue
        if go_left:
            left[i] -= 1
        else:
            right[i] += 1
        q[i] = k
        if i == 0:
            best = cost * (1.0 - 1e-12)
            for j in range(d):
                answer[j] = q[j]
            continue
        row = 1 if i <= block else 0
        more = 0.0
        for j in range(i):
            centre[i, j] = centre[i + 1, j] + inverse[j, i] * (k - middle)
            near = min(max(np.rint(centre[i, j]), lo), hi)
            more += rest[row, j] * (centre[i, j] - near) ** 2
        if cost + more >= best:
            continue
        below[i] = cost
        i -= 1
        enter = True
    return answer, nodes, True


def search_over_steps(
    R: Array, w: Array, s: float, q: Array, bits: int, most_nodes: int
) -> Searched:
    """The best grid point over all steps s > 0, from the pair (s, q) on; all in the order of R."""
    start = float(((R @ (s * q - w)) ** 2).sum())
    edges = step_edges(R, w, s, start)
    g = R @ w
    best, answer, step, nodes, proven = start * (1.0 - TOLERANCE), q, s, 0, True
    # The cells near the step first: what they find shortens the rest.
    cells = sorted(range(len(edges) - 1), key=lambda k: abs(edges[k] - s))
    lo, hi = limits(bits)
    for k in cells:
        best, answer, step, used, proven = _best_in_cell(
            R, g, lo, hi, edges[k], edges[k + 1], best, answer, step, most_nodes - nodes
        )
        nodes += int(used)
        if not proven:
            break
    return Searched(float(step), answer, nodes, bool(proven), edges)


def step_edges(R: Array, w: Array, s: float, value: float) -> Array:
    """Ends of cells that cover all steps but those so large that only q = 0 could be good."""
    g = R @ w
    last = 1.01 * float(((np.abs(g) + np.sqrt(value)) / np.diag(R)).max())
    low, high = 0.2 * s, 2.0 * s
    near = np.geomspace(low, high, int(np.ceil(np.log(high / low) / np.log(_CELL))) + 1)
    far = []
    while high < last:
        high = min(1.5 * high, last)
        far.append(high)
    return np.concatenate([[0.0], near, far])


@compiled()
def _best_in_cell(
    R: Array,
    g: Array,
    lo: int,
    hi: int,
    first: float,
    last: float,
    best: float,
    start: Array,
    step: float,
    most_nodes: int,
) -> tuple[float, Array, float, int, bool]:
    d = len(g)
    answer = start.copy()
    q = np.zeros(d, np.int64)
    width = hi - lo + 1
    value = np.zeros((d, width))
    square, product, constant = np.zeros(d + 1), np.zeros(d + 1), np.zeros(d + 1)
    low, high = np.full(d + 1, first), np.full(d + 1, last)
    inner = np.zeros(d)
    sums = np.zeros((d, d + 1))
    stale = np.full(d, d - 1)
    i, nodes, enter = d - 1, 0, True
    while i < d:
        if enter:
            for j in range(stale[i], i, -1):
                sums[i, j] = sums[i, j + 1] + R[i, j] * q[j]
            if i > 0:
                stale[i - 1] = max(stale[i - 1], stale[i])
            stale[i] = i + 1 if i + 1 < d else d - 1
            inner[i] = sums[i, i + 1]
            constant[i] = constant[i + 1] + g[i] * g[i]
            for t in range(width):
                a = inner[i] + R[i, i] * (lo + t)
                alpha = square[i + 1] + a * a
                beta = product[i + 1] + a * g[i]
                at = beta / alpha if alpha > 0.0 else low[i + 1]
                at = min(max(at, low[i + 1]), high[i + 1])
                value[i, t] = (alpha * at - 2.0 * beta) * at + constant[i]
            enter = False
        t = int(np.argmin(value[i]))
        nodes += 1
        if nodes > most_nodes:
            return best, answer, step, nodes, False
        if value[i, t] >= best:
            i += 1
            continue
        value[i, t] = np.inf
        q[i] = lo + t
        a = inner[i] + R[i, i] * q[i]
        alpha = square[i + 1] + a * a
        beta = product[i + 1] + a * g[i]
        if i == 0:
            if alpha > 0.0 and beta > 0.0:
                found = constant[0] - beta * beta / alpha
                if found < best:
                    best = found * (1.0 - 1e-12)
                    step = beta / alpha
                    for j in range(d):
                        answer[j] = q[j]
            continue
        square[i], product[i] = alpha, beta
        low[i], high[i] = low[i + 1], high[i + 1]
        if alpha > 0.0:
            root = np.sqrt(max(beta * beta - alpha * (constant[i] - best), 0.0))
            low[i] = max(low[i], (beta - root) / alpha * (1.0 - 1e-9))
            high[i] = min(high[i], (beta + root) / alpha * (1.0 + 1e-9))
        stale[i - 1] = max(stale[i - 1], i)
        i -= 1
        enter = True
    return best, answer, step, nodes, True
