"""The tightened relaxation of the polynomial activation: two matrices, each with its inequalities.

    min  ℓ(A(P − N), y) + βd (ρ₊ + ρ₋)
    s.t. P, N ⪰ 0,  diag(P) = ρ₊·1,  diag(N) = ρ₋·1,  r_t ρ± + ⟨C_t, P or N⟩ ≥ 0 for all t

Dual: `Diag(a₊) − K₊ − M(ν) ⪰ 0`, `Diag(a₋) − K₋ + M(ν) ⪰ 0`, each `Σa + Σ r τ ≤ βd`, τ ≥ 0: the two
one-sided bounds of `uᵀM(ν)u`, either with multipliers of its own. The ADMM is that of
`solver.py` beside this file, but for the diagonals: they enter the predictions, so their step is
part of the solve with the kernel, as one more column g, `g_i = Σ_j T_jj f_ij²`.
"""

import numpy as np
from scipy.linalg import eigh, eigvalsh

from qnn.certificates.proofs.cuts import CutsProof
from qnn.certificates.record import Certificate
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.repair import first_proven, unproven
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.scaling import plain_rows
from qnn.training.relaxation.tightening.cuts import Cuts, exchanged, none
from qnn.training.relaxation.tightening.steps import MARGINS, project

Array = np.ndarray


class FormState:
    """The iterates: a side for P, with +M, and one for N, with −M."""

    def __init__(self, relaxation: Relaxation) -> None:
        problem = self.problem = relaxation.problem
        # In rows where a weighted squared loss is the plain one; nu has this unit there.
        self.lift, self.y, self.unit = plain_rows(problem)
        lift = self.lift
        assert lift.template is not None
        squares, entries = lift.features**2, lift.template.diagonal()
        self.g = squares @ entries
        kernel = lift.gram() - (squares * entries**2) @ squares.T
        values, self.vectors = eigh(0.5 * (kernel + kernel.T))
        self.values = np.maximum(values, 0.0)
        self.g_vector = self.vectors.T @ self.g
        self.nu = relaxation.nu / self.unit
        M = lift.adjoint(self.nu)
        # Three times the penalty that makes primal and dual matrices equally large: where one side
        # is much smaller than the other, less takes it round in circles.
        size = max(float(np.linalg.norm(block)) for block in (relaxation.P, relaxation.N))
        self.weight = 3.0 * float(np.linalg.norm(M)) / size or 1.0
        blocks = zip((1.0, -1.0), (relaxation.P, relaxation.N), relaxation.rho, strict=True)
        self.sides = [
            _Side(sign, block, rho, -(np.diag(a) - sign * M) / self.weight)
            for (sign, block, rho), a in zip(blocks, relaxation.diagonals, strict=True)
        ]

    @property
    def inequalities(self) -> int:
        """How many are in use, of both sides together."""
        return sum(len(side.cuts) for side in self.sides)

    def exchange(self) -> None:
        """Drop the inequalities without a multiplier, add the most violated."""
        for side in self.sides:
            threshold = 1e-9 * self.problem.budget / max(len(side.tau), 1)
            side.cuts, side.tau = exchanged(
                (side.Q,), max(side.rho, 1e-300), side.cuts, side.tau, threshold
            )

    def run(self, steps: int) -> None:
        """Some steps with the inequalities as they are."""
        plus, minus = self.sides
        for side in self.sides:
            side.begin(self.weight)
        for _ in range(steps):
            for side in self.sides:
                side.aim(self.problem.budget)
            change = plus.target - minus.target
            self._solve(change, [side for side in self.sides if side.free_rho > 0.0])
            if min(side.rho for side in self.sides) < 0.0:
                self._solve(change, [side for side in self.sides if side.rho > 0.0])
            M = self.lift.adjoint(self.nu)
            np.fill_diagonal(M, 0.0)
            for side in self.sides:
                side.move(M)
        for side in self.sides:
            side.tau = np.maximum(-side.slack_weight * side.shift, 0.0)

    def _solve(self, change: Array, free: "list[_Side]") -> None:
        """ν, and ρ of the sides where it is free; 0 of the others."""
        for side in self.sides:
            side.rho = 0.0
        Z = change + sum(side.sign * side.free_rho for side in free) * np.eye(self.lift.size)
        residual = self.vectors.T @ (self.y - self.lift.apply(Z))
        inverse = 1.0 / (1.0 + 2.0 * self.values / self.sides[0].total)
        column, share = inverse * self.g_vector, sum(1.0 / side.curvature for side in free)
        nu = inverse * residual
        nu -= column * (share * (self.g_vector @ nu) / (1.0 + share * (self.g_vector @ column)))
        self.nu = self.vectors @ nu
        pull = float(self.g @ self.nu)
        for side in free:
            side.rho = side.free_rho + side.sign * pull / side.curvature

    def certificate(self) -> Certificate:
        """What the dual point, repaired, proves."""
        entry = self.lift.adjoint(self.nu).diagonal()
        diagonals = [side.sign * entry - self.weight * side.W.diagonal() for side in self.sides]
        return form_certificate(
            self.problem,
            self.unit * self.nu,
            diagonals,
            [side.cuts for side in self.sides],
            [side.tau for side in self.sides],
        )


