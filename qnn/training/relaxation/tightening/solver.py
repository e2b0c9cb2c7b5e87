"""The relaxation with inequalities that all signs satisfy, by ADMM, and its certificate.

    min  ℓ(A(Z), y) + βd ρ
    s.t. P = (V+Z)/2 ⪰ 0,  N = (V−Z)/2 ⪰ 0,  diag(V) = ρ·1,  r_t ρ + ⟨C_t, (V, Z)⟩ ≥ 0 for all t

with inequalities added in rounds, the most violated first, and dropped where their multiplier is 0
(see `cuts.py` beside this file). The (V, Z, ρ)-step keeps its closed form because the inequalities'
quadratic term is linearized, with a proximal term of weight ‖C‖² in its place; the other step
projects P, N and the slacks apart.

Dual: `Diag(a) − K_V ∓ (M(ν) + K_Z) ⪰ 0`, `Σa + Σ r τ ≤ βd`, τ ≥ 0, K = Σ τ_t C_t. It is homogeneous
in (ν, a, τ), so any point is repaired by raising a and scaling all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import eigh, eigvalsh

from qnn.certificates.proofs.cuts import CutsProof
from qnn.certificates.record import Certificate
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.levels import check_level, facts_of
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.iteration import Method, iterate
from qnn.training.relaxation.repair import first_proven, unproven
from qnn.training.relaxation.result import Outcome, Relaxation
from qnn.training.relaxation.scaling import plain_rows
from qnn.training.relaxation.solver import Callback, Progress
from qnn.training.relaxation.tightening.cuts import Cuts, exchanged, none
from qnn.training.relaxation.tightening.forms import FormState
from qnn.training.relaxation.tightening.steps import MARGINS, project

Array = np.ndarray

STEPS = 150
ROUNDS = 40
# Rounds in a row that raise the bound by less than this, relative, are the last.
PROGRESS = 1e-5
IDLE_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Tightened:
    """The best certificate found; how many inequalities it uses and how many rounds it took.

    `outcome`: "solved" (the bound rises no more, or reaches what was wanted), "time_limit" or
    "iteration_limit". state: of the bilinear activation, for leaves to go on from; None without a
    round.
    """

    certificate: Certificate
    inequalities: int
    rounds: int
    outcome: Outcome
    state: State | None = None


def tighten(
    relaxation: Relaxation,
    objective: float | None = None,
    tol: float = 1e-6,
    deadline: float | None = None,
    callback: Callback | None = None,
) -> Tightened:
    """Raise a relaxation's bound by triangle inequalities, then those of larger sets.

    objective : of the best network known, to stop at a gap of `tol` to it. deadline:
    `time.monotonic`, looked at after each round. callback: called with a `Progress` after each.
    """
    problem = relaxation.problem
    check_level("tightened", facts_of(problem))
    run = _Run(relaxation, objective, tol, callback)
    if sum(relaxation.rho) <= 0.0:
        return run.result("solved", 0)

    def expired() -> bool:
        return deadline is not None and time.monotonic() > deadline

    return run.result("time_limit", 0) if expired() else run.result(*iterate(run, ROUNDS, expired))


class _Run(Method):
    """Rounds of some steps each, with a certificate after each."""

    def __init__(
        self,
        relaxation: Relaxation,
        objective: float | None,
        tol: float,
        callback: Callback | None,
    ) -> None:
        self._relaxation, self._tol, self._callback = relaxation, tol, callback
        self._upper = np.inf if objective is None else objective
        self._began = time.monotonic()
        self._best, self._used, self._idle = relaxation.certificate, 0, 0
        self._state: State | FormState | None = None

    def step(self, left: int) -> int:
        """One round."""
        if self._state is None:
            pairs = self._relaxation.problem.lift.pairs
            self._state = State(self._relaxation) if pairs else FormState(self._relaxation)
        self._state.exchange()
        self._state.run(STEPS)
        return 1

    def check(self, iteration: int) -> Literal["solved"] | None:
        """Whether the bound reaches what was wanted, or rises no more."""
        assert self._state is not None
        certificate, before = self._state.certificate(), self._best.lower_bound
        raised = certificate.lower_bound - before
        self._idle = self._idle + 1 if raised <= PROGRESS * abs(before) else 0
        if raised > 0.0:
            self._best, self._used = certificate, self._state.inequalities
        lower = self._best.lower_bound
        gap = relative_gap(self._upper, lower) if np.isfinite(self._upper) else np.inf
        if self._callback is not None:
            seconds = time.monotonic() - self._began
            self._callback(Progress(iteration, seconds, self._upper, lower, gap))
        return "solved" if gap <= self._tol or self._idle >= IDLE_ROUNDS else None

    def result(self, outcome: Outcome, rounds: int) -> Tightened:
        """The best certificate so far."""
        state = self._state if isinstance(self._state, State) else None
        return Tightened(self._best, self._used, rounds, outcome, state)


class State:
    """The iterates of the ADMM, with the scaled duals W of P and N, and the multipliers τ."""

    def __init__(self, relaxation: Relaxation) -> None:
        problem = self.problem = relaxation.problem
        # In rows where a weighted squared loss is the plain one; nu has this unit there.
        self.lift, self.y, self.unit = plain_rows(problem)
        self.X = self.lift.features
        values, self.vectors = eigh((self.X @ self.X.T) ** 2)
        self.values = np.maximum(values, 0.0)
        self.P, self.N = relaxation.P, relaxation.N
        self.V, self.Z = self.P + self.N, self.P - self.N
        self.rho = float(relaxation.rho[0])
        self.nu = self.y - self.lift.apply(self.Z)
        M = self.lift.adjoint(self.nu)
        # The penalty that makes primal and dual matrices equally large.
        self.weight = float(np.linalg.norm(M) / np.linalg.norm(self.Z)) or 1.0
        a = np.diag(np.einsum("ij,ij->i", M, self.Z) / self.rho)
        self.W_P, self.W_N = -(a - M) / self.weight, -(a + M) / self.weight
        self.cuts, self.tau = none(problem.d, 2), np.zeros(0)

    def exchange(self) -> None:
        """Drop the inequalities without a multiplier, add the most violated."""
        threshold = 1e-9 * self.problem.budget / max(len(self.tau), 1)
        self.cuts, self.tau = exchanged((self.V, self.Z), self.rho, self.cuts, self.tau, threshold)

    def run(self, steps: int) -> None:
        """Some steps with the inequalities as they are."""
        problem, cuts, sigma = self.problem, self.cuts, self.weight
        d = problem.d
        # The slacks' penalty, so that its proximal majorant weighs as much as that of P and N.
        slack_weight = sigma / cuts.square_norm
        total = 1.5 * sigma
        rho_weight = slack_weight * max(float(cuts.constants @ cuts.constants), 1.0)
        shift = -self.tau / slack_weight
        values = cuts.apply(self.V, self.Z) + cuts.constants * self.rho
        slack = np.maximum(values, 0.0)
        for _ in range(steps):
            gradient = slack_weight * (values - slack + shift)
            G_V, G_Z = cuts.adjoint(gradient)
            P, N = self.P - self.W_P, self.N - self.W_N
            V = (0.5 * sigma * (P + N) + sigma * self.V - G_V) / total
            Z = (0.5 * sigma * (P - N) + sigma * self.Z - G_Z) / total
            pull = total * float(V.trace()) + rho_weight * self.rho
            pull -= float(cuts.constants @ gradient) + problem.budget
            self.rho = max(pull / (total * d + rho_weight), 1e-300)
            np.fill_diagonal(V, self.rho)
            residual = self.vectors.T @ (self.y - self._apply(Z))
            self.nu = self.vectors @ (residual / (1.0 + self.values / total))
            self.V, self.Z = V, Z + self.X.T @ (self.nu[:, None] * self.X) / total
            self.P, self.W_P = project(0.5 * (self.V + self.Z), self.P, self.W_P)
            self.N, self.W_N = project(0.5 * (self.V - self.Z), self.N, self.W_N)
            values = cuts.apply(self.V, self.Z) + cuts.constants * self.rho
            slack = np.maximum(values + shift, 0.0)
            shift = values + shift - slack
        self.tau = np.maximum(-slack_weight * shift, 0.0)

    @property
    def inequalities(self) -> int:
        """How many are in use."""
        return len(self.cuts)

    def certificate(self) -> Certificate:
        """What the dual point, repaired, proves."""
        nu = self.unit * self.nu
        return tightened_certificate(self.problem, nu, self.diagonal(), self.cuts, self.tau)

    def diagonal(self) -> Array:
        """The dual's diagonal by complementarity: `ρ a_i = (K_V V)_ii + ((M + K_Z) Z)_ii`."""
        K_V, K_Z = self.cuts.adjoint(self.tau)
        M = self.lift.adjoint(self.nu) + K_Z
        return np.einsum("ij,ij->i", K_V, self.V) / self.rho + (
            np.einsum("ij,ij->i", M, self.Z) / self.rho
        )

    def _apply(self, Z: Array) -> Array:
        return np.einsum("ij,ij->i", self.X @ Z, self.X)


