"""Any loss over blocks: low-rank factors, one broadcast and one sum of d k numbers a step.

Each block gives its loss and the gradient ``2 X' diag(l') X R diag(s)``; L-BFGS runs where the sums
come together. A loss with kinks is replaced by its Moreau envelope of a step that leaves some of
the wanted gap (Yu. Nesterov, Smooth minimization of non-smooth functions, 2005); bounds are those
of the loss itself. The dual point is a formula of the primal one, so that no number a row is kept.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qnn.certificates.blockwise import BlockFacts, ProofSums
from qnn.certificates.record import Certificate
from qnn.certificates.slack import underflow_of
from qnn.errors import CertificateError
from qnn.losses import Loss
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.blocks import Blocks
from qnn.numerics.floating import gamma
from qnn.numerics.gaps import relative_gap
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.training.relaxation.blocks.factors import (
    Factors,
    descend,
    of_solution,
    staircase,
    vertex,
)
from qnn.training.relaxation.blocks.proving import (
    DualFormula,
    Listed,
    look,
    prove,
)
from qnn.training.relaxation.blocks.result import BlocksRelaxation
from qnn.training.relaxation.costs import ROUND
from qnn.training.relaxation.iteration import Method, iterate
from qnn.training.relaxation.result import Outcome

Array = np.ndarray

_LIMIT = 5000
_PATIENCE = 8


@dataclass(frozen=True, eq=False)
class GradientPass:
    """The work on a block: the smoothed loss at ``sum_k s_k (x'r_k)^2``, and its gradient in R."""

    loss: Loss
    smoothing: float
    R: Array
    signs: Array

    def __call__(self, index: int, batches: Batches) -> tuple[float, Array]:
        """Of one block."""
        value, G = 0.0, np.zeros(self.R.shape)
        for X, y in row_blocks(batches):
            H = X @ self.R
            part, slope = envelope(self.loss, self.smoothing, (H * H) @ self.signs, y)
            value += part
            H *= slope[:, None]
            G += X.T @ H
        return value, 2.0 * G * self.signs


def add_gradients(left: tuple[float, Array], right: tuple[float, Array]) -> tuple[float, Array]:
    """The sums over two neighbours."""
    return left[0] + right[0], left[1] + right[1]


def envelope(loss: Loss, step: float, predictions: Array, y: Array) -> tuple[float, Array]:
    """The loss and its gradient (n,), or those of its Moreau envelope where ``step`` > 0."""
    if step == 0.0:
        return loss.value(predictions, y), loss.gradient(predictions, y)
    nearest = loss.prox(predictions, y, step)
    moved = predictions - nearest
    return loss.value(nearest, y) + float(moved @ moved) / (2.0 * step), moved / step


@dataclass(frozen=True, eq=False)
class SlopePass:
    """The work on a block: the largest |prediction|, and the loss's slope along several scales."""

    loss: Loss
    smoothing: float
    factors: Factors
    scales: Array

    def __call__(self, index: int, batches: Batches) -> tuple[float, Array]:
        """Of one block."""
        top, slopes = 0.0, np.zeros(len(self.scales))
        for X, y in row_blocks(batches):
            H = X @ self.factors.R
            predictions = (H * H) @ self.factors.signs
            top = max(top, float(np.abs(predictions).max()))
            for k, scale in enumerate(self.scales):
                _, slope = envelope(self.loss, self.smoothing, scale * predictions, y)
                slopes[k] += float(slope @ predictions)
        return top, slopes


def add_slopes(left: tuple[float, Array], right: tuple[float, Array]) -> tuple[float, Array]:
    """The largest and the sums over two neighbours."""
    return max(left[0], right[0]), left[1] + right[1]


@dataclass(frozen=True, eq=False)
class Scan:
    """What a first pass finds, shared by all betas: the blocks, and the dual point of zero.

    ``diagonal`` dominates ``M`` (d, d) and its negative at least sum; ``zero``: the zero network's
    loss; ``smoothing`` of the loss.
    """

    blocks: tuple[BlockFacts, ...]
    M: Array
    diagonal: Array
    zero: float
    smoothing: float

    @property
    def listed(self) -> Listed:
        """The blocks."""
        return Listed.of(self.blocks)

    @property
    def beta_max(self) -> float:
        """The smallest beta at which the relaxation's answer is the zero network."""
        return float(self.diagonal.sum()) / len(self.M)


def scan_blocks(blocks: Blocks, loss: Loss, d: int, tol: float) -> Scan:
    """Two passes where the loss has kinks: its size sets the smoothing; one elsewhere."""
    zero, step = np.zeros((d, d)), 0.0
    if not loss.smooth:
        work = GradientPass(loss, 0.0, np.zeros((d, 1)), np.ones(1))
        counted = blocks.reduce(_Count(work), _add_counts)
        step = math.sqrt(tol) * max(counted[0] / counted[1], 1e-300)
    sums, value = look(blocks, loss, DualFormula(zero, 1.0, step), zero)
    (a,) = optimal_diagonals(_symmetric(sums.M), 1, 1e-9)
    return Scan(sums.blocks, _symmetric(sums.M), a, value, step)


@dataclass(frozen=True, eq=False)
class _Count:
    work: GradientPass

    def __call__(self, index: int, batches: Batches) -> tuple[float, int]:
        """The zero network's loss on a block, and its rows."""
        value, rows = 0.0, 0
        for _, y in row_blocks(batches):
            self.work.loss.check_targets(y)
            value += self.work.loss.value(np.zeros(len(y)), y)
            rows += len(y)
        return value, rows


def _add_counts(left: tuple[float, int], right: tuple[float, int]) -> tuple[float, int]:
    return left[0] + right[0], left[1] + right[1]


def _symmetric(M: Array) -> Array:
    return 0.5 * (M + M.T)


def solve_low_rank(
    blocks: Blocks,
    loss: Loss,
    beta: float,
    tol: float,
    time_limit: float | None,
    max_iterations: int | None,
    scan: Scan,
    warm_start: tuple[Array, Array] | None = None,
) -> BlocksRelaxation:
    """The relaxation at one beta, until the verified gap is at most ``tol``."""
    run = _Run(blocks, loss, beta, tol, time_limit, scan)
    if beta >= scan.beta_max or not run.start(warm_start):
        run.check_zero()
        outcome: Outcome = "solved" if run.gap <= tol else "stalled"
        return run.result(outcome, 0)
    outcome, steps = iterate(run, max_iterations or _LIMIT, run.expired)
    if run.certificate is None:
        run.certify()
    if run.gap <= tol:
        outcome = "solved"
    return run.result(outcome, steps)


class _Run(Method):
    """Rounds of L-BFGS with the best diagonal of the dual point after each."""

    def __init__(
        self,
        blocks: Blocks,
        loss: Loss,
        beta: float,
        tol: float,
        time_limit: float | None,
        scan: Scan,
    ) -> None:
        self.blocks, self.loss, self.beta, self.tol, self.scan = blocks, loss, beta, tol, scan
        self.started = time.perf_counter()
        self.deadline = np.inf if time_limit is None else self.started + time_limit
        self.d, self.smoothing = len(scan.M), scan.smoothing
        self.budget = beta * self.d
        self.P, self.N = np.zeros((self.d, self.d)), np.zeros((self.d, self.d))
        self.rho, self.upper = 0.0, scan.zero
        self.certificate: Certificate | None = None
        self.factors = Factors(np.zeros((self.d, 1)), np.ones(1))
        self.passes, self.rounds = 0, 0
        self._formula, self._sums, self._diagonal = DualFormula(self.P), _NOTHING, scan.diagonal
        self._best, self._since = np.inf, 0

    @property
    def gap(self) -> float:
        """Verified."""
        lower = -np.inf if self.certificate is None else self.certificate.lower_bound
        return relative_gap(self.upper, lower)

    def expired(self) -> bool:
        """Whether the time limit is over."""
        return time.perf_counter() > self.deadline

    def start(self, warm_start: tuple[Array, Array] | None) -> bool:
        """Factors to descend from: of a solution at another beta, else of the zero network's dual.

        False where the zero network is the best along them.
        """
        factors = None if warm_start is None else of_solution(*warm_start)
        for unit in [vertex(self.scan.M)] if factors is None else [factors, vertex(self.scan.M)]:
            rho = self._best_scale(unit)
            if rho > 0.0:
                self.factors = unit.of_length(rho)
                return True
        return False

    def _best_scale(self, unit: Factors) -> float:
        """The rho near the least ``loss + B rho``: on a grid of powers of 2, then a finer one."""
        top, slopes = self._slopes(unit, np.zeros(1))
        if slopes[0] + self.budget >= 0.0:
            return 0.0
        low, factor = 2.0**-10 / max(top, 1e-300), 2.0
        for _ in range(2):
            grid = low * factor ** np.arange(32)
            _, slopes = self._slopes(unit, grid)
            falling = np.flatnonzero(slopes + self.budget < 0.0)
            low = float(grid[falling[-1]]) if len(falling) else low
            factor = factor ** (1.0 / 31.0)
        return low

    def _slopes(self, unit: Factors, scales: Array) -> tuple[float, Array]:
        self.passes += 1
        return self.blocks.reduce(SlopePass(self.loss, self.smoothing, unit, scales), add_slopes)

    def step(self, left: int) -> int:
        """A round, longer where the last ones have not helped."""
        steps = min(ROUND * (1 + self._since), left)
        signs = self.factors.signs

        def evaluate(R: Array) -> tuple[float, Array]:
            self.passes += 1
            work = GradientPass(self.loss, self.smoothing, R, signs)
            return self.blocks.reduce(work, add_gradients)

        unit = max(self.scan.zero, 1e-300)
        self.factors, done = descend(evaluate, self.factors, self.budget, unit, steps, self.expired)
        self.rounds += 1
        return max(done, 1)

    def check(self, iteration: int) -> Literal["solved", "stalled"] | None:
        """The loss itself and its dual point here; a proof where the gap promises to do."""
        estimate = self._look()
        if estimate <= 0.95 * self.tol:
            self.certify()
            if self.gap <= self.tol:
                return "solved"
        self._since = 0 if estimate < 0.9 * self._best else self._since + 1
        self._best = min(self._best, estimate)
        if self._since >= 2 and self.smoothing > 0.0:
            self.smoothing, self._since = 0.5 * self.smoothing, 0
        return "stalled" if self._since >= _PATIENCE else None

    def prepare(self, iteration: int) -> None:
        """The next rank."""
        M = _symmetric(self._sums.M)
        self.factors = staircase(self.factors, M, self._diagonal, self.budget)

    def _look(self) -> float:
        """One pass at the factors; returns the gap after scaling, estimated from below.

        ``-g*(-t nu) >= t (-g*(-nu))`` for t in [0, 1], as it is concave and 0 at 0.
        """
        R, signs = self.factors.R, self.factors.signs
        F, G = R[:, signs > 0], R[:, signs < 0]
        P, N = F @ F.T, G @ G.T
        self._formula = DualFormula(P - N, 1.0, self.smoothing)
        self.passes += 1
        listed = self.scan.listed
        self._sums, value = look(self.blocks, self.loss, self._formula, P - N, listed)
        (self._diagonal,) = optimal_diagonals(
            _symmetric(self._sums.M), 1, max(0.01 * self.tol, 1e-9)
        )
        self._offer(P, N, value)
        t = min(1.0, self.budget / max(float(self._diagonal.sum()), 1e-300))
        dual = math.fsum(block.value for block in self._sums.blocks)
        return relative_gap(self.upper, t * dual)

    def _offer(self, P: Array, N: Array, value: float) -> None:
        total = np.diag(P) + np.diag(N)
        rho = float(total.max())
        if value + self.budget * rho < self.upper:
            missing = np.diag(0.5 * (rho - total))
            self.P, self.N, self.rho = P + missing, N + missing, rho
            self.upper = value + self.budget * rho

    def check_zero(self) -> None:
        """The zero network's dual point."""
        zero = np.zeros((self.d, self.d))
        self._formula = DualFormula(zero, 1.0, self.smoothing)
        self.passes += 1
        self._sums, _ = look(self.blocks, self.loss, self._formula, zero, self.scan.listed)
        self._diagonal = self.scan.diagonal
        self.certify()

    def certify(self) -> None:
        """Prove the dual point of the last look, scaled into the budget with room for rounding."""
        if self._sums is _NOTHING:
            self._look()
        for caution in (1.0, 1e2, 1e4, 1e6):
            try:
                certificate = self._proven(caution)
            except CertificateError:
                continue
            if self.certificate is None or certificate.lower_bound > self.certificate.lower_bound:
                self.certificate = certificate
            return
        raise CertificateError(
            f"no bound can be proven: beta * d = {self.budget:g} is below what rounding may add up "
            f"to over {self.scan.listed.n} rows; choose a larger beta"
        )

    def _proven(self, caution: float) -> Certificate:
        a, sums, listed = self._diagonal, self._sums, self.scan.listed
        roundings = gamma(2 * listed.roundings + 2 * self.d + 20)
        lost = self.d * underflow_of(listed.n, sums.top, sums.weight)
        shift = 8.0 * self.d * gamma(2 * self.d + 10) + min(1e-4 * self.tol, 1e-7)
        reserve = caution * (5.0 * (roundings * sums.sizes + lost) + shift * np.abs(a).mean())
        room = self.budget * (1.0 - 1e-12) - float(reserve.sum())
        t = min(1.0, max(room, 0.0) / max(float(a.sum()), 1e-300))
        diagonal = t * a + reserve
        diagonal += max(self.budget * (1.0 - 1e-13) - float(diagonal.sum()), 0.0) / self.d
        formula = DualFormula(self._formula.Z, t, self._formula.smoothing)
        self.passes += 1
        certificate, _ = prove(
            self.blocks, self.loss, self.beta, formula, diagonal, listed, formula.Z
        )
        return certificate

    def result(self, outcome: Outcome, steps: int) -> BlocksRelaxation:
        """The best points seen."""
        assert self.certificate is not None
        rank = self.factors.R.shape[1]
        message = f"low-rank L-BFGS: {outcome.replace('_', ' ')} after {steps} steps at rank {rank}"
        statistics = {
            "iterations": float(steps),
            "rounds": float(self.rounds),
            "rank": float(rank),
            "seconds": time.perf_counter() - self.started,
        }
        return BlocksRelaxation(
            self.beta, self.P, self.N, self.rho, self.upper, self.certificate, outcome, message,
            self.passes, statistics,
        )  # fmt: skip


_NOTHING = ProofSums(np.zeros((0, 0)), np.zeros(0), 0.0, 0.0, np.zeros(0, dtype=bool), ())
