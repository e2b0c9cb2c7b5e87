"""Gradient descent on the first layer, many runs within a time: what two of the arms are made of.

A third of the time goes to short runs, one for each setting, as many as have a tenth of a second
each; the rest to long runs of the best two by turns. The second layer is refitted, as the ℓ1
problem that it is, now and then, so a run is judged by the best network that it passes.

The settings are the best of some thirty on WDBC (β = 30, 64 neurons). What mattered there was a
second layer that learns thirty times slower than the first: 81.7 to 82.4 instead of 83.4 to 101.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.adam import Adam
from qnn.training.arms.base import BestLayer, Layer, gradients, random_layer
from qnn.training.problems.problem import Problem

# Steps between two refits.
STEPS = 200
# A rate falls along a cosine to this part of itself.
FALL = 0.01
EXPLORE, SHORTEST, CHOSEN = 0.34, 0.1, 2
# A run is over after so many steps: more of them help less than a new start.
LONGEST = 8000

Forward = Callable[[Problem, Layer], Layer]
#: the gradient of a penalty on latent weights (d, m)
Pull = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """Adam's rates for the first layer and for α, whether training has the ℓ1 penalty, and rows.

    `share` is the part of the rows in a step.
    """

    rate: float
    alpha_rate: float
    penalized: bool
    share: float


SETTINGS = (
    Setting(0.03, 0.001, True, 1.0),
    Setting(0.03, 0.001, True, 0.25),
    Setting(0.1, 0.001, True, 0.25),
    Setting(0.01, 0.001, True, 0.25),
    Setting(0.1, 0.001, True, 1.0),
    Setting(0.03, 0.0003, True, 1.0),
    Setting(0.03, 0.001, False, 0.25),
    Setting(0.003, 0.003, True, 1.0),
)


def backpropagate(
    problem: Problem,
    width: int,
    seconds: float,
    rng: np.random.Generator,
    forward: Forward,
    pull: Pull | None = None,
) -> QuantizedNetwork:
    """The best network of several runs in `seconds`; see the top of this file.

    `forward` maps latent weights to those that the loss is computed with; its own derivative is
    taken as 1 (straight through). `pull` is added to the gradient by the latent weights.
    """
    began = time.monotonic()
    best = BestLayer(problem, began + seconds)
    count = min(len(SETTINGS), max(1, int(EXPLORE * seconds / SHORTEST)))
    found = []
    for index, setting in enumerate(SETTINGS[:count]):
        until = began + EXPLORE * seconds * (index + 1) / count
        found.append((run(best, width, setting, forward, rng, until, pull), index))
    chosen = [SETTINGS[index] for _, index in sorted(found)[:CHOSEN]]
    turn = 0
    while not best.over:
        # The first two share what is left, later ones take what they leave.
        remaining = best.deadline - time.monotonic()
        until = best.deadline - (remaining / 2 if turn == 0 and len(chosen) > 1 else 0.0)
        run(best, width, chosen[turn % len(chosen)], forward, rng, until, pull)
        turn += 1
    return best.network()


def run(
    best: BestLayer,
    width: int,
    setting: Setting,
    forward: Forward,
    rng: np.random.Generator,
    until: float,
    pull: Pull | None = None,
    steps: int = LONGEST,
) -> float:
    """One run from random weights until that moment, of `steps` at most.

    Returns the best objective it has passed.
    """
    problem, n, d = best.problem, best.problem.n, best.problem.d
    began = time.monotonic()
    latent = random_layer(problem, width, rng)
    # alpha in units of 1/d: hidden outputs of standardized rows are of size d.
    alpha = 0.01 * rng.standard_normal(width)
    weights = [latent.U] + ([] if latent.V is None else [latent.V])
    first, second = Adam(weights, setting.rate), Adam([alpha], setting.alpha_rate)
    penalty = problem.beta if setting.penalized else 0.0
    reached, made = np.inf, 0
    while True:
        now = time.monotonic()
        part = max((now - began) / max(until - began, 1e-9), made / steps)
        if made % STEPS == 0 or part >= 1.0:
            reached = min(reached, best.offer(latent, alpha / d))
        if part >= 1.0:
            return reached
        made += 1
        factor = FALL + (1 - FALL) * 0.5 * (1 + np.cos(np.pi * part))
        X, y, loss = problem.X, problem.y, problem.loss
        if setting.share < 1.0:
            rows = rng.integers(0, n, min(n, max(16, int(setting.share * n))))
            X, y, loss = X[rows], y[rows], loss.of_rows(rows)
        layer = forward(problem, latent)
        H = layer.hidden(X, problem) / d
        slope = loss.gradient(H @ alpha, y) * (n / len(X))
        by_alpha = H.T @ slope + penalty * np.sign(alpha)
        by_U, by_V = gradients(problem, X, layer, np.outer(slope, alpha / d))
        slopes = [by_U] + ([] if by_V is None else [by_V])
        if pull is not None:
            slopes = [by + pull(own) for by, own in zip(slopes, weights, strict=True)]
        first.step(slopes, factor)
        second.step([by_alpha], factor)
        for array in weights:
            np.clip(array, -1.0, 1.0, out=array)
