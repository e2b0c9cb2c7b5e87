"""The optimum over all quantized networks, with its proof: column generation and exact pricing.

The dual constraint is `|uᵀM(ν)v| ≤ βd` for all signs; of the polynomial activation, u = v and
homogenized. Heuristic pricing inserts atoms until it finds none that violates it; exact pricing, by
enumeration or by branch and bound, then either confirms it, or returns atoms that the heuristic
missed. Each time it also gives a bound: with `‖M‖ = max |uᵀMv|` every `tν`, `t ≤ βd/‖M‖`, is dual
feasible, so the bounds close in while this runs. A branch and bound that is cut short still bounds
‖M‖.
"""

import math
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qnn.certificates.checker import dual_value
from qnn.certificates.proofs.branching import BranchingProof
from qnn.certificates.proofs.enumeration import EnumerationProof
from qnn.certificates.record import Certificate
from qnn.networks.activations.lift import Lift
from qnn.numerics.gaps import relative_gap
from qnn.training.pricing.branch_and_bound import (
    Branching,
    branch_and_bound,
    branch_and_bound_forms,
)
from qnn.training.pricing.enumeration import (
    Enumeration,
    Scanner,
    enumerate_forms,
    enumerate_signs,
    forming_error,
)
from qnn.training.problems.levels import check_level, facts_of
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.repair import first_proven, unproven
from qnn.training.relaxation.solver import Callback, Progress
from qnn.training.rounding.candidate import Incumbent, extended, restricted
from qnn.training.rounding.local_search import STARTS, price
from qnn.training.rounding.sampling import Sampler

# The relative gap at which a network counts as optimal.
TOLERANCE = 1e-7
# Atoms are priced more sharply than that: what is left of a violation is left of the gap.
VIOLATION = 1e-8
# Leaves of a branch and bound are closed within this of the budget, relative: what is left of it is
# left of the gap, and atoms tie at the budget itself.
LOOSE = 5e-6
# Numbers of a leaf are raised by this part of the bound and of the margin: where they vanish, what
# they dominate vanishes only up to rounding.
NOISE = 1e-3
# Atoms that an enumeration returns at most, and that a round of heuristic pricing inserts.
KEPT = 256
COLUMNS = 40
# Columns of M up to which enumeration, 2^(d−1) steps, is the quicker way: 13 s of a core for 34 of
# the bilinear activation, 8 s for 36 of the polynomial one.
ENUMERATED, ENUMERATED_FORMS = 34, 36
# Starts of the last heuristic pricing where sign vectors are too many to be tried, and the
# probability with which signs of active neurons are turned: 0.004 % less on german credit (β at 0.1
# of its maximum) in 2 s, after which 64,000 starts found nothing.
THOROUGH, FLIPS = 4000, 0.15
# Rounds of heuristic pricing without progress, after which only exact pricing can help.
IDLE_ROUNDS = 3
# The same for a loss that is piecewise linear.
POOL_ROUNDS = 40


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best network found, and the certificate with the best bound of an exact pricing.

    `certificate` is None where none ended in time. `outcome`: "solved", the gap is at most the
    tolerance; "time_limit", or too many open nodes; "stalled", rounding errors keep the gap above.
    `pricings` counts the exact ones.
    """

    incumbent: Incumbent
    certificate: Certificate | None
    outcome: Literal["solved", "time_limit", "stalled"]
    pricings: int
    rounds: int

    @property
    def gap(self) -> float:
        """`(objective − bound)/|objective|`; inf without a bound."""
        if self.certificate is None:
            return np.inf
        return relative_gap(self.incumbent.objective, self.certificate.lower_bound)


def prove_optimum(
    incumbent: Incumbent,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    tol: float = TOLERANCE,
    scanner: Scanner | None = None,
    deadline: float | None = None,
    callback: Callback | None = None,
) -> Optimum:
    """Improve the incumbent until it is proven optimal to a relative gap of `tol`.

    incumbent : where the column generation starts; the nearer to the optimum the better.
    sampler : samples of the relaxation as additional starts of the heuristic pricing.
    scanner : who scans an enumeration's vectors, None for threads. The result is the same for any.
    deadline : `time.monotonic` at which the best so far is returned.
    callback : called with a `Progress` after each exact pricing.
    """
    check_level("exact", facts_of(incumbent.problem))
    began = time.monotonic()
    problem, best = incumbent.problem, None
    pricings = rounds = 0
    outcome: Literal["solved", "time_limit", "stalled"] = "time_limit"
    while True:
        thorough = 0 if enumerated(problem.lift) else THOROUGH
        incumbent, used = settle(incumbent, rng, sampler, deadline, thorough)
        rounds += used
        found = _price_exactly(problem, incumbent.nu, scanner, deadline)
        if found is None:
            break
        pricings += 1
        if best is None or found.certificate.lower_bound > best.lower_bound:
            best = found.certificate
        gap = relative_gap(incumbent.objective, best.lower_bound)
        if callback is not None:
            seconds = time.monotonic() - began
            callback(Progress(pricings, seconds, incumbent.objective, best.lower_bound, gap))
        if gap <= tol:
            outcome = "solved"
            break
        longer = _with_atoms(incumbent, found)
        if longer is None:
            outcome = "stalled" if found.complete else "time_limit"
            break
        incumbent = longer
    incumbent = restricted(incumbent, np.flatnonzero(incumbent.alpha))
    return Optimum(incumbent, best, outcome, pricings, rounds)


def enumerated(lift: Lift) -> bool:
    """Whether all sign vectors are tried."""
    return lift.size <= (ENUMERATED if lift.pairs else ENUMERATED_FORMS)


@dataclass(frozen=True, eq=False)
class _Priced:
    """The certificate of one exact pricing, and the atoms (U, V) (d, k) with their values (k,)."""

    certificate: Certificate
    U: np.ndarray
    V: np.ndarray
    values: np.ndarray
    complete: bool


def _price_exactly(
    problem: Problem, nu: np.ndarray, scanner: Scanner | None, deadline: float | None
) -> _Priced | None:
    """`max |uᵀM(ν)v|` proven or bounded; None where time or the leaves' precision end before."""
    nu = problem.loss.clip_dual(nu, problem.y)
    M, floor = problem.lift.adjoint(nu), problem.budget * (1.0 + 0.1 * VIOLATION)
    lift = problem.lift
    error = forming_error(lift, nu)
    if not enumerated(lift):
        loose = problem.budget * (1.0 + LOOSE)
        if lift.pairs:
            tree = branch_and_bound(M, loose, deadline)
        else:
            tree = branch_and_bound_forms(M, loose, lift.even, deadline)
        certificate = branching_certificate(problem, nu, tree, error)
        if certificate is None:
            return None
        return _Priced(certificate, tree.U, tree.V, tree.values, tree.complete)
    enumerate_all = enumerate_signs if lift.pairs else enumerate_forms
    found = enumerate_all(M, error, floor, KEPT, scanner, deadline)
    if not found.complete:
        return None
    certificate = exact_certificate(problem, nu, found)
    return _Priced(certificate, found.U, found.V, found.values, True)


