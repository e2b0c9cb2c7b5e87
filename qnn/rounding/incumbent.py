"""The network under improvement: its atoms, features, second layer and objective together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.problem import Problem
from qnn.rounding.atoms import merge
from qnn.rounding.refit import refit


@dataclass(frozen=True, eq=False)
class Incumbent:
    """Active neurons only: U, V (d, m) float signs in canonical form, each atom once.

    A = XU, B = XV and H = A∘B are (n, m); alpha (m,) has no zeros; predictions = Hα (n,);
    objective = ℓ(predictions, y) + βd Σ|α|. The second layer is optimal for these atoms, and nu
    (n,) is its dual point: `ν = −∇ℓ` at the predictions where the loss is smooth.
    """

    problem: Problem
    U: np.ndarray
    V: np.ndarray
    A: np.ndarray
    B: np.ndarray
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

        At an optimal second layer the first-order terms cancel: `½ L α² ‖h‖²` is left, exact for
        the squared loss (curvature L = 1). Without a curvature L the same order is used.
        """
        curvature = self.problem.loss.curvature or 1.0
        return 0.5 * curvature * self.alpha**2 * np.einsum("ij,ij->j", self.H, self.H)


def empty(problem: Problem) -> Incumbent:
    """The zero network."""
    return build(problem, np.zeros((problem.d, 0)), np.zeros((problem.d, 0)), np.zeros(0))


def build(problem: Problem, U: np.ndarray, V: np.ndarray, alpha: np.ndarray) -> Incumbent:
    """Merge equal atoms, refit the second layer starting at alpha, drop the zeros.

    U, V: (d, m) signs, alpha (m,): zeros where an atom is new. The objective is at most that of
    (U, V, alpha), but for rounding errors.
    """
    U, V, alpha = merge(U, V, alpha)
    U, V = U.astype(np.float64), V.astype(np.float64)
    return _refitted(problem, U, V, problem.X @ U, problem.X @ V, alpha)


def extended(incumbent: Incumbent, U: np.ndarray, V: np.ndarray) -> Incumbent:
    """With new atoms (canonical, not among the active ones) added, refitted and pruned."""
    X = incumbent.problem.X
    return _refitted(
        incumbent.problem,
        np.hstack([incumbent.U, U]),
        np.hstack([incumbent.V, V]),
        np.hstack([incumbent.A, X @ U]),
        np.hstack([incumbent.B, X @ V]),
        np.concatenate([incumbent.alpha, np.zeros(U.shape[1])]),
    )


def restricted(incumbent: Incumbent, kept: np.ndarray) -> Incumbent:
    """With only the neurons `kept` (indices), refitted and pruned."""
    return _refitted(
        incumbent.problem,
        incumbent.U[:, kept],
        incumbent.V[:, kept],
        incumbent.A[:, kept],
        incumbent.B[:, kept],
        incumbent.alpha[kept],
    )


def narrowed(incumbent: Incumbent, width: int) -> Incumbent:
    """At most `width` neurons: the cheapest leave, some at a time, with a refit after each time."""
    while incumbent.width > width:
        surplus = incumbent.width - width
        # A removal changes what the others are worth, the less the fewer go at once.
        count = max(1, surplus // 3)
        order = np.argsort(incumbent.cost_of_removal, kind="stable")
        incumbent = restricted(incumbent, np.sort(order[count:]))
    return incumbent


def _refitted(
    problem: Problem,
    U: np.ndarray,
    V: np.ndarray,
    A: np.ndarray,
    B: np.ndarray,
    alpha: np.ndarray,
) -> Incumbent:
    H = A * B
    layer = refit(problem.loss, H, problem.y, problem.budget, alpha)
    active = np.flatnonzero(layer.alpha)
    return Incumbent(
        problem=problem,
        U=U[:, active],
        V=V[:, active],
        A=A[:, active],
        B=B[:, active],
        H=H[:, active],
        alpha=layer.alpha[active],
        predictions=layer.predictions,
        nu=layer.nu,
        objective=layer.objective,
    )
