"""Networks of few columns by simulated annealing on single bits, in the space of the products.

Outputs of bilinear neurons are combinations of the `p = d(d+1)/2` products of two columns. Where
there are fewer of them than rows, a QR factorization turns the rows into p numbers, exactly, for
the squared loss: a move costs three sums of p terms instead of passes over all rows (on Pima, 45
instead of 512). There, with few bits in all, annealing reaches lower minima than descents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from qnn.numerics.compiled import compiled
from qnn.training.problems.problem import Problem

# Runs, moves in each, and batches of moves at one temperature.
RUNS, MOVES, BATCHES = 8, 1_000_000, 50
# The first and last temperature, in units of the mean rise of a bad move at the start.
FIRST, LAST = 1.0, 1e-3
# With more bits than this the descents are better.
BITS = 500
# Rows that are factored at once.
ROWS = 4096


def closed_form(problem: Problem) -> bool:
    """Whether a bit's flip with the neuron's best α has a closed form, `exchange`."""
    return problem.loss.quadratic and problem.activation.pairs and problem.alphabet.signs


def can_anneal(problem: Problem, width: int) -> bool:
    """Whether moves have a closed form, and there are few bits and far fewer products than rows."""
    few = 2 * problem.d * width <= BITS and problem.d * (problem.d + 1) <= problem.n
    return few and closed_form(problem)


def annealed(
    problem: Problem, width: int, rng: np.random.Generator, deadline: float | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Networks of `width` neurons, one a run: signs W (2, d, width) and alpha (width,).

    `deadline` (`time.monotonic`) ends it; a run that it cuts is not returned. The problem is one
    that `can_anneal`.
    """
    Q, y = compress(problem)
    for _ in range(RUNS):
        U, V = rng.choice([-1.0, 1.0], (2, width, problem.d))
        # The zero network: the first moves, at temperature 0, give α to those that gain by it.
        alpha, scale = np.zeros(width), 0.0
        for batch in range(BATCHES):
            if deadline is not None and time.monotonic() > deadline:
                return
            temperature = scale * FIRST * (LAST / FIRST) ** (batch / BATCHES)
            # Afresh each time: the sums that the moves update drift.
            left, right = (np.einsum("mj,ijp->mip", side, Q) for side in (V, U))
            H = np.einsum("mi,mip->mp", U, left)
            rest = y - alpha @ H
            rise = anneal_products(
                *(Q, U, V, left, right, H, alpha, rest),
                problem.budget,
                temperature,
                MOVES // BATCHES,
                rng,
            )
            scale = scale or rise
        yield np.stack([U.T, V.T]), alpha


def compress(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Q (d, d, p) and y (p,) with `‖y − Σ_ij Z_ij Q_ij‖²` the squared error, p = d(d+1)/2 + 1."""
    i, j = np.triu_indices(problem.d)
    R = np.empty((0, len(i) + 1))
    for start in range(0, problem.n, ROWS):
        X, y = problem.X[start : start + ROWS], problem.y[start : start + ROWS]
        block = np.column_stack([X[:, i] * X[:, j], y])
        if problem.weights is not None:
            block *= np.sqrt(problem.weights[start : start + ROWS, None])
        R = np.asarray(np.linalg.qr(np.vstack([R, block]), mode="r"))
    Q = np.empty((problem.d, problem.d, len(R)))
    Q[i, j] = Q[j, i] = R[:, :-1].T
    return Q, R[:, -1].copy()


@compiled(inline="always")
def exchange(
    a: float, oo: float, o_r: float, hh: float, hr: float, penalty: float
) -> tuple[float, float]:
    """The best α of a neuron h in the place of a·o, and what that adds to the objective.

    With r what is left without either: oo = o'o, o_r = o'r, hh = h'h, hr = h'r. The best α is a
    soft threshold.
    """
    size = abs(hr) - penalty
    b = np.sign(hr) * size / hh if size > 0.0 and hh > 0.0 else 0.0
    before = 0.5 * a * a * oo - a * o_r + penalty * abs(a)
    after = 0.5 * b * b * hh - b * hr + penalty * abs(b)
    return b, after - before


@compiled(nogil=True, fastmath=True)
def anneal_products(
    Q: np.ndarray,
    U: np.ndarray,
    V: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    H: np.ndarray,
    alpha: np.ndarray,
    rest: np.ndarray,
    penalty: float,
    temperature: float,
    moves: int,
    rng: np.random.Generator,
) -> float:
    """`moves` proposals in place: a bit flips, its neuron's α becomes the best for the others.

    U, V (m, d) signs; left (m, d, p) = Σ_j v_j Q_ij, right (m, d, p) = Σ_i u_i Q_ij, H (m, p) the
    neurons, alpha (m,), rest (p,) = y − Σ αH. A proposal is taken where it lowers `½‖rest‖² +
    penalty Σ|α|`, or with probability `exp(−rise/temperature)`. Returns the mean rise of
    those that rise.
    """
    m, d = U.shape
    p = len(rest)
    total, count = 0.0, 0
    for _ in range(moves):
        k, i = int(m * rng.random()), int(d * rng.random())
        of_u = rng.random() < 0.5
        signs = U[k] if of_u else V[k]
        along = left[k, i] if of_u else right[k, i]
        h, a, step = H[k], alpha[k], -2.0 * signs[i]
        # r: what is left without this neuron.
        hh, hr, gg, gr = 0.0, 0.0, 0.0, 0.0
        for c in range(p):
            old, r = h[c], rest[c] + a * h[c]
            new = old + step * along[c]
            hh += old * old
            hr += old * r
            gg += new * new
            gr += new * r
        b, rise = exchange(a, hh, hr, gg, gr, penalty)
        if rise > 0.0:
            total += rise
            count += 1
        if rise <= 0.0 or (temperature > 0.0 and rng.random() < np.exp(-rise / temperature)):
            for c in range(p):
                old = h[c]
                h[c] += step * along[c]
                rest[c] += a * old - b * h[c]
            signs[i] = -signs[i]
            alpha[k] = b
            others = right[k] if of_u else left[k]
            for j in range(d):
                for c in range(p):
                    others[j, c] += step * Q[i, j, c]
    return total / count if count > 0 else 0.0
