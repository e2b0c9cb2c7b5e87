"""Random neurons: the first layer is drawn, not trained; the ℓ1 refit chooses among many."""

from __future__ import annotations

import time

import numpy as np

from qnn.networks.quantized import QuantizedNetwork
from qnn.training.arms.base import BestLayer, Layer, to_alphabet
from qnn.training.problems.problem import Problem
from qnn.training.rounding.refit.second_layer import refit

# Neurons drawn for each that is kept, by turns.
POOLS = (1, 4, 16)


def random_signs(
    problem: Problem, width: int, seconds: float, rng: np.random.Generator
) -> QuantizedNetwork:
    """The best network of at most `width` neurons found in `seconds` of wall time.

    Draws up to 16 times as many neurons, refits, keeps those that carry most of the prediction and
    refits again; until the time is up, at least once.
    """
    best = BestLayer(problem, time.monotonic() + seconds)
    turn = 0
    while turn == 0 or not best.over:
        count = width * POOLS[turn % len(POOLS)]
        layer = _draw(problem, count, rng)
        if count > width:
            H = to_alphabet(problem, layer).hidden(problem.X, problem)
            alpha = refit(problem.loss, H, problem.y, problem.budget).alpha
            weight = np.abs(alpha) * np.sqrt(np.einsum("ij,ij->j", H, H))
            kept = np.argsort(-weight, kind="stable")[:width]
            layer = Layer(layer.U[:, kept], None if layer.V is None else layer.V[:, kept])
        best.offer(layer)
        turn += 1
    return best.network()


def _draw(problem: Problem, count: int, rng: np.random.Generator) -> Layer:
    levels = np.array(problem.alphabet.levels) / problem.alphabet.divisor
    shape = (problem.d, count)
    pairs = problem.activation.pairs
    return Layer(rng.choice(levels, shape), rng.choice(levels, shape) if pairs else None)