def tightened_certificate(
    problem: Problem, nu: Array, a: Array, cuts: Cuts, tau: Array
) -> Certificate:
    """The certificate of an approximate dual point: a raised until feasible, then all scaled.

    nu (n,), a (d,), tau (T,) ≥ 0. At worst it proves 0, by ν = 0.
    """
    K_V, K_Z = cuts.adjoint(tau)
    M = problem.lift.adjoint(nu) + K_Z
    lowest = min(
        float(eigvalsh(np.diag(a) - K_V - M, check_finite=False)[0]),
        float(eigvalsh(np.diag(a) - K_V + M, check_finite=False)[0]),
    )
    a = a - min(lowest, 0.0)
    spent = float(a.sum() + cuts.constants @ tau)
    limit = problem.budget / spent if spent > 0.0 else 0.0
    wanted = problem.loss.best_dual_scale(nu, problem.y, limit)
    used = tau > 0.0
    # In the checker's terms the multiplier is that of (b'x)^2 >= 1, whose diagonal part joins a.
    vectors, multipliers = cuts.vectors[used], 0.5 * tau[used]
    squares = np.abs(vectors[:, : problem.d]) + np.abs(vectors[:, problem.d :])
    a = a + squares.T @ multipliers

    def given_up(part: float) -> Certificate:
        t = min(wanted, limit * (1.0 - part))
        # What is left of the budget goes to the diagonal: the margin of the proof.
        rest = problem.budget * (1.0 - 1e-15 * (problem.d + len(vectors))) - t * spent
        return unproven(
            problem,
            t * nu,
            CutsProof(
                (t * a + max(rest, 0.0) / problem.d * (1.0 - 1e-12),), vectors, t * multipliers
            ),
        )

    proven = first_proven(problem, map(given_up, MARGINS))
    assert proven is not None, "nu = 0 proves 0"
    return proven
