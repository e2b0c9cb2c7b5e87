"""The network under improvement: its atoms, features, second layer and objective together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.numerics.weights import weighted
from qnn.training.problems.problem import Problem
from qnn.training.rounding.refit.second_layer import refit


@dataclass(frozen=True, eq=False)
class Incumbent:
    """Active neurons only: bits W (parts, D, m) in canonical form, each atom once.

    T = products of the data with them (parts, n, m), H = their outputs (n, m); alpha (m,) has no
    zeros; predictions = Hα (n,); objective = ℓ(predictions, y) + βd Σ|α|. The second layer is
    optimal for these atoms, and nu (n,) is its dual point: `ν = −∇ℓ` at the predictions where the
    loss is smooth.
    """

    problem: Problem
    W: np.ndarray
    T: np.ndarray
    H: np.ndarray
    alpha: np.ndarray
    predictions: np.ndarray
    nu: np.ndarray
    objective: float

    @property
    def width(self) -> int:
        """Active neurons."""
        return len(self.alpha)

    @property
    def cost_of_removal(self) -> np.ndarray:
        """What removing each neuron alone does to the objective, to second order; (m,), ≥ 0.

        At an optimal second layer the first-order terms cancel: `½ L α² Σ w h²` is left, exact for
        the squared loss (curvature L = 1). Without a curvature L the same order is used.
        """
        loss = self.problem.loss
        squares = np.einsum("ij,ij->j", self.H, weighted(self.H, loss.weights))
        return 0.5 * (loss.curvature or 1.0) * self.alpha**2 * squares


def better(old: Incumbent, new: Incumbent) -> Incumbent:
    """The one with the lower objective; the old one where they are equal."""
    return new if new.objective < old.objective else old


def empty(problem: Problem) -> Incumbent:
    """The zero network."""
    return build(problem, problem.atoms.none(), np.zeros(0))


def build(problem: Problem, W: np.ndarray, alpha: np.ndarray) -> Incumbent:
    """Merge equal atoms, refit the second layer starting at alpha, drop the zeros.

    W: (parts, D, m) signs, alpha (m,): zeros where an atom is new. The objective is at most that of
    (W, alpha), but for rounding errors.
    """
    W, alpha = problem.atoms.merge(W.astype(np.float64), alpha)
    return _refitted(problem, W, problem.atoms.products(W), alpha)


def extended(incumbent: Incumbent, W: np.ndarray, pruned: bool = True) -> Incumbent:
    """With new atoms (canonical, not among the active ones) added, refitted and pruned.

    `pruned` False keeps neurons whose alpha is 0: a pool whose dual point respects all of them.
    """
    return _refitted(
        incumbent.problem,
        np.concatenate([incumbent.W, W], axis=2),
        np.concatenate([incumbent.T, incumbent.problem.atoms.products(W)], axis=2),
        np.concatenate([incumbent.alpha, np.zeros(W.shape[2])]),
        pruned,
    )


def restricted(incumbent: Incumbent, kept: np.ndarray) -> Incumbent:
    """With only the neurons `kept` (indices), refitted and pruned."""
    return _refitted(
        incumbent.problem,
        incumbent.W[:, :, kept],
        incumbent.T[:, :, kept],
        incumbent.alpha[kept],
    )


def narrowed(incumbent: Incumbent, width: int) -> Incumbent:
    """At most `width` neurons: the cheapest leave, some at a time, with a refit after each time."""
    while incumbent.width > width:
        incumbent = restricted(incumbent, remaining(incumbent.cost_of_removal, width))
    return incumbent


def remaining(costs: np.ndarray, width: int) -> np.ndarray:
    """Of more than `width` neurons, by their costs of removal (m,), who stays: sorted indices."""
    # A removal changes what the others are worth, the less the fewer go at once.
    count = max(1, (len(costs) - width) // 3)
    return np.sort(np.argsort(costs, kind="stable")[count:])


def _refitted(
    problem: Problem, W: np.ndarray, T: np.ndarray, alpha: np.ndarray, pruned: bool = True
) -> Incumbent:
    H = problem.atoms.combine(T)
    layer = refit(problem.loss, H, problem.y, problem.budget, alpha)
    active = np.flatnonzero(layer.alpha) if pruned else np.arange(len(alpha))
    return Incumbent(
        problem=problem,
        W=W[:, :, active],
        T=T[:, :, active],
        H=H[:, active],
        alpha=layer.alpha[active],
        predictions=layer.predictions,
        nu=layer.nu,
        objective=layer.objective,
    )
