"""From a problem and its β grid to a bound of each cell, without a solver; and how to learn it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.learned.limits import refusal
from qnn.training.relaxation.learned.steps import follow
from qnn.training.relaxation.repair import certify
from qnn.training.relaxation.scaling import ScaledProblem, check_scale, scale_problem

Array = np.ndarray

# What is tried in learning.
CENTRALITIES = (0.02, 0.03, 0.05, 0.08, 0.13, 0.2)
# The ridge that makes G regular, as a part of its mean diagonal entry.
_RIDGE = 1e-9
# The part of a bound that a proof may give up from the start: it is rarely tried twice.
_MARGIN = 1e-9


@dataclass(frozen=True, eq=False)
class Bounds:
    """Dual points of one problem at several β, in the problem's own units.

    ``betas`` (K,) as given; ``nu`` (K, n); ``diagonals`` (K, D), each within its budget; ``values``
    (K,): what they bound in floating arithmetic, which proves nothing. `certificate` does.
    """

    problem: Problem
    betas: Array
    nu: Array
    diagonals: Array
    values: Array

    def certificate(self, cell: int) -> Certificate:
        """The proof of a cell, an ordinary one of the relaxation; its `lower_bound` counts."""
        problem = self.problem.with_beta(float(self.betas[cell]))
        return certify(problem, self.nu[cell], (self.diagonals[cell],), _MARGIN)


@dataclass(frozen=True)
class BoundMap:
    """A map from problems and β to dual points: Newton steps along β, cut short, then a repair.

    ``centrality``: the share of the bound at which the barrier's gap is held, what `learn` finds;
    ``first_steps`` at the largest β, ``steps`` at each other. Any values give valid bounds.
    """

    centrality: float = 0.05
    first_steps: int = 3
    steps: int = 1

    def __post_init__(self) -> None:
        if not 0.0 < self.centrality < np.inf:
            raise InputError(f"centrality must be a positive number, not {self.centrality}")
        if self.first_steps < 0 or self.steps < 0:
            raise InputError("first_steps and steps must be numbers from 0 on")

    def __call__(self, problem: Problem, betas: Sequence[float] | Array) -> Bounds:
        """Dual points at every β, in any order; those of the largest β come first in the work.

        Raises InputError for a problem that `refusal` refuses, and for β that are not positive.
        """
        return _Moments.of(problem).bounds(self, betas)


def learn(problems: Sequence[Problem], betas: Sequence[Sequence[float]] | Array) -> BoundMap:
    """The map whose bounds are highest on these problems, each at its own betas (a row each).

    No solver and no labels: the loss is minus the mean of bound / objective of the zero network,
    and what is learned is one number, the centrality (what else was tried: docs/solvers.md). It
    is the same for the same problems. Raises InputError as `BoundMap`, and without a problem.
    """
    if not len(problems) or len(problems) != len(betas):
        raise InputError("learning needs at least one problem, and a row of betas for each")
    moments = [_Moments.of(problem) for problem in problems]
    maps = [BoundMap(centrality) for centrality in CENTRALITIES]
    return max(maps, key=lambda one: _quality(one, moments, betas))


def _quality(
    one: BoundMap, moments: Sequence[_Moments], betas: Sequence[Sequence[float]] | Array
) -> float:
    values = [
        known.bounds(one, row).values / max(known.zero_value, 1e-300)
        for known, row in zip(moments, betas, strict=True)
    ]
    return float(np.nan_to_num(np.concatenate(values), nan=0.0).mean())


@dataclass(frozen=True, eq=False)
class _Moments:
    """What the steps need of a problem, in its scaled units; the same for all β."""

    problem: Problem
    scaled: ScaledProblem
    Phi: Array
    inverse: Array
    ridge: float

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """One pass over the rows."""
        check_scale(problem)
        why = refusal(problem, problem.lift.size)
        if why is not None:
            raise InputError(why)
        scaled = scale_problem(problem)
        F = scaled.lift.features
        first, second = np.triu_indices(F.shape[1])
        Phi = F[:, first] * F[:, second] * np.where(first == second, 1.0, np.sqrt(2.0))
        G = Phi.T @ Phi
        ridge = _RIDGE * max(float(np.trace(G)) / len(G), 1e-300)
        G.flat[:: len(G) + 1] += ridge
        inverse = cho_solve(cho_factor(G, lower=True), np.eye(len(G)))
        return cls(problem, scaled, Phi, inverse, ridge)

    @property
    def zero_value(self) -> float:
        """The objective of the zero network."""
        problem = self.problem
        return problem.loss.value(np.zeros(problem.n), problem.y)

    def bounds(self, one: BoundMap, betas: Sequence[float] | Array) -> Bounds:
        """The dual points, in the order of the betas."""
        wanted = np.asarray(betas, dtype=np.float64)
        if wanted.ndim != 1 or not (np.isfinite(wanted).all() and (wanted > 0.0).all()):
            raise InputError("betas must be a list of positive finite numbers")
        order = np.argsort(-wanted, kind="stable")
        size, y = self.problem.lift.size, self.scaled.y
        z, a = np.zeros((len(wanted), len(self.inverse))), np.zeros((len(wanted), size))
        values = np.zeros(len(wanted))
        plan = np.full(len(wanted), one.steps)
        plan[:1] = one.first_steps
        budgets = wanted[order] * (self.scaled.budget / self.problem.beta)
        ready = (self.inverse, self.ridge, self.Phi.T @ y, float(y @ y), budgets, plan)
        try:
            follow(*ready, one.centrality, z, a, values)
        except (np.linalg.LinAlgError, ValueError):
            # Where rounding ends the path, the cells that are left have the trivial bound.
            a[a.sum(axis=1) == 0.0] = 1.0
        back = np.argsort(order, kind="stable")
        return Bounds(
            self.problem,
            wanted,
            ((y - z @ self.Phi.T) * self.scaled.nu_unit)[back],
            (a * self.scaled.diagonal_unit)[back],
            (values * self.scaled.value_unit)[back],
        )