class _Side:
    """P or N: Q meets the data, P the cone; W their scaled dual; the inequalities' slacks."""

    def __init__(self, sign: float, block: Array, rho: float, W: Array) -> None:
        self.sign, self.rho, self.W = sign, rho, W
        self.P = self.Q = block
        self.cuts, self.tau = none(len(block), 1), np.zeros(0)

    def begin(self, sigma: float) -> None:
        """Prepare for steps with the inequalities as they are."""
        # The slacks' penalty, so that its proximal majorant weighs twice as much as the cone's.
        self.sigma, self.total = sigma, 3.0 * sigma
        self.slack_weight = 2.0 * sigma / self.cuts.square_norm
        constants = self.cuts.constants
        self.rho_weight = self.slack_weight * max(float(constants @ constants), 1.0)
        self.curvature = self.total * len(self.Q) + self.rho_weight
        self.shift = -self.tau / self.slack_weight
        self.values = self.cuts.apply(self.Q) + constants * self.rho
        self.slack = np.maximum(self.values, 0.0)

    def aim(self, budget: float) -> None:
        """Where Q and ρ would go without the data."""
        gradient = self.slack_weight * (self.values - self.slack + self.shift)
        (G,) = self.cuts.adjoint(gradient)
        target = self.sigma * (self.P - self.W) + 2.0 * self.sigma * self.Q - G
        pull = float(target.trace()) + self.rho_weight * self.rho
        pull -= float(self.cuts.constants @ gradient) + budget
        self.free_rho = pull / self.curvature
        self.target = target / self.total
        np.fill_diagonal(self.target, 0.0)

    def move(self, M: Array) -> None:
        """The steps of Q, towards sM without its diagonal, of P and of the slacks."""
        self.Q = self.target + self.sign * M / self.total
        np.fill_diagonal(self.Q, self.rho)
        self.P, self.W = project(self.Q, self.P, self.W)
        self.values = self.cuts.apply(self.Q) + self.cuts.constants * self.rho
        self.slack = np.maximum(self.values + self.shift, 0.0)
        self.shift = self.values + self.shift - self.slack


def form_certificate(
    problem: Problem, nu: Array, diagonals: list[Array], cuts: list[Cuts], taus: list[Array]
) -> Certificate:
    """The certificate of an approximate dual point: each diagonal made feasible, then all scaled.

    nu (n,); of +M and of −M each: a diagonal (D,), inequalities and their multipliers ≥ 0. At worst
    it proves 0, by ν = 0.
    """
    M = problem.lift.adjoint(nu)
    size = len(M)
    spent, raised, multipliers = [], [], []
    for sign, a, side_cuts, tau in zip((1.0, -1.0), diagonals, cuts, taus, strict=True):
        (K,) = side_cuts.adjoint(tau)
        slack = np.diag(a) - K - sign * M
        a = a - float(eigvalsh(slack, check_finite=False)[0])
        spent.append(float(a.sum() + side_cuts.constants @ tau))
        # In the checker's terms the multiplier is that of (b'u)^2 >= 1: its diagonal joins a.
        multipliers.append(0.5 * tau)
        raised.append(a + np.abs(side_cuts.vectors).T @ (0.5 * tau))
    limit = problem.budget / max(spent) if max(spent) > 0.0 else 0.0
    wanted = problem.loss.best_dual_scale(nu, problem.y, limit)
    vectors = np.vstack([side_cuts.vectors for side_cuts in cuts])
    apart = np.zeros((2, len(vectors)))
    apart[0, : len(cuts[0])], apart[1, len(cuts[0]) :] = multipliers
    used = apart.any(axis=0)

    def given_up(part: float) -> Certificate:
        t = min(wanted, limit * (1.0 - part))
        # What is left of a side's budget goes to its diagonal: the margin of the proof.
        budget = problem.budget * (1.0 - 1e-15 * (size + len(vectors)))
        rest = [max(budget - t * side, 0.0) / size * (1.0 - 1e-12) for side in spent]
        diagonals = (t * raised[0] + rest[0], t * raised[1] + rest[1])
        proof = CutsProof(diagonals, vectors[used], t * apart[:, used].ravel())
        return unproven(problem, t * nu, proof)

    proven = first_proven(problem, map(given_up, MARGINS))
    assert proven is not None, "nu = 0 proves 0"
    return proven
