"""From a problem and its β grid to a bound of each cell, without a solver; and how to learn it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri

from qnn.certificates.claim import Claim
from qnn.certificates.grids import proven_bounds
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.learned.limits import refusal
from qnn.training.relaxation.learned.steps import follow, least_slacks, mirror, products
from qnn.training.relaxation.repair import certify, unproven
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

    ``betas`` (K,) as given; ``nu`` (K, n); ``diagonals`` (K, D), within the budgets and as large as
    M(nu) but for rounding; ``values`` (K,): what they bound in floating arithmetic, which proves
    nothing. `lower_bounds` and `certificate` do.
    """

    problem: Problem
    betas: Array
    nu: Array
    diagonals: Array
    values: Array

    @cached_property
    def lower_bounds(self) -> Array:
        """The proven bounds of all cells (K,), in one pass; those of the certificates."""
        problem = self.problem
        bounds = proven_bounds(
            self._claim, self.betas, *self._points, problem.X, problem.y, margin=4.0
        )
        for cell in np.flatnonzero(~(bounds > 0.0)):
            bounds[cell] = self._alone(int(cell)).lower_bound
        return bounds

    def certificate(self, cell: int) -> Certificate:
        """The proof of a cell, an ordinary one of the relaxation; its `lower_bound` counts."""
        beta, bound = float(self.betas[cell]), float(self.lower_bounds[cell])
        if cell in self._others:
            return self._others[cell]
        nu, diagonals = self._points
        claim = replace(self._claim, beta=beta, lower_bound=bound)
        return Certificate(claim, nu[cell], DiagonalProof((diagonals[cell],)))

    @cached_property
    def _points(self) -> tuple[Array, Array]:
        """What is proven: a little less of each point, and what is left of the budgets spread."""
        part, size = 1.0 - _MARGIN, self.diagonals.shape[1]
        nu, a = part * self.nu, part * self.diagonals
        # Rounded so that the sums stay within.
        rest = self.betas * (self.problem.d * (1.0 - 1e-15 * size)) - a.sum(axis=1)
        return nu, a + (np.maximum(rest, 0.0) * ((1.0 - 1e-12) / size))[:, None]

    @cached_property
    def _claim(self) -> Claim:
        return unproven(self.problem, self.nu[:0], DiagonalProof(())).claim

    @cached_property
    def _others(self) -> dict[int, Certificate]:
        return {}

    def _alone(self, cell: int) -> Certificate:
        """The proof of a cell that the rest's does not do for, by a search for a margin."""
        problem = self.problem.with_beta(float(self.betas[cell]))
        found = certify(problem, self.nu[cell], (self.diagonals[cell],), _MARGIN)
        self._others[cell] = found
        return found


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

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """One pass over the rows."""
        check_scale(problem)
        why = refusal(problem, problem.lift.size)
        if why is not None:
            raise InputError(why)
        scaled = scale_problem(problem)
        Phi = products(scaled.lift.features)
        G = Phi.T @ Phi
        G.flat[:: len(G) + 1] += _RIDGE * max(float(np.trace(G)) / len(G), 1e-300)
        return cls(problem, scaled, Phi, _inverse(G))

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
        budgets = wanted[order] * (self.scaled.budget / self.problem.beta)
        nu, a, values = self._repaired(*self._path(one, budgets), budgets)
        back = np.argsort(order, kind="stable")
        return Bounds(
            self.problem,
            wanted,
            (nu * self.scaled.nu_unit)[back],
            (a * self.scaled.diagonal_unit)[back],
            (values * self.scaled.value_unit)[back],
        )

    def _path(self, one: BoundMap, budgets: Array) -> tuple[Array, Array]:
        """The points nu (K, n) and diagonals (K, D) at falling budgets, before the repair."""
        y = self.scaled.y
        z = np.zeros((len(budgets), len(self.inverse)))
        a = np.zeros((len(budgets), self.problem.lift.size))
        plan = np.full(len(budgets), one.steps)
        plan[:1] = one.first_steps
        ready = (self.inverse, self.Phi.T @ y, float(y @ y), budgets, plan)
        follow(*ready, one.centrality, z, a)
        return y - z @ self.Phi.T, a

    def _repaired(self, nu: Array, a: Array, budgets: Array) -> tuple[Array, Array, Array]:
        """The best multiples of the points within the budgets, and what they bound (K,).

        The trivial bound where rounding has spoilt a point.
        """
        M = nu @ self.Phi
        lost = ~(np.isfinite(M).all(axis=1) & (a > 0.0).all(axis=1) & np.isfinite(a).all(axis=1))
        nu[lost], M[lost], a[lost] = 0.0, 0.0, (budgets[lost] / a.shape[1])[:, None]
        a -= least_slacks(M, a)[:, None]
        spent = np.maximum(a.sum(axis=1), 1e-300)
        along, length = nu @ self.scaled.y, np.einsum("ij,ij->i", nu, nu)
        best = np.maximum(along, 0.0) / np.maximum(length, 1e-300)
        scale = np.minimum(best, budgets / spent)
        values = scale * along - 0.5 * scale * scale * length
        return scale[:, None] * nu, scale[:, None] * a, values


def _inverse(G: Array) -> Array:
    """The inverse of a positive definite matrix; 0, with which any map is as valid, of others."""
    factor, failed = dpotrf(G, lower=1, clean=0)
    inverse, lost = dpotri(factor, lower=1, overwrite_c=1)
    if failed or lost or not np.isfinite(inverse).all():
        return np.zeros_like(G)
    # Fortran's lower triangle is the upper one of the transposed matrix.
    mirror(inverse.T)
    return inverse.T
