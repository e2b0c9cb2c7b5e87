"""Annealed rounding: where the width binds, simulated annealing on the bits competes too.

A network reduced from the optimum over all widths is near optimal when there is room, and a poor
start when there is not: a few neurons of the wide optimum are not the best few neurons. Annealing
from random bits has no such memory (S. Kirkpatrick, C. Gelatt, M. Vecchi, *Optimization by
Simulated Annealing*, Science 1983).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from qnn.problem import Problem
from qnn.rounding.incumbent import Incumbent, build
from qnn.rounding.local_search import improve
from qnn.rounding.refined import refine
from qnn.rounding.sampling import sampler_of
from qnn.solvers.result import Relaxation

# First temperatures of the runs, as parts of the mean rise of a proposal at random bits; the last
# one starts at the best network so far. MOVES proposals a bit, at LEVELS temperatures down to END.
STARTS = (1.0, 0.3, 0.1)
MOVES, LEVELS, END = 800, 40, 0.003


def annealed(
    relaxation: Relaxation, width: int, rng: np.random.Generator, wide: Incumbent | None = None
) -> Incumbent:
    """At most `width` neurons: the refined network, or a better annealed one where `width` binds.

    Squared loss, bilinear activation, binary weights. `wide`: as for `round_relaxation`.
    """
    best = refine(relaxation, width, rng, wide=wide)
    if best.width < width:
        return best
    sampler = sampler_of(relaxation)
    problem = relaxation.problem
    for start in STARTS:
        W = best.W if start == STARTS[-1] else rng.choice([-1.0, 1.0], (2, problem.d, width))
        found = improve(anneal(problem, W, rng, start), width, rng, sampler)
        best = found if found.objective < best.objective else best
    return best


def anneal(problem: Problem, W: np.ndarray, rng: np.random.Generator, start: float) -> Incumbent:
    """One run from the signs W (2, d, m), α at its best for each neuron in turn; see the module."""
    X = np.ascontiguousarray(problem.X.T)
    U, V = (np.ascontiguousarray(part.T) for part in W)
    alpha, residual = np.zeros(len(U)), problem.y.copy()
    bits = 2 * U.size
    scale = anneal_bits(X, U, V, alpha, residual, problem.budget, 0.0, bits, rng)
    for level in range(LEVELS):
        T = scale * start * (END / start) ** (level / (LEVELS - 1))
        moves = MOVES * bits // (2 * LEVELS)
        anneal_bits(X, U, V, alpha, residual, problem.budget, T, moves, rng)
    return build(problem, np.stack([U.T, V.T]), alpha)


@njit(cache=True)
def anneal_bits(
    X: np.ndarray,
    U: np.ndarray,
    V: np.ndarray,
    alpha: np.ndarray,
    residual: np.ndarray,
    penalty: float,
    T: float,
    moves: int,
    rng: np.random.Generator,
) -> float:
    """`moves` proposals in place: a bit flips, its neuron's α becomes the best for the others.

    X (d, n), U and V (m, d) signs, alpha (m,), residual (n,) = y − f. A proposal is taken where it
    lowers `½‖residual‖² + penalty Σ|α|`, or with probability `exp(−rise/T)`. Returns the mean rise
    of the proposals that rise.
    """
    d, n = X.shape
    m = len(alpha)
    total, count = 0.0, 0
    A, B = U @ X, V @ X
    for _ in range(moves):
        k, i = int(m * rng.random()), int(d * rng.random())
        left = rng.random() < 0.5
        # r: the residual without this neuron; its best α is a soft threshold.
        hh, hr, oo, orr = 0.0, 0.0, 0.0, 0.0
        a = alpha[k]
        step = -2.0 * (U[k, i] if left else V[k, i])
        for row in range(n):
            old = A[k, row] * B[k, row]
            if left:
                new = (A[k, row] + step * X[i, row]) * B[k, row]
            else:
                new = A[k, row] * (B[k, row] + step * X[i, row])
            r = residual[row] + a * old
            hh += new * new
            hr += new * r
            oo += old * old
            orr += old * r
        size = abs(hr) - penalty
        b = np.sign(hr) * size / hh if size > 0.0 and hh > 0.0 else 0.0
        before = 0.5 * a * a * oo - a * orr + penalty * abs(a)
        after = 0.5 * b * b * hh - b * hr + penalty * abs(b)
        rise = after - before
        if rise > 0.0:
            total += rise
            count += 1
        if rise <= 0.0 or (T > 0.0 and rng.random() < np.exp(-rise / T)):
            for row in range(n):
                old = A[k, row] * B[k, row]
                if left:
                    A[k, row] += step * X[i, row]
                else:
                    B[k, row] += step * X[i, row]
                residual[row] += a * old - b * A[k, row] * B[k, row]
            if left:
                U[k, i] = -U[k, i]
            else:
                V[k, i] = -V[k, i]
            alpha[k] = b
    return total / count if count > 0 else 0.0