def settle(
    incumbent: Incumbent,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    deadline: float | None = None,
    thorough: int = 0,
) -> tuple[Incumbent, int]:
    """Column generation by heuristic pricing until it finds nothing; the rounds it took.

    thorough : starts of a last search, where no enumeration will find what it missed.
    """
    # A linear program has many dual points at one value: unless it keeps what it priced, it may
    # go round among them. A curved loss has one, so that its neurons without weight can leave.
    keeps = incumbent.problem.loss.piecewise_linear
    patience = POOL_ROUNDS if keeps else IDLE_ROUNDS
    rounds = idle = 0
    while idle < patience and (deadline is None or time.monotonic() < deadline):
        rounds += 1
        W, violations = price(incumbent, rng, sampler, tol=VIOLATION)
        if not len(violations):
            W, violations = price(incumbent, rng, sampler, 4 * STARTS, tol=VIOLATION)
        if thorough and not len(violations):
            W, violations = price(incumbent, rng, sampler, thorough, tol=VIOLATION, flips=FLIPS)
        if not len(violations):
            break
        longer = extended(incumbent, W[:, :, :COLUMNS], pruned=not keeps)
        idle = 0 if longer.objective < incumbent.objective else idle + 1
        if keeps or idle == 0:
            incumbent = longer
    return incumbent, rounds


def exact_certificate(problem: Problem, nu: np.ndarray, found: Enumeration) -> Certificate:
    """The certificate that an enumeration at ν gives: tν with the best feasible t, and its bound.

    nu (n,) in the domain of the loss's conjugate; found: of M(ν), with the error of forming it.
    """
    # The checker sums in another order and adds its own allowance: room for several of them.
    norm = found.upper_bound + 8.0 * found.error
    limit = problem.budget / norm * (1.0 - 1e-15) if norm > 0.0 else math.inf
    scaled = problem.loss.best_dual_scale(nu, problem.y, limit) * nu
    nu = problem.loss.clip_dual(scaled, problem.y)
    certificate = unproven(problem, nu, EnumerationProof())
    return certificate.stating(lower_bound=float(dual_value(certificate, problem.y, 4.0)))


def branching_certificate(
    problem: Problem, nu: np.ndarray, tree: Branching, error: float
) -> Certificate | None:
    """The certificate that the leaves of a branch and bound at ν give; `error`: of forming M(ν).

    None where they cannot be proven: their numbers of 32 bits end at budgets of 1e-38 and 1e38.
    """

    def given_up(margin: float) -> Certificate:
        noise = margin * NOISE * tree.upper_bound
        bound = tree.raised(2.0 * margin) + 2.0 * noise + 8.0 * error
        limit = problem.budget / bound if bound > 0.0 else math.inf
        scale = problem.loss.best_dual_scale(nu, problem.y, limit)
        numbers = (1.0 + margin) * tree.diagonals + noise / tree.diagonals.shape[1]
        return unproven(
            problem,
            problem.loss.clip_dual(scale * nu, problem.y),
            BranchingProof(tree.signs, (scale * numbers).astype(np.float32)),
        )

    return first_proven(problem, map(given_up, (1e-7, 1e-6, 1e-5, 1e-4, 1e-2)))


def _with_atoms(incumbent: Incumbent, found: _Priced) -> Incumbent | None:
    """With the priced atoms above the budget; None where that lowers the objective no more."""
    above = found.values > incumbent.problem.budget * (1.0 + 0.1 * VIOLATION)
    atoms = incumbent.problem.atoms
    W, _ = atoms.canonical(atoms.from_signs(found.U[:, above], found.V[:, above]))
    fresh = atoms.unseen(incumbent.W, W)
    if not fresh:
        return None
    keeps = incumbent.problem.loss.piecewise_linear
    longer = extended(incumbent, W[:, :, fresh], pruned=not keeps)
    return longer if keeps or longer.objective < incumbent.objective else None
