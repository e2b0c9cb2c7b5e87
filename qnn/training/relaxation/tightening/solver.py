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
from scipy.linalg.blas import dsymv

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
from qnn.training.relaxation.tightening.cuts import Cuts
from qnn.training.relaxation.tightening.forms import FormState
from qnn.training.relaxation.tightening.leaves import Leaf
from qnn.training.relaxation.tightening.odd_cuts import OddCuts
from qnn.training.relaxation.tightening.steps import MARGINS

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
    """The dual point, and the moments as the one leaf of a tree that is not split (`leaves.py`)."""

    def __init__(self, relaxation: Relaxation) -> None:
        problem = self.problem = relaxation.problem
        # In rows where a weighted squared loss is the plain one; nu has this unit there.
        self.lift, self.y, self.unit = plain_rows(problem)
        P, N, rho = relaxation.P, relaxation.N, float(relaxation.rho[0])
        Z = P - N
        self.nu = self.y - self.lift.apply(Z)
        M = self.lift.adjoint(self.nu)
        # The penalty that makes primal and dual matrices equally large.
        weight = float(np.linalg.norm(M) / np.linalg.norm(Z)) or 1.0
        a = np.diag(np.einsum("ij,ij->i", M, Z) / rho)
        agreements = np.zeros(problem.d, dtype=np.int8)
        duals = -(a - M) / weight, -(a + M) / weight
        cuts = OddCuts(np.zeros((0, 2 * problem.d), dtype=np.int8), np.zeros(0))
        self.leaf = Leaf(agreements, P, N, *duals, P + N, Z, rho, weight, cuts)
        values, vectors = eigh(self.lift.gram(), overwrite_a=True, check_finite=False)
        inverse = 1.0 / (1.0 + np.maximum(values, 0.0) / self.leaf.total)
        self.inverse = np.asfortranarray((vectors * inverse) @ vectors.T)

    def exchange(self) -> None:
        """Drop the inequalities without a multiplier, add the most violated."""
        self.leaf.exchange(self.problem.budget)

    def run(self, steps: int) -> None:
        """Some steps with the inequalities as they are."""
        self.leaf.begin()
        for _ in range(steps):
            self.leaf.aim(self.problem.budget)
            self.leaf.move(self.price(self.leaf.Z))
        self.leaf.end()

    def price(self, Z: Array) -> Array:
        """The step with the data: the dual point at predictions `A(Z)` that move along; M(ν)."""
        self.nu = dsymv(1.0, self.inverse, self.y - self.lift.apply(Z), lower=1)
        return self.lift.adjoint(self.nu)

    @property
    def inequalities(self) -> int:
        """How many are in use."""
        return len(self.leaf.cuts)

    def certificate(self) -> Certificate:
        """What the dual point, repaired, proves."""
        nu, cuts = self.unit * self.nu, Cuts(self.leaf.cuts.rows, self.problem.d)
        return tightened_certificate(self.problem, nu, self.diagonal(), cuts, self.leaf.cuts.tau)

    def diagonal(self) -> Array:
        """The dual's diagonal by complementarity: `ρ a_i = (K_V V)_ii + ((M + K_Z) Z)_ii`."""
        leaf = self.leaf
        K_V, K_Z = leaf.cuts.adjoint(leaf.cuts.tau)
        M = self.lift.adjoint(self.nu) + K_Z
        products = np.einsum("ij,ij->i", K_V, leaf.V) + np.einsum("ij,ij->i", M, leaf.Z)
        return np.asarray(products / leaf.rho)


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
