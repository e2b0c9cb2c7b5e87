"""The restricted master problem of column generation: atoms found so far, and their second layer.

For the squared loss all that a refit needs of the rows are products of features. They are kept, so
that k new atoms cost n·m·k work where a Gram matrix made anew costs n·m²; and atoms whose
coefficient became 0 stay for a while, for many come back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from qnn.training.problems.problem import Problem
from qnn.training.rounding.candidate import Incumbent, build, extended, narrowed, remaining
from qnn.training.rounding.refit.lasso import solve_lasso

Array = np.ndarray

# Idle atoms are forgotten where they are more than this part of all.
IDLE_SHARE = 0.3
# Neurons up to which a refit from the features is as quick.
FEW = 64


class Master(Protocol):
    """Atoms with the best second layer for them; a new one is made of it, it does not change."""

    @property
    def problem(self) -> Problem:
        """What it is a part of."""
        ...

    @property
    def W(self) -> Array:
        """The active neurons (parts, D, m), canonical."""
        ...

    @property
    def nu(self) -> Array:
        """The dual point (n,)."""
        ...

    @property
    def objective(self) -> float:
        """Loss and penalty."""
        ...

    @property
    def width(self) -> int:
        """Active neurons."""
        ...

    def extended(self, W: Array) -> Master:
        """With new atoms (parts, D, k), canonical, none of them active."""
        ...

    def narrowed(self, width: int) -> Master:
        """At most `width` active neurons; see `candidate.narrowed`."""
        ...

    def incumbent(self) -> Incumbent:
        """The active neurons, as local search takes them."""
        ...


def master_of(incumbent: Incumbent) -> Master:
    """The master problem that begins with these neurons."""
    if incumbent.problem.loss.quadratic and incumbent.width > FEW:
        return GramMaster.of(incumbent)
    return RefittedMaster(incumbent)


class RefittedMaster:
    """Any loss, or few neurons: each change is a refit from the features."""

    def __init__(self, incumbent: Incumbent) -> None:
        self._incumbent = incumbent
        self.problem, self.W, self.nu = incumbent.problem, incumbent.W, incumbent.nu
        self.objective, self.width = incumbent.objective, incumbent.width

    def extended(self, W: Array) -> Master:
        """As in `Master`."""
        return master_of(extended(self._incumbent, W))

    def narrowed(self, width: int) -> Master:
        """As in `Master`."""
        if self.width <= width:
            return self
        return RefittedMaster(narrowed(self._incumbent, width))

    def incumbent(self) -> Incumbent:
        """As in `Master`."""
        return self._incumbent


class Rows:
    """Rows (m, n) with room for more behind them, which the last one who was given some may use."""

    def __init__(self, rows: Array, storage: Array | None = None) -> None:
        self._storage = rows if storage is None else storage
        self.array = rows
        self._taken = len(rows)

    def and_more(self, rows: Array) -> Rows:
        """These and further rows (k, n); without a copy where nobody has taken the room."""
        m, end = len(self.array), len(self.array) + len(rows)
        storage = self._storage
        if end > len(storage) or self._taken > m:
            storage = np.empty((end + end // 2, rows.shape[1]))
            storage[:m] = self.array
        else:
            self._taken = end
        storage[m:end] = rows
        return Rows(storage[:end], storage)


@dataclass(frozen=True, eq=False)
class GramMaster:
    """The squared loss: features H (m, n) one a row, their products G (m, m), `q = Hy` (m,).

    Columns of H, and y, are multiplied by the roots of the sample weights.
    atoms (parts, D, m), of which those with alpha (m,) other than 0 are active; `inverse` is the
    Lasso's.
    """

    problem: Problem
    atoms: Array
    features: Rows
    G: Array
    q: Array
    alpha: Array
    inverse: Array | None

    @classmethod
    def of(cls, incumbent: Incumbent) -> GramMaster:
        """Of neurons with their best second layer."""
        problem = incumbent.problem
        H = np.ascontiguousarray((incumbent.H * _roots(problem)).T)
        q = H @ _targets(problem)
        return cls(problem, incumbent.W, Rows(H), H @ H.T, q, incumbent.alpha, None)

    @cached_property
    def active(self) -> Array:
        """Indices of the active neurons."""
        return np.flatnonzero(self.alpha)

    @cached_property
    def W(self) -> Array:
        """As in `Master`."""
        return self.atoms[:, :, self.active]

    @cached_property
    def _residual(self) -> Array:
        return np.asarray(_targets(self.problem) - self.alpha @ self.features.array)

    @cached_property
    def nu(self) -> Array:
        """As in `Master`."""
        return self._residual * _roots(self.problem)[:, 0]

    @cached_property
    def objective(self) -> float:
        """As in `Master`."""
        penalty = self.problem.budget * float(np.abs(self.alpha).sum())
        return 0.5 * float(self._residual @ self._residual) + penalty

    @property
    def width(self) -> int:
        """As in `Master`."""
        return len(self.active)

    def extended(self, W: Array) -> Master:
        """As in `Master`; atoms that idle here already are not taken twice."""
        kept = self
        if self.width < (1.0 - IDLE_SHARE) * len(self.alpha):
            kept = self._restricted(self.active)
        fresh = self.problem.atoms.unseen(kept.atoms, W)
        return kept._with(W[:, :, fresh])._solved()

    def narrowed(self, width: int) -> Master:
        """As in `Master`."""
        master = self
        while master.width > width:
            squares = np.diag(master.G)[master.active]
            worth = 0.5 * master.alpha[master.active] ** 2 * squares
            staying = master.active[remaining(worth, width)]
            master = master._restricted(staying)._solved()
        return master

    def incumbent(self) -> Incumbent:
        """As in `Master`."""
        return build(self.problem, self.W, self.alpha[self.active])

    def _restricted(self, kept: Array) -> GramMaster:
        """With the atoms `kept` alone; the inverse stays right where all active ones are kept."""
        block = np.ix_(kept, kept)
        whole = len(np.setdiff1d(self.active, kept)) == 0
        return GramMaster(
            problem=self.problem,
            atoms=self.atoms[:, :, kept],
            features=Rows(self.features.array[kept]),
            G=self.G[block],
            q=self.q[kept],
            alpha=self.alpha[kept],
            inverse=self.inverse[block] if self.inverse is not None and whole else None,
        )

    def _with(self, W: Array) -> GramMaster:
        """With new atoms, their alpha 0."""
        H = self.problem.atoms.features(W) * _roots(self.problem)
        rows = np.ascontiguousarray(H.T)
        m, k = len(self.alpha), len(rows)
        G = np.empty((m + k, m + k))
        G[:m, :m] = self.G
        G[:m, m:] = self.features.array @ rows.T
        G[m:, :m] = G[:m, m:].T
        G[m:, m:] = rows @ rows.T
        inverse = None
        if self.inverse is not None:
            inverse = np.zeros((m + k, m + k), order="F")
            inverse[:m, :m] = self.inverse
        return GramMaster(
            problem=self.problem,
            atoms=np.concatenate([self.atoms, W], axis=2),
            features=self.features.and_more(rows),
            G=G,
            q=np.concatenate([self.q, rows @ _targets(self.problem)]),
            alpha=np.concatenate([self.alpha, np.zeros(k)]),
            inverse=inverse,
        )

    def _solved(self) -> GramMaster:
        """With the best alpha."""
        inverse = None if self.inverse is None else np.array(self.inverse, order="F")
        found = solve_lasso(self.G, self.q, self.problem.budget, self.alpha, inverse=inverse)
        return replace(self, alpha=found.coefficients, inverse=found.inverse)


def _roots(problem: Problem) -> Array:
    """Of the sample weights, (n, 1), or (1, 1) where there are none."""
    if problem.weights is None:
        return np.ones((1, 1))
    return np.sqrt(problem.weights)[:, None]


def _targets(problem: Problem) -> Array:
    return problem.y * _roots(problem)[:, 0]
