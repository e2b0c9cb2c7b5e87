"""A leaf of the branched relaxation: the iterates of its own moments, and its dual numbers.

A leaf says of some entries whether u_i = v_i (+1) or u_i = −v_i (−1), which exchanging u and v does
not change. Its part (V, Z, ρ) of the moments has `P = (V+Z)/2 ⪰ 0` without the rows of the latter,
`N = (V−Z)/2 ⪰ 0` without those of the former, `diag(V) = ρ` and inequalities of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.semidefinite.cone import project_to_cone
from qnn.semidefinite.diagonal import dominating_diagonal
from qnn.training.relaxation.tightening.leaf_steps import aimed, relaxed_point, scattered
from qnn.training.relaxation.tightening.odd_cuts import OddCuts

Array = np.ndarray

# A half gets at least this part of the moments of the leaf that is split.
LEAST_SHARE = 0.05
# How near its best a leaf's diagonal is brought, relative.
DIAGONAL_TOLERANCE = 1e-5


@dataclass(eq=False)
class Leaf:
    """Agreements (d,) int8; P, N and their scaled duals W; V, Z, ρ; the penalty; its cuts."""

    agreements: Array
    P: Array
    N: Array
    W_P: Array
    W_N: Array
    V: Array
    Z: Array
    rho: float
    weight: float
    cuts: OddCuts

    def begin(self) -> None:
        """Prepare for steps with the inequalities as they are."""
        constants = self.cuts.constants
        self.first, self.second = (np.flatnonzero(s * self.agreements >= 0) for s in (1, -1))
        # The slacks' penalty, so that its proximal majorant weighs as much as that of P and N.
        self.slack_weight = self.weight * self.cuts.scales / self.cuts.square_norm
        least = self.weight / self.cuts.square_norm
        self.rho_weight = max(float(self.slack_weight @ constants**2), least)
        self.shift = -self.cuts.tau / self.slack_weight
        self.values = self.cuts.slacks(self.V, self.Z, self.rho)
        self.slack = np.maximum(self.values, 0.0)

    @property
    def total(self) -> float:
        """The weight of a step of (V, Z)."""
        return 1.5 * self.weight

    def aim(self, budget: float) -> None:
        """Where (V, Z, ρ) would go without the data."""
        gradient = self.slack_weight * (self.values - self.slack + self.shift)
        sums = self.cuts.sums(gradient)
        V, Z = np.empty_like(self.V), np.empty_like(self.Z)
        blocks = (self.P, self.W_P, self.N, self.W_N, self.V, self.Z)
        trace = aimed(*blocks, sums, self.weight, V, Z)
        pull = self.total * trace + self.rho_weight * self.rho
        pull -= float(self.cuts.constants @ gradient) + budget
        self.rho = max(pull / (self.total * len(V) + self.rho_weight), 1e-300)
        np.fill_diagonal(V, self.rho)
        self.V, self.Z = V, Z

    def move(self, M: Array) -> None:
        """The steps of Z, towards M(ν), of P and N, and of the slacks."""
        self.Z = self.Z + M / self.total
        self.P, self.W_P = self._projected(1.0, self.P, self.W_P, self.first)
        self.N, self.W_N = self._projected(-1.0, self.N, self.W_N, self.second)
        self.values = self.cuts.slacks(self.V, self.Z, self.rho)
        shifted = self.values + self.shift
        self.slack = np.maximum(shifted, 0.0)
        self.shift = np.minimum(shifted, 0.0)

    def _projected(self, sign: float, block: Array, W: Array, stays: Array) -> tuple[Array, Array]:
        """Over-relaxed projection of (V ± Z)/2 onto the cone without other rows, and the new W."""
        point, inside = np.empty_like(block), np.empty((len(stays), len(stays)))
        relaxed_point(self.V, self.Z, sign, block, W, stays, point, inside)
        projected = np.empty_like(inside)
        project_to_cone(inside, projected)
        positive = np.zeros_like(block)
        scattered(projected, stays, positive, point)
        return positive, point

    def end(self) -> None:
        """Read the multipliers off."""
        self.cuts = self.cuts.weighing(np.maximum(-self.slack_weight * self.shift, 0.0))

    def exchange(self, budget: float) -> None:
        """Drop the inequalities without a multiplier, add the most violated."""
        threshold = 1e-9 * budget / max(len(self.cuts), 1)
        free = self.agreements == 0
        self.cuts = self.cuts.exchanged(self.V, self.Z, self.rho, free, threshold)

    def diagonal(self, M: Array) -> tuple[Array, float]:
        """The least a (d,) with which the leaf's multipliers are feasible at M, and its bound.

        The bound is that of `uᵀMv` for the leaf's signs, `Σa + Σ r τ`.
        """
        K_V, K_Z = self.cuts.adjoint(self.cuts.tau)
        B = M + K_Z
        first = B.diagonal() - self.weight * self.W_P.diagonal()
        second = -B.diagonal() - self.weight * self.W_N.diagonal()
        signs = self.agreements
        a = np.where(signs == 0, 0.5 * (first + second), np.where(signs > 0, first, second))
        blocks = (_within(K_V + B, signs >= 0), _within(K_V - B, signs <= 0))
        a = dominating_diagonal(blocks, a, (self.P, self.N), DIAGONAL_TOLERANCE)
        return a, float(a.sum() + self.cuts.constants @ self.cuts.tau)

    def undecided(self, a: Array) -> int:
        """The entry to split on: much of the dual, and neither agreement; −1 where none is left."""
        means = self.Z.diagonal() / self.rho
        scores = np.where(self.agreements == 0, a * (1.0 - np.minimum(means**2, 1.0)), -np.inf)
        at = int(scores.argmax())
        return at if np.isfinite(scores[at]) else -1

    def split(self, entry: int) -> list[Leaf]:
        """Two leaves, in which u and v agree in the entry and differ; their moments sum to these.

        Row i of P belongs to the first, that of N to the second: of P it takes `P_i P_iᵀ / P_ii`
        and its share of the rest.
        """
        P_own, N_own = _rank_one(self.P, entry), _rank_one(self.N, entry)
        mean = float(self.Z[entry, entry]) / self.rho
        agree = min(max(0.5 * (1.0 + mean), LEAST_SHARE), 1.0 - LEAST_SHARE)
        halves = []
        for sign, share in ((1, agree), (-1, 1.0 - agree)):
            agreements = self.agreements.copy()
            agreements[entry] = sign
            P = share * (self.P - P_own) + (P_own if sign > 0 else 0.0)
            N = share * (self.N - N_own) + (N_own if sign < 0 else 0.0)
            V, rho = P + N, share * self.rho
            np.fill_diagonal(V, rho)
            # Duals stay as they are; so the scaled ones shrink where the penalty grows.
            halves.append(
                Leaf(
                    agreements,
                    P,
                    N,
                    share * self.W_P,
                    share * self.W_N,
                    V,
                    P - N,
                    rho,
                    self.weight / share,
                    self.cuts,
                )
            )
        return halves


def _rank_one(block: Array, entry: int) -> Array:
    pivot = float(block[entry, entry])
    if pivot <= 0.0:
        return np.zeros_like(block)
    return np.outer(block[entry], block[entry]) / pivot


def _within(B: Array, stays: Array) -> Array:
    """B with rows that ask nothing of a diagonal in the place of those that do not stay."""
    low = -10.0 * float(np.abs(B).max(initial=1e-300))
    B = np.where(stays[:, None] & stays, B, 0.0)
    B[~stays, ~stays] = low
    return B
