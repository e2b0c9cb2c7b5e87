"""Local search on a network of at most `width` neurons: bits, insertions and exchanges.

Every move is judged in closed form. With curvature L (`ℓ(f+δ) ≤ ℓ(f) + ∇ℓᵀδ + ½L‖δ‖²`; equality
and L = 1 for the squared loss) and `r = −∇ℓ/L`, `λ = βd/L`, a neuron that is taken out (`r_k = r +
α_k h_k`) and put back with feature h and its best α lowers the objective by
`L · max(|hᵀr_k| − λ, 0)² / (2‖h‖²)` or more. Sample weights w stand in both norms, `Σ w h²`, and in
`r_k = r + α_k w∘h_k`. Losses without a curvature skip the bits.
"""

import time
from typing import Protocol

import numpy as np

from qnn.numerics.weights import weighted
from qnn.training.problems.problem import Problem
from qnn.training.rounding.candidate import Incumbent, better, build, extended, narrowed
from qnn.training.rounding.sampling import Sampler

# A round that gains less than this, relative to the objective, is the last.
TOLERANCE = 1e-6
# Starts of each kind a pricing round: samples of the relaxation, and random signs.
STARTS = 64
# Atoms inserted in one round.
BATCH = 32


def improve(
    incumbent: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    max_rounds: int = 50,
    deadline: float | None = None,
) -> Incumbent:
    """A network of at most `width` neurons that is no worse: bits, then atoms, until neither helps.

    `incumbent` has at most `width` neurons. `sampler` adds samples of the relaxation to the
    starts of the pricing. Stops when a round gains less than 1e-6 relative, after `max_rounds`, or
    at `deadline` (`time.monotonic`).
    """
    for _ in range(max_rounds):
        if deadline is not None and time.monotonic() > deadline:
            break
        before = incumbent.objective
        incumbent = improve_atoms(incumbent, width, rng, sampler)
        if incumbent.width and before - incumbent.objective <= 10 * TOLERANCE * before:
            incumbent = improve_bits(incumbent)
        if before - incumbent.objective <= TOLERANCE * before:
            break
    return incumbent


def improve_bits(incumbent: Incumbent) -> Incumbent:
    """One pass over the neurons; each takes its best changes of one or two bits, then a refit."""
    problem = incumbent.problem
    curvature = problem.loss.curvature
    if curvature is None:
        return incumbent
    atoms, weights = problem.atoms, problem.weights
    W, alpha = incumbent.W.copy(), incumbent.alpha.copy()
    r = incumbent.nu / curvature
    penalty = problem.budget / curvature
    threshold = 0.1 * TOLERANCE * incumbent.objective / (curvature * max(1, incumbent.width))
    changed = False
    for k in range(incumbent.width):
        w, a, moved = atoms.best_change(
            incumbent.T[:, :, k], W[:, :, k], float(alpha[k]), r, penalty, threshold, weights
        )
        if moved:
            # r is updated in place of a fresh gradient: exact for the squared loss, and for
            # others the majorant at the first point stays valid.
            change = alpha[k] * incumbent.H[:, k] - a * atoms.features(w[:, :, None])[:, 0]
            r += weighted(change, weights)
            W[:, :, k], alpha[k] = w, a
            changed = True
    if not changed:
        return incumbent
    return better(incumbent, build(problem, W, alpha))


def improve_atoms(
    incumbent: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
) -> Incumbent:
    """Insert priced atoms; where that makes more than `width` neurons, the cheapest leave again.

    Smaller insertions are tried until one lowers the objective; else the incumbent comes back.
    """
    W, _ = price(incumbent, rng, sampler)
    count = min(BATCH, W.shape[2])
    while count:
        candidate = narrowed(extended(incumbent, W[:, :, :count]), width)
        if candidate.objective < incumbent.objective * (1.0 - TOLERANCE):
            return candidate
        count //= 4
    return incumbent


class Priced(Protocol):
    """What pricing reads: an `Incumbent`, or a master problem."""

    @property
    def problem(self) -> Problem:
        """What it is about."""
        ...

    @property
    def W(self) -> np.ndarray:
        """The active neurons (parts, D, m)."""
        ...

    @property
    def nu(self) -> np.ndarray:
        """The dual point (n,)."""
        ...


def price(
    incumbent: Priced,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    starts: int = STARTS,
    tol: float = TOLERANCE,
    flips: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """New atoms with `|hᵀν| > βd(1 + tol)` at the incumbent's ν, the most violating first.

    Local maxima from random signs, samples and the active neurons; with `flips` also from these
    after each of their signs was turned with that probability. Returns W (parts, D, k) in
    canonical form, none active, none twice, and the violations `|hᵀν|/(βd) − 1` (k,).
    """
    problem = incumbent.problem
    atoms = problem.atoms
    active = atoms.starts(incumbent.W)
    begin = [atoms.random(starts, rng), active]
    if flips:
        begin.append(active * np.where(rng.random(active.shape) < flips, -1.0, 1.0))
    if sampler is not None:
        begin.append(atoms.starts(sampler(starts // atoms.parts, rng)))
    W, values = atoms.price(problem.lift.adjoint(incumbent.nu), np.hstack(begin))
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > problem.budget * (1.0 + tol)]
    W, _ = atoms.canonical(W[:, :, order])
    fresh = atoms.unseen(incumbent.W, W)
    return W[:, :, fresh], values[order[fresh]] / problem.budget - 1.0
