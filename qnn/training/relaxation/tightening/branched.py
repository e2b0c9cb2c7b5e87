"""The tightened relaxation over the leaves of a tree: ν is optimized against all of them together.

    min  ℓ(A(Σ Z_l), y) + βd Σ ρ_l,   (V_l, Z_l, ρ_l) in the cone of leaf l (`leaves.py`)

The neurons of every sign pattern have their moments in one leaf, so this is a relaxation; with its
inequalities for each leaf apart it is a tighter one than that of `solver.py`, whose ADMM it shares:
the step with the data takes the sum of the leaves, the others a leaf each. The leaves with the
largest ρ are split, on the entry that `Leaf.undecided` chooses.

Dual: of each leaf a diagonal and multipliers at one ν, `Σa + Σ r τ ≤ βd` for the worst of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.certificates.proofs.agreements import AgreementsProof
from qnn.certificates.record import Certificate
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.repair import first_proven, unproven
from qnn.training.relaxation.solver import Callback as Report
from qnn.training.relaxation.solver import Progress
from qnn.training.relaxation.tightening.leaves import Leaf
from qnn.training.relaxation.tightening.steps import MARGINS

if TYPE_CHECKING:
    from qnn.training.relaxation.tightening.solver import State

Array = np.ndarray

# Steps between two exchanges of inequalities, and exchanges between two splits.
STEPS, EXCHANGES = 150, 3
# Leaves are split until there are so many: their proof takes some megabytes then.
MOST_LEAVES = 256
# Of the leaves one in this many is split at a time.
SPLIT_PART = 2
# With a time limit, stages in a row without a split that raise the bound by less than this part,
# relative, are the last.
PROGRESS, IDLE_STAGES = 1e-5, 2
# Leaves with less of ρ than this part are neither split nor given new inequalities.
EMPTY = 1e-4
# Bits of a multiplier in a certificate, so that its file is small.
_BITS = 20


@dataclass(frozen=True, eq=False)
class Branched:
    """The best certificate, how many leaves it has, and how many there were at the end."""

    certificate: Certificate
    leaves: int


def branch(
    state: State,
    certificate: Certificate,
    objective: float,
    tol: float = 1e-6,
    deadline: float | None = None,
    callback: Report | None = None,
    most_leaves: int = MOST_LEAVES,
    threads: int | None = None,
) -> Branched:
    """Raise the bound of a tightened relaxation further by leaves.

    state : where `tighten` ended. certificate : the best so far. objective : of the best network
    known, to stop at a gap of `tol` to it. deadline : `time.monotonic`; without one it ends when
    no leaf is left to split or there are `most_leaves`. Where a stage with more leaves would not
    end in time, the bound is raised with those that there are. callback : called with a `Progress`
    after each stage. threads : that take the leaves' steps, None for OMP_NUM_THREADS, or one a
    core; the result is the same for any number, but for what a deadline cuts off.
    """
    began = time.monotonic()
    best, used = certificate, 0
    threads = threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool, threadpool_limits(1, user_api="blas"):
        tree = _Tree(state, pool, deadline)
        stage = idle = 0
        while True:
            more = tree.in_time() and tree.split(most_leaves)
            tree.advance(EXCHANGES if more or deadline is not None else 2 * EXCHANGES)
            stage += 1
            found = tree.certificate()
            raised = 0.0 if found is None else found.lower_bound - best.lower_bound
            idle = 0 if more or raised > PROGRESS * abs(best.lower_bound) else idle + 1
            if found is not None and raised > 0.0:
                best, used = found, len(tree.leaves)
            gap = relative_gap(objective, best.lower_bound)
            if callback is not None:
                seconds = time.monotonic() - began
                callback(Progress(stage, seconds, objective, best.lower_bound, gap))
            ended = idle >= IDLE_STAGES or (deadline is None and not more)
            if gap <= tol or tree.expired() or ended:
                return Branched(best, used)


class _Tree:
    """The leaves and the dual point that they share."""

    def __init__(self, state: State, pool: ThreadPoolExecutor, deadline: float | None) -> None:
        # Halves share the inverse of their leaf's weight: the step with the data stays the same.
        self.state, self.problem = copy(state), state.problem
        self.leaves = [replace(state.leaf)]
        self.pool, self.deadline = pool, deadline
        # Seconds of a leaf's stage; the first one cannot be known.
        self.pace = 0.0

    def expired(self) -> bool:
        """Whether time is over."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def in_time(self) -> bool:
        """Whether a stage with more leaves can be expected to end before the deadline."""
        if self.deadline is None:
            return True
        next_leaves = len(self.leaves) + max(len(self.leaves) // SPLIT_PART, 1)
        return time.monotonic() + self.pace * next_leaves < self.deadline

    def split(self, most: int) -> bool:
        """Split the heaviest leaves, some of all; whether any was."""
        M = self.state.lift.adjoint(self.state.nu)
        total = sum(leaf.rho for leaf in self.leaves)
        order = sorted(range(len(self.leaves)), key=lambda at: (-self.leaves[at].rho, at))
        room = min(max(len(order) // SPLIT_PART, 1), most - len(order))
        chosen = [at for at in order[: max(room, 0)] if self.leaves[at].rho > EMPTY * total]
        halves: dict[int, list[Leaf]] = {}
        for at in chosen:
            leaf = self.leaves[at]
            entry = leaf.undecided(leaf.diagonal(M)[0])
            if entry >= 0:
                halves[at] = leaf.split(entry)
        self.leaves = [
            part for at, leaf in enumerate(self.leaves) for part in halves.get(at, [leaf])
        ]
        return bool(halves)

    def advance(self, exchanges: int) -> None:
        """Some exchanges of inequalities, with steps after each, until time is over."""
        budget, began = self.problem.budget, time.monotonic()
        for _ in range(exchanges):
            total = sum(leaf.rho for leaf in self.leaves)
            held = [leaf for leaf in self.leaves if leaf.rho > EMPTY * total]
            self._each(held, lambda leaf: leaf.exchange(budget))
            self._each(self.leaves, Leaf.begin)
            for _ in range(STEPS):
                self._step(budget)
                if self.expired():
                    break
            self._each(self.leaves, Leaf.end)
            if self.expired():
                break
        self.pace = (time.monotonic() - began) / len(self.leaves)

    def _each(self, leaves: list[Leaf], work: Callable[[Leaf], None]) -> None:
        for _ in self.pool.map(work, leaves):
            pass

    def _step(self, budget: float) -> None:
        self._each(self.leaves, lambda leaf: leaf.aim(budget))
        Z = np.sum([leaf.Z for leaf in self.leaves], axis=0)
        M = self.state.price(Z)
        self._each(self.leaves, lambda leaf: leaf.move(M))

    def certificate(self) -> Certificate | None:
        """What the leaves prove at the dual point, scaled to the budget; None where nothing."""
        M = self.state.lift.adjoint(self.state.nu)
        found = list(self.pool.map(lambda leaf: leaf.diagonal(M), self.leaves))
        worst = max(bound for _, bound in found)
        if not worst > 0.0:
            return None
        nu = self.state.unit * self.state.nu
        return leaves_certificate(self.problem, nu, self.leaves, [a for a, _ in found], worst)


def leaves_certificate(
    problem: Problem, nu: Array, leaves: list[Leaf], diagonals: list[Array], worst: float
) -> Certificate | None:
    """The certificate of a dual point nu (n,) and the leaves' diagonals (d,), scaled together.

    worst : the largest of the leaves' bounds. None where rounding leaves nothing proven.
    """
    limit = problem.budget / worst
    wanted = problem.loss.best_dual_scale(nu, problem.y, limit)
    rows, starts, used, multipliers, raised = _collected(leaves, diagonals)

    def given_up(part: float) -> Certificate:
        t = min(wanted, limit * (1.0 - part))
        # What is left of the budget goes to the diagonals: the margin of the proof.
        tau = [t * own for own in multipliers]
        spent = [t * float(a.sum()) - float(own.sum()) for a, own in zip(raised, tau, strict=True)]
        budget = problem.budget * (1.0 - 1e-15 * (problem.d + max(map(len, tau))))
        own = [
            t * a + max(budget - cost, 0.0) / problem.d * (1.0 - 1e-12)
            for a, cost in zip(raised, spent, strict=True)
        ]
        proof = AgreementsProof(
            np.array([leaf.agreements for leaf in leaves]),
            np.array(own),
            starts,
            used,
            np.concatenate(tau),
            rows,
        )
        return unproven(problem, t * nu, proof)

    return first_proven(problem, map(given_up, MARGINS))


def _collected(
    leaves: list[Leaf], diagonals: list[Array]
) -> tuple[Array, Array, Array, list[Array], list[Array]]:
    """All inequalities once, which each leaf uses, their multipliers, and the diagonals.

    In the checker's terms a multiplier is that of `(bᵀx)² ≥ 1`, whose diagonal part joins a.
    """
    numbers: dict[bytes, int] = {}
    starts, used, multipliers, raised = [0], [], [], []
    for leaf, a in zip(leaves, diagonals, strict=True):
        tau = _rounded(0.5 * leaf.cuts.tau)
        on = np.flatnonzero(tau > 0.0)
        rows = leaf.cuts.rows[on]
        used += [numbers.setdefault(row.tobytes(), len(numbers)) for row in rows]
        starts.append(len(used))
        multipliers.append(tau[on])
        d = len(a)
        squares = np.abs(leaf.cuts.rows[:, :d]) + np.abs(leaf.cuts.rows[:, d:])
        # As if nothing had been rounded: what is missing of a multiplier only adds a square.
        raised.append(a + squares.T @ (0.5 * leaf.cuts.tau))
    width = leaves[0].cuts.rows.shape[1]
    rows = np.frombuffer(b"".join(numbers), dtype=np.int8).reshape(-1, width)
    return (
        rows,
        np.array(starts, dtype=np.int32),
        np.array(used, dtype=np.int32),
        multipliers,
        raised,
    )


def _rounded(tau: Array) -> Array:
    """Down to few bits each."""
    mantissa, exponent = np.frexp(tau)
    return np.ldexp(np.floor(np.ldexp(mantissa, _BITS)), exponent - _BITS)
