"""Graduated rounding: where the width binds, networks trained as floats and driven to bits compete.

A network reduced from the optimum over all widths is near optimal when there is room, and a poor
start when there is not: a few neurons of the wide optimum are not the best few neurons. So `width`
neurons are trained together, their bits W free in [−1, 1], on

    ℓ(Hα, y) + βd Σ|α_j| − ½ τ Σ c_i w_i²,    c = α² (X∘X)ᵀ(σ'∘σ') L,

with τ rising from 0 to 1. c bounds the curvature of the loss along a single bit, so at τ = 1 the
objective of a bilinear network is concave in each of them, and every local minimum has all bits at
−1 or +1 (graduated non-convexity: A. Blake, A. Zisserman, *Visual Reconstruction*, 1987). Floats
rounded at τ = 0 end 4.6 % higher on WDBC (β at 0.02 of its maximum, 8 neurons, means of single runs
before any search).

Networks of few bits on many rows are annealed as well (`qnn.training.rounding.annealed`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from qnn.networks.atoms.maxima import signs
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.adam import Adam
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.result import Relaxation
from qnn.training.rounding.annealed import annealed, can_anneal
from qnn.training.rounding.candidate import Incumbent, better, build
from qnn.training.rounding.local_search import improve
from qnn.training.rounding.refined import reduce, to_network, widest
from qnn.training.rounding.sampling import Sampler, sampler_of


@dataclass(frozen=True)
class Schedule:
    """One descent: its steps, Adam's rate for the bits, which falls along a cosine, and its start.

    `near`: near the best network so far; else at random bits.
    """

    steps: int
    rate: float
    near: bool


# A network so close to the optimum over all widths, relative to it, is left as it is.
ROOM_LEFT = 1e-3
# Two networks as close as this, relative to their objectives, are taken for the same minimum.
AGAIN = 1e-9
# Fewer long runs beat many short ones; once two are done, starting near the best one beats both.
SCHEDULES = (Schedule(4000, 0.1, near=False),) * 2 + (
    Schedule(2000, 0.02, near=True),
    Schedule(2000, 0.1, near=True),
) * 3
# The part of the best network's bits in such a start; the rest is random.
KEPT = 0.4
# Adam's rate for α in units of 1/D, and the part of themselves that the rates fall to.
ALPHA_RATE, FALL = 0.003, 0.01
# τ is 0 for this part of the steps, then rises linearly; c is brought up to date now and then.
FREE, REFRESH = 0.3, 10


def graduated_network(
    relaxation: Relaxation,
    width: int,
    rng: np.random.Generator,
    second_layer: str | int = "float",
    wide: Incumbent | None = None,
) -> QuantizedNetwork:
    """At most `width` neurons; see the module. Any problem whose loss has a refit."""
    if wide is None:
        wide = widest(relaxation, width, rng)
    best = narrow(wide, width, rng, sampler_of(relaxation))
    return to_network(best, second_layer, width)


def narrow(
    wide: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    deadline: float | None = None,
) -> Incumbent:
    """As good a network of at most `width` neurons as found, from an optimum over all widths.

    `deadline` (`time.monotonic`) cuts it short.
    """
    best = reduce(wide, width, rng, sampler, deadline)
    if best.width < width or best.objective <= (1.0 + ROOM_LEFT) * wide.objective:
        return best
    return graduate(best, width, rng, sampler, deadline)


def graduate(
    best: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    deadline: float | None = None,
) -> Incumbent:
    """The best of `best`, some annealed networks where there are any, and some descents.

    Each has `width` neurons and is followed by the local search; one that `deadline`
    (`time.monotonic`) cuts counts for nothing.
    """
    problem = best.problem
    if can_anneal(problem, width):
        for W, alpha in annealed(problem, width, rng, deadline):
            found = improve(build(problem, W, alpha), width, rng, sampler, deadline=deadline)
            if abs(found.objective - best.objective) <= AGAIN * best.objective:
                # Two ways led to it: more of them would too.
                break
            best = better(best, found)
    for schedule in SCHEDULES:
        W, alpha = start(problem, width, rng, best if schedule.near else None)
        signs_reached = graduated_signs(problem, W, alpha, schedule, deadline)
        if signs_reached is None:
            break
        found = build(problem, signs_reached, np.zeros(width))
        found = improve(found, width, rng, sampler, deadline=deadline)
        best = better(best, found)
    return best


def start(
    problem: Problem, width: int, rng: np.random.Generator, near: Incumbent | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Bits in [−1, 1] (parts, D, width) and α (width,) to start from: random, or near a network."""
    W = rng.uniform(-1.0, 1.0, (problem.atoms.parts, problem.atoms.size, width))
    alpha = 0.01 / problem.atoms.size * rng.standard_normal(width)
    if near is not None:
        W[:, :, : near.width] *= 1.0 - KEPT
        W[:, :, : near.width] += KEPT * near.W
        alpha[: near.width] = near.alpha
    return W, alpha


def graduated_signs(
    problem: Problem,
    W: np.ndarray,
    alpha: np.ndarray,
    schedule: Schedule,
    deadline: float | None = None,
) -> np.ndarray | None:
    """The signs at the end of one descent from W and α, changed in place; None where it is cut."""
    atoms, loss, y = problem.atoms, problem.loss, problem.y
    X, D = atoms.columns, atoms.size
    alpha = alpha * D
    bits, layer = Adam([W], schedule.rate), Adam([alpha], ALPHA_RATE)
    concavity = np.zeros_like(W)
    for step in range(schedule.steps):
        if deadline is not None and time.monotonic() > deadline:
            return None
        part = step / schedule.steps
        T = atoms.products(W)
        H, slopes = atoms.combine(T) / D, atoms.slopes(T)
        gradient = loss.gradient(H @ alpha, y)
        by_W = X.T @ (np.outer(gradient, alpha / D) * slopes)
        if part > FREE:
            if step % REFRESH == 0:
                counted = np.reshape(loss.weight, (-1, 1)) * slopes * slopes
                concavity = (loss.curvature or 1.0) * (atoms.squares.T @ counted)
            by_W -= (part - FREE) / (1.0 - FREE) * (alpha / D) ** 2 * concavity * W
        by_alpha = H.T @ gradient + problem.budget / D * np.sign(alpha)
        rate = FALL + (1.0 - FALL) * 0.5 * (1.0 + np.cos(np.pi * part))
        bits.step([by_W], rate)
        layer.step([by_alpha], rate)
        np.clip(W, -1.0, 1.0, out=W)
    return signs(W)
