"""A path of β on one fold, without its SDPs: column generation from random signs alone.

Choosing needs networks, not bounds. Without a relaxation to sample from, the networks are a little
worse than those of `qnn.train`, and a path of them takes less time than one of its SDPs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem
from qnn.training.rounding.candidate import Incumbent, build, empty, extended, narrowed
from qnn.training.rounding.local_search import price
from qnn.training.selection.kinds import SECOND_LAYER

# Random starts of a pricing round, atoms that enter, violation at which no more are looked for,
# rounds at most, and the relative gain below which a round counts as idle.
STARTS, COLUMNS, TOLERANCE, ROUNDS, PROGRESS = 24, 30, 0.03, 25, 1e-3
IDLE_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of all outputs at one fraction of beta_max, before their bits are packed."""

    outputs: tuple[Incumbent, ...]

    @property
    def neurons(self) -> int:
        """Neurons of all outputs."""
        return sum(incumbent.width for incumbent in self.outputs)

    @property
    def size_in_bytes(self) -> int:
        """Packed weights and `SECOND_LAYER` bits a neuron, as if no outputs shared one."""
        sizes = [one.W.shape[0] * one.W.shape[1] for one in self.outputs]
        pairs = zip(self.outputs, sizes, strict=True)
        return sum(-(-one.width * (bits + SECOND_LAYER) // 8) + 8 for one, bits in pairs)

    def scores(self, X: np.ndarray) -> np.ndarray:
        """Outputs (k, C) on other rows X (k, d)."""
        return np.stack([_scores(incumbent, X) for incumbent in self.outputs], axis=1)

    def narrowed(self, width: int) -> Networks:
        """The same with at most `width` neurons an output."""
        return Networks(tuple(narrowed(incumbent, width) for incumbent in self.outputs))


def path(
    problem: Problem | VectorProblem,
    fractions: tuple[float, ...],
    width: int,
    rng: np.random.Generator,
) -> Iterator[Networks]:
    """Networks of at most `width` neurons an output, at each fraction of beta_max in turn."""
    outputs = (problem,) if isinstance(problem, Problem) else problem.outputs
    top = max(output.beta_max_estimate for output in outputs) or 1.0
    found = [empty(output) for output in outputs]
    for fraction in fractions:
        found = [_follow(one, fraction * top, width, rng) for one in found]
        yield Networks(tuple(found))


def _follow(start: Incumbent, beta: float, width: int, rng: np.random.Generator) -> Incumbent:
    """The network at another β, from the one at the β before."""
    best = build(start.problem.with_beta(beta), start.W, start.alpha)
    idle = 0
    for _ in range(ROUNDS):
        W, violations = price(best, rng, None, STARTS)
        if violations.max(initial=0.0) <= TOLERANCE:
            break
        longer = narrowed(extended(best, W[:, :, :COLUMNS]), width)
        idle = 0 if longer.objective < best.objective * (1.0 - PROGRESS) else idle + 1
        best = longer if longer.objective < best.objective else best
        if idle >= IDLE_ROUNDS:
            break
    return best


def _scores(incumbent: Incumbent, X: np.ndarray) -> np.ndarray:
    atoms = incumbent.problem.atoms
    columns = np.hstack([scale * X for scale in atoms.alphabet.scales])
    return np.asarray(atoms.combine(columns @ incumbent.W) @ incumbent.alpha)
