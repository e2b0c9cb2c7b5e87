"""Simulated annealing on the bits, each move judged with its neuron's best α.

S. Kirkpatrick, C. Gelatt, M. Vecchi, *Optimization by Simulated Annealing*, Science 1983.
"""

from __future__ import annotations

import time

import numpy as np

from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.compiled import compiled
from qnn.training.arms.base import BestLayer, Layer
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.scaling import plain_rows
from qnn.training.rounding.annealed import closed_form, exchange

# Proposed flips between two looks at the clock.
MOVES = 4000
# Share of the time after which the temperature is at its last, and what the first and last are, as
# parts of the mean size of a bad move from the start.
START, END = 1.0, 1e-3
RUNS = 3


def check_annealing(problem: Problem) -> None:
    """Raise InputError, before any computing, for what the moves have no closed form for."""
    if not closed_form(problem):
        raise InputError(
            "baseline annealing takes the squared loss, the bilinear activation and binary "
            "weights: choose straight_through for others"
        )


def annealing(
    problem: Problem, width: int, seconds: float, rng: np.random.Generator
) -> QuantizedNetwork:
    """The best network of `width` neurons found in `seconds` of wall time.

    A move flips one bit of one neuron and gives it its best α for the others as they are; it is
    taken when it lowers the objective, or with probability `exp(−rise/temperature)`. Three runs,
    each cooled geometrically; now and then the network is kept with its second layer refitted.
    Raises InputError for losses other than the squared one, polynomial activations and other
    alphabets.
    """
    check_annealing(problem)
    lift, y, _ = plain_rows(problem)
    X = np.ascontiguousarray(lift.features.T)
    # A first call compiles, or loads what was compiled: that is no part of the time.
    one = np.ones((1, len(X)))
    anneal_rows(X, one.copy(), one.copy(), np.zeros(1), y.copy(), 1.0, 1.0, 0, rng)
    began = time.monotonic()
    best = BestLayer(problem, began + seconds)
    for run in range(RUNS):
        first, last = began + seconds * run / RUNS, began + seconds * (run + 1) / RUNS
        U = rng.choice([-1.0, 1.0], (width, problem.d))
        V = rng.choice([-1.0, 1.0], (width, problem.d))
        # The zero network: the first moves give α to those neurons that gain by it.
        alpha, residual = np.zeros(width), y.copy()
        scale = 0.0
        looks = 0
        while (now := time.monotonic()) < last:
            part = min((now - first) / (last - first), 1.0)
            # At temperature 0 the first moves only measure how large a bad move is.
            temperature = scale * START * (END / START) ** part
            rise = anneal_rows(X, U, V, alpha, residual, problem.budget, temperature, MOVES, rng)
            if scale == 0.0:
                scale = rise
            looks += 1
            if looks % 10 == 0:
                best.offer(Layer(U.T, V.T), alpha)
                residual = y - ((U @ X) * (V @ X)).T @ alpha
        best.offer(Layer(U.T, V.T), alpha)
        if best.over:
            break
    return best.network()


@compiled()
def anneal_rows(
    X: np.ndarray,
    U: np.ndarray,
    V: np.ndarray,
    alpha: np.ndarray,
    residual: np.ndarray,
    penalty: float,
    temperature: float,
    moves: int,
    rng: np.random.Generator,
) -> float:
    """`moves` proposals in place: a bit flips, its neuron's α becomes the best for the others.

    X (d, n), U and V (m, d) signs, alpha (m,), residual (n,) = y − f. A proposal is taken where it
    lowers `½‖residual‖² + penalty Σ|α|`, or with probability `exp(−rise/temperature)`. Returns
    the mean rise of the proposals that rise.
    """
    d, n = X.shape
    m = len(alpha)
    total, count = 0.0, 0
    A, B = U @ X, V @ X
    for _ in range(moves):
        k, i = int(m * rng.random()), int(d * rng.random())
        left = rng.random() < 0.5
        # r: the residual without this neuron.
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
        b, rise = exchange(a, oo, orr, hh, hr, penalty)
        if rise > 0.0:
            total += rise
            count += 1
        if rise <= 0.0 or (temperature > 0.0 and rng.random() < np.exp(-rise / temperature)):
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
