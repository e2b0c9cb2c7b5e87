"""When to look at the bounds during a solve, and the best points seen: estimates, scaled units."""

from __future__ import annotations

import math

import numpy as np

from qnn.training.relaxation.admm.estimates import (
    dual_estimate,
    dual_value,
    factored_value,
    refine_diagonals,
)
from qnn.training.relaxation.admm.faces import onto_face
from qnn.training.relaxation.admm.splitting import Splitting
from qnn.training.relaxation.best_points import BestPoints
from qnn.training.relaxation.scaling import ScaledProblem

Array = np.ndarray

#: the first iterations at which to look, after a cold start and along a path
_COLD, _WARM = 5, 1
#: iterations after which there is a look at the latest
_LONGEST = 15
#: what the residual is of the state's size where the gap is g, over the root of g, before a look
PROMISE = 0.25
#: refined diagonals leave a tenth of the gap at best, of a moved point's a third: not tried above
#: this many tolerances
_REFINABLE, _REFINABLE_MOVED = 10.0, 3.0
#: the promised gap from which points are moved, in tolerances
_MOVABLE = 30.0


class Search:
    """The best pair of points by estimates, and when to look again."""

    def __init__(
        self, scaled: ScaledProblem, tol: float, warm: bool = False, promise: float = PROMISE
    ) -> None:
        self.scaled, self.tol, self.promise = scaled, tol, promise
        self.upper, self.lower = np.inf, -np.inf
        self.P = self.N = np.empty((0, 0))
        self.nu = np.zeros(scaled.n)
        self.diagonals: tuple[Array, ...] = (np.zeros(scaled.size),)
        self.next_check = _WARM if warm else _COLD
        self.improved_at, self._mark = 0, np.inf
        self._last = 0

    @property
    def gap(self) -> float:
        """Estimated relative gap."""
        return self._gap(self.lower)

    def _gap(self, lower: float) -> float:
        if not np.isfinite(self.upper - lower):
            return np.inf
        return (self.upper - lower) / max(abs(self.upper), 1e-300)

    def due(self, state: Splitting, iteration: int, residual: float) -> bool:
        """Whether it is time to look: the residual promises the wanted gap, or it has been long."""
        if iteration < self.next_check:
            return False
        wanted = self.promise * math.sqrt(0.9 * self.tol) * state.extent()
        return residual <= wanted or iteration >= self._last + _LONGEST

    def check(self, state: Splitting, iteration: int, residual: float) -> None:
        """Estimate both bounds at the current iterates, and choose when to do so again."""
        factors = state.factors()
        upper, P, N = factored_value(self.scaled, *factors)
        if upper < self.upper:
            self.upper, self.P, self.N = upper, P, N
        if self.gap > 0.9 * self.tol:  # the dual point kept may serve already
            self._look_at_dual(state, factors, residual)
        if self.gap < 0.9 * self._mark:
            self._mark, self.improved_at = self.gap, iteration
        self._learn(state, iteration, residual)

    def _look_at_dual(
        self, state: Splitting, factors: tuple[Array, Array], residual: float
    ) -> None:
        """Of the dual point moved to the face; of itself where that is too far, or did not help."""
        dual, reach = state.dual(), _REFINABLE
        promised = self.promise**2 * self.tol * _MOVABLE
        near = residual**2 <= promised * state.extent() ** 2
        moved = onto_face(self.scaled, state.ridge, factors, dual) if near else None
        lower, shifted = -np.inf, dual[2]
        if moved is not None:
            lower, shifted = dual_estimate(self.scaled, *moved)
            self._keep(lower, moved[0], shifted)
        if moved is not None and self._gap(lower) < _REFINABLE * self.tol:
            dual, reach = moved, _REFINABLE_MOVED
        else:
            lower, shifted = dual_estimate(self.scaled, *dual)
            self._keep(lower, dual[0], shifted)
        if 0.8 * self.tol < self._gap(lower) < reach * self.tol:
            shifted = refine_diagonals(self.scaled, *dual[1:], shifted)
            self._keep(dual_value(self.scaled, dual[0], shifted), dual[0], shifted)

    def _learn(self, state: Splitting, iteration: int, residual: float) -> None:
        """How small the residual must be for the gap, which falls with its square."""
        gap, extent = max(self.gap, 1e-2 * self.tol), state.extent()
        if extent > 0.0 and math.isfinite(gap):
            self.promise = residual / extent / math.sqrt(gap)
        self.next_check, self._last = iteration + 2, iteration

    def _keep(self, lower: float, nu: Array, diagonals: tuple[Array, ...]) -> None:
        """The dual point with this bound, if it is the best."""
        if lower > self.lower:
            self.lower, self.nu, self.diagonals = lower, nu, diagonals

    def forget_dual(self) -> None:
        """The dual point kept proved less than was estimated: the next is looked at anew."""
        self.lower = -np.inf

    def restart(self, iteration: int) -> None:
        """Count patience anew, after a change of precision."""
        self.improved_at, self.next_check = iteration, iteration + 2

    def offer(self, best: BestPoints, iteration: int) -> None:
        """Let the best points be certified, in the problem's own units."""
        unit = self.scaled.z_unit
        if len(self.P):
            best.offer_primal(unit * self.P, unit * self.N)
        best.offer_dual(
            self.scaled.nu_unit * self.nu,
            [self.scaled.diagonal_unit * a for a in self.diagonals],
            iteration,
            max(1e-4 * self.tol, 1e-13),
        )
