"""Gradient descent on the first layer, many runs within a time: what two of the arms are made of.

All settings start with a short run; the better half of them goes on, again and again, until one
is left, and what time remains goes to new starts of the three best settings. The second layer is
refitted as the ℓ1 problem that it is at many points of a run, so a run is judged by the best network
that it passes, not by its last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from qnn.baselines.base import Adam, Best, Layer, gradients, random_layer
from qnn.network import QuantizedNetwork
from qnn.problem import Problem

RATES = (0.003, 0.01, 0.03, 0.1)
STEPS = 40
# A run's rate falls to this part of itself, along a cosine, over this many blocks of steps.
FALL, BLOCKS = 0.02, 30

Forward = Callable[[Problem, Layer], Layer]


@dataclass(frozen=True)
class Setting:
    """Adam's rate, whether the training loss has the penalty, and the share of rows in a step."""

    rate: float
    penalized: bool
    share: float


SETTINGS = tuple(Setting(*one) for one in product(RATES, (True, False), (1.0, 0.25)))


class Run:
    """One training run: latent weights, the second layer, and Adam's state.

    `forward` maps latent weights to those that the loss is computed with; its own derivative is
    taken as 1 (straight through).
    """

    def __init__(
        self, best: Best, width: int, setting: Setting, forward: Forward, rng: np.random.Generator
    ) -> None:
        self.best, self.setting, self.forward, self.rng = best, setting, forward, rng
        problem = best.problem
        self.latent = random_layer(problem, width, rng)
        # alpha in units of 1/d: hidden outputs on standardized rows are of size d.
        start = best.offer(self.latent)
        self.alpha = start * problem.d
        self.alpha[start == 0.0] = 0.01 * rng.standard_normal(int(np.sum(start == 0.0)))
        weights = [self.latent.U] + ([] if self.latent.V is None else [self.latent.V])
        self.adam = Adam([self.alpha, *weights], setting.rate)
        self.blocks, self.value = 0, np.inf

    def block(self) -> None:
        """Some steps, then a refit; `value` is the run's best objective."""
        problem, d = self.best.problem, self.best.problem.d
        phase = min(self.blocks / BLOCKS, 1.0)
        factor = FALL + (1 - FALL) * 0.5 * (1 + np.cos(np.pi * phase))
        for _ in range(STEPS):
            if self.best.over:
                break
            self._step(problem, d, factor)
        self.blocks += 1
        before = self.best.objective
        self.best.objective = np.inf
        kept = self.best.levels, self.best.alpha
        refitted = self.best.offer(self.latent, self.alpha / d)
        self.value = min(self.value, self.best.objective)
        if self.best.objective >= before:
            self.best.objective = before
            self.best.levels, self.best.alpha = kept
        if self.setting.penalized:
            # Neurons that the refit has dropped keep a little, so that they can come back.
            self.alpha[:] = refitted * d
            gone = refitted == 0.0
            self.alpha[gone] = 0.01 * self.rng.standard_normal(int(gone.sum()))

    def _step(self, problem: Problem, d: int, factor: float) -> None:
        n, share = problem.n, self.setting.share
        rows = slice(None) if share == 1.0 else self.rng.integers(0, n, max(8, int(share * n)))
        X, y = problem.X[rows], problem.y[rows]
        layer = self.forward(problem, self.latent)
        H = layer.hidden(X, problem) / d
        slope = problem.loss.gradient(H @ self.alpha, y) * (n / len(X))
        by_alpha = H.T @ slope
        if self.setting.penalized:
            by_alpha = by_alpha + problem.beta * np.sign(self.alpha)
        by_U, by_V = gradients(problem, X, layer, np.outer(slope, self.alpha / d))
        self.adam.step([by_alpha, by_U] + ([] if by_V is None else [by_V]), factor)
        for weights in self.adam.arrays[1:]:
            np.clip(weights, -1.0, 1.0, out=weights)


def descend(
    problem: Problem, width: int, seconds: float, rng: np.random.Generator, forward: Forward
) -> QuantizedNetwork:
    """The best network of many runs in `seconds`; see the top of this file."""
    began = time.monotonic()
    best = Best(problem, began + seconds)
    order = rng.permutation(len(SETTINGS))
    runs: list[Run] = []
    for index in order:
        if runs and time.monotonic() > began + 0.25 * seconds:
            break
        runs.append(Run(best, width, SETTINGS[index], forward, rng))
        runs[-1].block()
    ranked = list(runs)
    survivors = list(runs)
    while len(survivors) > 1 and not best.over:
        share = began + seconds * (0.25 + 0.5 * (1 - len(survivors) / max(len(runs), 2)))
        while time.monotonic() < share and not best.over:
            for run in survivors:
                run.block()
        survivors.sort(key=lambda run: run.value)
        survivors = survivors[: len(survivors) // 2]
        ranked = survivors + [run for run in ranked if run not in survivors]
    current = survivors[0]
    turn = 0
    while not best.over:
        current.block()
        if current.blocks > BLOCKS:
            setting = ranked[turn % min(3, len(ranked))].setting
            current, turn = Run(best, width, setting, forward, rng), turn + 1
    return best.network()
