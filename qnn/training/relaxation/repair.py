"""Dual repair: from any dual point to a certificate that the checker accepts."""

from collections.abc import Iterable

import numpy as np
from scipy.linalg.lapack import dsyevd

from qnn.certificates.checker import proven_bound
from qnn.certificates.claim import Claim
from qnn.certificates.proofs import Proof
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError
from qnn.networks.activations.lift import Lift
from qnn.semidefinite.diagonal import optimal_diagonals
from qnn.semidefinite.positive import lowest_eigenvalue
from qnn.training.problems.problem import Problem

Array = np.ndarray


_MARGINS = (1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-6, 1e-5, 3e-5, 1e-4, 1e-2)


def certify(
    problem: Problem,
    nu: Array,
    diagonals: Iterable[Array] | None = None,
    margin: float = _MARGINS[0],
) -> Certificate:
    """A verified certificate from any dual point; at worst it proves the trivial bound of nu = 0.

    Parameters
    ----------
    problem : the training problem.
    nu : (n,) any dual point; it is clipped to the domain of the loss's conjugate.
    diagonals : the dual's diagonal(s) (D,), as many as the lift has (two: positive,
        negative), approximately feasible with nu. None asks for the best ones, at the price of a
        small semidefinite program.
    margin : the relative part of the bound that may be given up from the start for a proof; the
        smallest that is enough is searched from there, and each try costs a proof.

    The diagonals are raised until their slacks are semidefinite, the point is scaled by the best
    ``t`` within the budget and the domain, and what is left of the budget is spent on the
    diagonals: the margin that lets floating arithmetic prove it.
    """
    nu = problem.loss.clip_dual(np.asarray(nu, dtype=np.float64), problem.y)
    M = problem.lift.adjoint(nu)
    if diagonals is None:
        diagonals = optimal_diagonals(M, problem.lift.diagonals)
    raised = _raise(M, tuple(diagonals), problem.lift)
    spent = max(float(a.sum()) for a in raised)
    limit = problem.budget / spent if spent > 0.0 else np.inf
    scale = problem.loss.best_dual_scale(nu, problem.y, limit)

    def given_up(part: float) -> Certificate:
        t = min(scale, limit * (1.0 - part))
        return unproven(
            problem, t * nu, DiagonalProof(tuple(_spend(t * a, problem.budget) for a in raised))
        )

    margins = (margin, *(larger for larger in _MARGINS if larger > margin))
    proven = first_proven(problem, map(given_up, margins))
    if proven is not None and proven.lower_bound > 0.0:
        return proven
    even = np.full(problem.lift.size, problem.budget / problem.lift.size)
    spread = DiagonalProof(tuple(_spend(even * 0.5, problem.budget) for _ in raised))
    trivial = unproven(problem, np.zeros(problem.n), spread)
    return trivial.stating(lower_bound=proven_bound(trivial, problem.X, problem.y, margin=4.0))


def first_proven(problem: Problem, candidates: Iterable[Certificate]) -> Certificate | None:
    """The first candidate that is proven, with the bound that is; None where none is.

    They are made as they are asked for, so a proof is paid only for those before the first.
    """
    for candidate in candidates:
        try:
            bound = proven_bound(candidate, problem.X, problem.y, margin=4.0)
        except CertificateError:
            continue
        return candidate.stating(lower_bound=float(bound))
    return None


def _raise(M: Array, diagonals: tuple[Array, ...], lift: Lift) -> list[Array]:
    """Make the diagonals dominate M: add evenly, or multiply where that spends less."""
    raised = []
    for index, a in enumerate(diagonals):
        signs = [sign for own, sign in lift.sides(range(len(diagonals))) if own == index]
        lowest = min(lowest_eigenvalue(np.diag(a) - sign * M) for sign in signs)
        added = a - lowest
        # A diagonal of its own may be negative where M is; a common one dominates both signs.
        common = len(signs) > 1
        usable = not common or float(added.min()) >= 0.0
        if usable and lowest >= 0.0:
            raised.append(added)
            continue
        multiplied = _multiply(signs[0] * M, a, common)
        better = usable and float(added.sum()) < float(multiplied.sum())
        raised.append(added if better else multiplied)
    return raised


def _multiply(signed: Array, a: Array, common: bool) -> Array:
    """The least multiple of a, lifted off zero, that dominates M, or both M and -M."""
    floor = 1e-9 * max(float(np.abs(a).max(initial=0.0)), float(np.abs(signed).max(initial=0.0)))
    positive = np.maximum(a, floor)
    if floor == 0.0:
        return positive
    root = 1.0 / np.sqrt(positive)
    values = _eigenvalues(root[:, None] * signed * root[None, :])
    return positive * max(float(values[-1]), -float(values[0]) if common else 0.0, 1e-300)


def _eigenvalues(S: Array) -> Array:
    # LAPACK itself: the checks around it cost more than the eigenvalues of a small matrix.
    values, _, info = dsyevd(S, compute_v=0, lower=1)
    return values if info == 0 else np.full(len(S), np.nan)


def _spend(a: Array, budget: float) -> Array:
    """Spread what is left of the budget evenly, rounded so that the sum stays within it."""
    rest = budget * (1.0 - 1e-15 * len(a)) - float(a.sum())
    return a + max(rest, 0.0) / len(a) * (1.0 - 1e-12)


def unproven(problem: Problem, nu: Array, proof: Proof) -> Certificate:
    """The record of a problem's dual point nu (n,) with a bound of -inf, for a proven one."""
    coefficients = problem.activation.coefficients
    claim = Claim(
        lower_bound=-np.inf,
        beta=problem.beta,
        d=problem.d,
        data_sha256=problem.data_sha256,
        loss=problem.loss.name,
        loss_parameter=problem.loss.parameter,
        activation=problem.activation.name,
        polynomial=None if coefficients is None else np.array(coefficients, dtype=np.float64),
        alphabet=problem.alphabet.name,
        weights=problem.weights,
    )
    return Certificate(claim, nu, proof)
