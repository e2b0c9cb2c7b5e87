"""A primal-dual interior point on the dual: few rows or few columns, every loss, both lifts.

    max  D(nu)   s.t.  S = Diag(a) - s M(nu) >= 0 for both signs s,  sum(a) <= B,  nu in its box

with D = -g*(-nu). Multipliers are the primal's P and N, rho, and those of the domain of nu. Steps
follow the direction of C. Helmberg, F. Rendl, R. Vanderbei, H. Wolkowicz (An interior-point method
for semidefinite programming, 1996) with S. Mehrotra's predictor and corrector. The dual point is
strictly feasible throughout, so that every iterate has a bound; the primal's predictions need no
feasibility.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import lapack, solve_triangular

from qnn.training.problems.problem import Problem
from qnn.training.relaxation.admm.estimates import dual_estimate, feasible_value
from qnn.training.relaxation.best_points import BestPoints
from qnn.training.relaxation.interior_point.newton import Newton, Side
from qnn.training.relaxation.iteration import Method, iterate
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.scaling import scale_problem
from qnn.training.relaxation.solver import Callback

Array = np.ndarray

_LIMIT = 200
#: iterations without progress before it gives up
_PATIENCE = 12
#: how far towards the boundary a step goes
_REACH = 0.97
_SHORTEST = 1e-9
#: rho at the starts: an optimum of large rho is far from a small one
_STARTS = (100.0, 1e4, 1.0)
#: after a step shorter than this the next one is towards the middle, at least this part of mu
_SHORT, _CENTRED = 0.3, 0.7


def solve(
    problem: Problem,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    warm_start: Relaxation | None = None,
    callback: Callback | None = None,
) -> Relaxation:
    """An interior point until the verified gap is at most ``tol``; see `qnn.solve`. Cold always."""
    best = BestPoints(problem, "interior-point", time_limit, callback)
    limit = _LIMIT if max_iterations is None else max_iterations
    run = _Run(best, tol)
    outcome, iterations = iterate(run, limit, best.out_of_time)
    if outcome != "solved":
        run.offer_last()
        if best.gap > tol and outcome == "stalled" and best.certificate is not None:
            best.offer_dual(best.certificate.nu, None)
        outcome = "solved" if best.gap <= tol else outcome
    message = f"interior point: {outcome.replace('_', ' ')} after {iterations} iterations"
    return best.relaxation(outcome, message, {"iterations": float(iterations)})


@dataclass
class _Step:
    """Changes of nu and a, with those of what follows them, and of the multipliers."""

    nu: Array
    a: list[Array]
    slacks: list[Array]
    rest: Array
    blocks: list[Array]
    rho: Array
    below: Array
    above: Array


class _Run(Method):
    """The iterates, in scaled units; blocks and slacks stand in the order P, N."""

    def __init__(self, best: BestPoints, tol: float) -> None:
        self.best, self.tol = best, tol
        self.scaled = scaled = scale_problem(best.problem)
        self.system = Newton(scaled.lift)
        self.count = scaled.lift.diagonals
        far = np.full(scaled.n, np.inf)
        self.lower = scaled.loss.clip_dual(-far, scaled.y)
        self.upper = scaled.loss.clip_dual(far, scaled.y)
        self._start(_STARTS[0])
        self._restarts = 0
        self._failed, self._improved_at, self._shortest = False, 0, 1.0
        self._best = self._least = np.inf
        self._bounds = np.inf, -np.inf

    def _start(self, rho: float) -> None:
        """Well inside, however infeasible: steps of full length make it feasible."""
        scaled, D = self.scaled, self.scaled.size
        self.nu = _inside(
            -scaled.loss.gradient(np.zeros(scaled.n), scaled.y), self.lower, self.upper
        )
        self.a = [np.full(D, scaled.budget / D) for _ in range(self.count)]
        M = scaled.lift.adjoint(self.nu)
        size = float(np.linalg.norm(M)) / np.sqrt(D) + scaled.budget / D
        self.slacks = [size * np.eye(D) for _ in range(2)]
        self.blocks = [0.5 * rho * np.eye(D) for _ in range(2)]
        self.rest, self.rho = np.full(self.count, scaled.budget), np.full(self.count, rho)
        self._slacken()
        mu = 0.5 * rho * size
        self.below, self.above = mu / self.from_lower, mu / self.to_upper

    def _slacken(self) -> None:
        """What follows the iterates: factors, inverses, and what misses to feasibility."""
        self.factors = [_factor(S) for S in self.slacks]
        self.inverses = [_inverse(L) for L in self.factors]
        M = self.scaled.lift.adjoint(self.nu)
        self.from_lower, self.to_upper = self.nu - self.lower, self.upper - self.nu
        self.missing = [np.diag(self.a[0]) - M - self.slacks[0]]
        self.missing += [np.diag(self.a[-1]) + M - self.slacks[1]]
        budget = self.scaled.budget
        self.overspent = np.array([budget - float(a.sum()) for a in self.a]) - self.rest

    def step(self, left: int) -> int:
        """Predictor and corrector, with one factorization."""
        try:
            self._advance()
        except (np.linalg.LinAlgError, FloatingPointError):
            self._failed = True
        return 1

    def _advance(self) -> None:
        sides: list[Side] = [
            (sign, P, W) for sign, P, W in zip((1.0, -1.0), self.blocks, self.inverses, strict=True)
        ]
        self.gradient, second = self.scaled.loss.dual_slopes(self.nu, self.scaled.y)
        weights = self.below / self.from_lower + self.above / self.to_upper - second
        self._common = bool(second.any())
        self.system.factorize(weights, sides, list(self.rho / self.rest))
        predictor = self._direction(0.0, None)
        mu = self._mu()
        primal, dual = self._reached(predictor)
        after = self._mu(predictor, primal, dual)
        least = _CENTRED if self._shortest < _SHORT else 1e-4
        centre = mu * min(max((after / mu) ** 2, least), 1.0)
        step = self._direction(centre, predictor, primal * dual)
        primal, dual = self._reached(step)
        self._shortest = min(primal, dual)
        if max(primal, dual) < _SHORTEST:
            raise np.linalg.LinAlgError("no step")
        self._move(step, primal, dual)

    def _reached(self, step: _Step) -> tuple[float, float]:
        primal, dual = (min(1.0, _REACH * length) for length in self._lengths(step))
        if self._common:
            primal = dual = min(primal, dual)
        return primal, dual

    def _direction(self, mu: float, predictor: _Step | None, part: float = 1.0) -> _Step:
        """Newton's direction towards the central path at mu, second order where there is one."""
        targets = [mu * W for W in self.inverses]
        rho, below, above = mu / self.rest, mu / self.from_lower, mu / self.to_upper
        for index, (P, W) in enumerate(zip(self.blocks, self.inverses, strict=True)):
            product = P @ self.missing[index] @ W
            targets[index] -= 0.5 * (product + product.T)
        rho -= self.rho * self.overspent / self.rest
        if predictor is not None:
            for index, W in enumerate(self.inverses):
                product = predictor.blocks[index] @ predictor.slacks[index] @ W
                targets[index] -= 0.5 * part * (product + product.T)
            rho -= part * predictor.rho * predictor.rest / self.rest
            below -= part * predictor.below * predictor.nu / self.from_lower
            above += part * predictor.above * predictor.nu / self.to_upper
        lift = self.scaled.lift
        g_nu = self.gradient - lift.apply(targets[0] - targets[1]) + below - above
        diagonals = lift.groups(*(target.diagonal() for target in targets))
        g_a = np.concatenate([sum(own) - r for own, r in zip(diagonals, rho, strict=True)])
        nu, a = self.system.solve(g_nu, g_a)
        pieces = np.split(a, self.count)
        M = lift.adjoint(nu)
        slacks = [np.diag(pieces[0]) - M, np.diag(pieces[-1]) + M]
        # In targets the missing part is paid for already.
        blocks = []
        for target, P, S, W in zip(targets, self.blocks, slacks, self.inverses, strict=True):
            product = P @ S @ W
            blocks.append(target - P - 0.5 * (product + product.T))
        sums = np.array([piece.sum() for piece in pieces])
        return _Step(
            nu,
            pieces,
            [S + missing for S, missing in zip(slacks, self.missing, strict=True)],
            self.overspent - sums,
            blocks,
            rho - self.rho + self.rho / self.rest * sums,
            below - self.below - self.below / self.from_lower * nu,
            above - self.above + self.above / self.to_upper * nu,
        )

    def _lengths(self, step: _Step) -> tuple[float, float]:
        """How far the multipliers, and nu and a, may go, at most 1 / `_REACH`."""
        primal = [_reach(_factor(P), D) for P, D in zip(self.blocks, step.blocks, strict=True)]
        dual = [_reach(L, D) for L, D in zip(self.factors, step.slacks, strict=True)]
        primal += [_ratio(self.rho, step.rho), _ratio(self.below, step.below)]
        primal += [_ratio(self.above, step.above)]
        dual += [_ratio(self.rest, step.rest)]
        dual += [_ratio(self.from_lower, step.nu), _ratio(self.to_upper, -step.nu)]
        longest = 1.0 / _REACH
        return min(longest, *primal), min(longest, *dual)

    def _mu(self, step: _Step | None = None, primal: float = 0.0, dual: float = 0.0) -> float:
        """The mean complementarity, after a step."""
        total, terms = 0.0, 2 * self.scaled.size + self.count
        if step is None:
            step = _Step(
                0.0 * self.nu,
                self.a,
                self.slacks,
                self.rest,
                self.blocks,
                self.rho,
                self.below,
                self.above,
            )
        for P, DP, S, DS in zip(self.blocks, step.blocks, self.slacks, step.slacks, strict=True):
            total += float(np.vdot(P + primal * DP, S + dual * DS))
        total += float((self.rho + primal * step.rho) @ (self.rest + dual * step.rest))
        for z, Dz, x, sign in (
            (self.below, step.below, self.from_lower, 1.0),
            (self.above, step.above, self.to_upper, -1.0),
        ):
            finite = np.isfinite(x)
            terms += int(finite.sum())
            z, x = (z + primal * Dz)[finite], (x + sign * dual * step.nu)[finite]
            total += float(z @ x)
        return total / terms

    def _move(self, step: _Step, primal: float, dual: float) -> None:
        for P, D in zip(self.blocks, step.blocks, strict=True):
            P += primal * D
        self.rho = self.rho + primal * step.rho
        self.below, self.above = (
            self.below + primal * step.below,
            self.above + primal * step.above,
        )
        self.nu = self.nu + dual * step.nu
        self.slacks = [S + dual * D for S, D in zip(self.slacks, step.slacks, strict=True)]
        self.rest = self.rest + dual * step.rest
        self.a = [a + dual * D for a, D in zip(self.a, step.a, strict=True)]
        self._slacken()

    def check(self, iteration: int) -> Literal["solved", "stalled"] | None:
        """Both bounds of this iterate; a proof where they are near enough."""
        if self._failed:
            return self._restart(iteration)
        gap = self._estimate()
        if gap <= 0.9 * self.tol:
            self.offer_last()
            if self.best.gap <= self.tol:
                return "solved"
        mu = self._mu()
        if gap < 0.9 * self._best or mu < 0.9 * self._least:
            self._best, self._least = min(gap, self._best), min(mu, self._least)
            self._improved_at = iteration
        return self._restart(iteration) if iteration - self._improved_at > _PATIENCE else None

    def _restart(self, iteration: int) -> Literal["stalled"] | None:
        """From farther inside the cone, where that has not been tried."""
        self._restarts += 1
        if self._restarts == len(_STARTS):
            return "stalled"
        self._failed, self._improved_at, self._shortest = False, iteration, 1.0
        self._best = self._least = np.inf
        self._start(_STARTS[self._restarts])
        return None

    def _estimate(self) -> float:
        scaled = self.scaled
        upper, P, N, _ = feasible_value(scaled, *self.blocks)
        M = scaled.lift.adjoint(self.nu)
        lower, diagonals = dual_estimate(scaled, self.nu, M, tuple(self.a))
        if upper < self._bounds[0]:
            self._primal, self._bounds = (P, N), (upper, self._bounds[1])
        if lower > self._bounds[1]:
            self._dual, self._bounds = (self.nu, diagonals), (self._bounds[0], lower)
        upper, lower = self._bounds
        return (upper - lower) / max(abs(upper), 1e-300)

    def offer_last(self) -> None:
        """Let the best points be certified, in the problem's own units."""
        scaled, best = self.scaled, self.best
        if not np.isfinite(self._bounds).all():
            return
        best.offer_primal(*(scaled.z_unit * block for block in self._primal))
        nu, diagonals = self._dual
        best.offer_dual(
            scaled.nu_unit * nu,
            [scaled.diagonal_unit * a for a in diagonals],
            margin=max(1e-4 * self.tol, 1e-13),
        )


