"""When to look at the bounds during a solve, and the best points seen: estimates, scaled units."""

from __future__ import annotations

import numpy as np

from qnn.training.relaxation.admm.estimates import (
    dual_estimate,
    dual_value,
    feasible_value,
    refine_diagonals,
)
from qnn.training.relaxation.admm.splitting import Splitting
from qnn.training.relaxation.best_points import BestPoints
from qnn.training.relaxation.scaling import ScaledProblem

Array = np.ndarray

#: the logarithm of the gap falls by about this in an iteration, before it is known
_USUAL_RATE = 0.3
#: refined diagonals leave a tenth of the gap at best: not tried above this many tolerances
_REFINABLE = 10.0


class Search:
    """The best pair of points by estimates, and when to look again."""

    def __init__(self, scaled: ScaledProblem, tol: float, first: int = 11) -> None:
        self.scaled, self.tol = scaled, tol
        self.upper, self.lower = np.inf, -np.inf
        self.P = self.N = np.empty((0, 0))
        self.nu = np.zeros(scaled.n)
        self.diagonals: tuple[Array, ...] = (np.zeros(scaled.size),)
        self.next_check = first
        self.improved_at, self._mark = 0, np.inf
        self._last: tuple[int, float] | None = None

    @property
    def gap(self) -> float:
        """Estimated relative gap."""
        return self._gap(self.lower)

    def _gap(self, lower: float) -> float:
        if not np.isfinite(self.upper - lower):
            return np.inf
        return (self.upper - lower) / max(abs(self.upper), 1e-300)

    def check(self, state: Splitting, iteration: int) -> None:
        """Estimate both bounds at the current iterates, and choose the next iteration to do so."""
        upper, P, N, _ = feasible_value(self.scaled, *state.primal())
        if upper < self.upper:
            self.upper, self.P, self.N = upper, P, N
        nu, M, diagonals = state.dual()
        lower, shifted = dual_estimate(self.scaled, nu, M, diagonals)
        if 0.8 * self.tol < self._gap(lower) < _REFINABLE * self.tol:
            refined = refine_diagonals(self.scaled, M, diagonals, shifted)
            better = dual_value(self.scaled, nu, refined)
            if better > lower:
                lower, shifted = better, refined
        gap = self._gap(lower)
        if lower > self.lower:
            self.lower, self.nu, self.diagonals = lower, nu, shifted
        if self.gap < 0.9 * self._mark:
            self._mark, self.improved_at = self.gap, iteration
        self.next_check = iteration + self._wait(iteration, gap)
        self._last = (iteration, gap)

    def _wait(self, iteration: int, gap: float) -> int:
        """A fraction of the iterations that are left at the rate seen since the last look."""
        rate = _USUAL_RATE
        if self._last is not None:
            if not 0.0 < gap < self._last[1]:
                return 3
            rate = np.log(self._last[1] / gap) / (iteration - self._last[0])
        left = np.log(max(gap / (0.8 * self.tol), 1.0)) / rate
        return int(np.clip(0.8 * left, 2, min(15, 3 + iteration // 4)))

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
