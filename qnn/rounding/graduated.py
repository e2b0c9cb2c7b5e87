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
"""

from __future__ import annotations

import time

import numpy as np

from qnn.adam import Adam
from qnn.atoms.base import signs
from qnn.network import QuantizedNetwork
from qnn.problem import Problem
from qnn.rounding.incumbent import Incumbent, build
from qnn.rounding.local_search import improve
from qnn.rounding.refined import reduce, refine, to_network
from qnn.rounding.sampling import Sampler, sampler_of
from qnn.solvers.result import Relaxation

RUNS, STEPS = 4, 2000
# Adam's rates for the bits and for α in units of 1/D; they fall along a cosine to a part FALL.
RATE, ALPHA_RATE, FALL = 0.05, 0.003, 0.01
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
    best = refine(relaxation, width, rng, wide=wide)
    best = graduate(best, width, rng, sampler_of(relaxation))
    return to_network(best, second_layer, width)


def narrow(
    wide: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    deadline: float | None = None,
) -> Incumbent:
    """`wide` where it has at most `width` neurons; else as good a network of that width as found.

    `deadline` (`time.monotonic`) cuts it short.
    """
    if wide.width <= width:
        return wide
    return graduate(reduce(wide, width, rng, sampler, deadline), width, rng, sampler, deadline)


def graduate(
    best: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    deadline: float | None = None,
) -> Incumbent:
    """`best`, or where it uses all `width` neurons the best of it and of some descents.

    Each descent starts at random bits and is followed by the local search. A run that `deadline`
    (`time.monotonic`) cuts counts for nothing.
    """
    if best.width < width:
        return best
    for _ in range(RUNS):
        W = descend(best.problem, width, rng, deadline)
        if W is None:
            break
        found = build(best.problem, W, np.zeros(W.shape[2]))
        found = improve(found, width, rng, sampler, deadline=deadline)
        best = found if found.objective < best.objective else best
    return best


def descend(
    problem: Problem, width: int, rng: np.random.Generator, deadline: float | None = None
) -> np.ndarray | None:
    """The bits W (parts, D, width) at the end of one run from random ones; None where it is cut."""
    atoms, loss, y = problem.atoms, problem.loss, problem.y
    X, D = atoms.columns, atoms.size
    W = rng.uniform(-1.0, 1.0, (atoms.parts, D, width))
    alpha = 0.01 * rng.standard_normal(width)
    bits, layer = Adam([W], RATE), Adam([alpha], ALPHA_RATE)
    concavity = np.zeros_like(W)
    for step in range(STEPS):
        if deadline is not None and time.monotonic() > deadline:
            return None
        part = step / STEPS
        T = atoms.products(W)
        H, slopes = atoms.combine(T) / D, atoms.slopes(T)
        gradient = loss.gradient(H @ alpha, y)
        by_W = X.T @ (np.outer(gradient, alpha / D) * slopes)
        if part > FREE:
            if step % REFRESH == 0:
                concavity = (loss.curvature or 1.0) * (atoms.squares.T @ (slopes * slopes))
            by_W -= (part - FREE) / (1.0 - FREE) * (alpha / D) ** 2 * concavity * W
        by_alpha = H.T @ gradient + problem.budget / D * np.sign(alpha)
        rate = FALL + (1.0 - FALL) * 0.5 * (1.0 + np.cos(np.pi * part))
        bits.step([by_W], rate)
        layer.step([by_alpha], rate)
        np.clip(W, -1.0, 1.0, out=W)
    return signs(W)