def _inside(nu: Array, lower: Array, upper: Array) -> Array:
    """Half way between 0, or what is next to it inside, and nu; strictly within the bounds."""
    nu = 0.5 * np.clip(nu, lower, upper)
    width = np.where(np.isfinite(upper - lower), upper - lower, 1.0)
    return np.clip(nu, lower + 0.05 * width, upper - 0.05 * width)


def _factor(S: Array) -> Array:
    factor, info = lapack.dpotrf(S, lower=1, clean=1)
    if info != 0:
        raise np.linalg.LinAlgError("an iterate has left the cone")
    return np.asarray(factor)


def _inverse(factor: Array) -> Array:
    lower, _ = lapack.dpotri(factor, lower=1)
    W = lower + lower.T
    W.flat[:: len(W) + 1] *= 0.5
    return np.asarray(W)


def _reach(factor: Array, change: Array) -> float:
    """The longest t with ``L L' + t change >= 0``."""
    half = solve_triangular(factor, change, lower=True, check_finite=False)
    scaled = solve_triangular(factor, half.T, lower=True, check_finite=False)
    lowest = float(lapack.dsyevd(scaled, compute_v=0, lower=1)[0][0])
    if not np.isfinite(lowest):
        raise np.linalg.LinAlgError("a direction that is no number")
    return -1.0 / lowest if lowest < 0.0 else np.inf


def _ratio(values: Array, changes: Array) -> float:
    falling = changes < 0.0
    return float(np.min(values[falling] / -changes[falling], initial=np.inf))
