"""Certificates over leaves of agreements: what holds is accepted, to its edge, and no more."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from qnn.certificates.checker import verify
from qnn.certificates.claim import Claim
from qnn.certificates.proofs.agreements import AgreementsProof
from qnn.certificates.record import Certificate
from qnn.errors import CertificateError, NotACertificateError
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import sign_vectors
from tests.qnn.certificates.members import changed, members

Array = np.ndarray

D, N, CUTS = 4, 9, 6
# Leaves of a tree: entry 2, then 0 in one half and 3 in the other, then 1.
LEAVES = np.array(
    [[1, 0, 1, 0], [-1, 1, 1, 0], [-1, -1, 1, 0], [0, 0, -1, 1], [0, 0, -1, -1]], dtype=np.int8
)
UNPROVEN = "the dual slack is not proven positive|a diagonal entry of the dual slack is not proven"
SPENT = "the diagonal spends more than beta \\* d"


def least_diagonal(M: Array, cuts: Array, tau: Array, signs: Array) -> float:
    """The least even diagonal of a leaf, over the products that its signs leave."""
    p, q = cuts[:, :D].astype(float), cuts[:, D:].astype(float)
    found = [0.0]
    for sign, c, stays in ((1.0, p + q, signs >= 0), (-1.0, p - q, signs <= 0)):
        S = sign * M + np.einsum("t,ti,tj->ij", tau, c, c)
        if stays.any():
            found.append(float(np.linalg.eigvalsh(S[np.ix_(stays, stays)])[-1]))
    return max(found)


def made(seed: int, leaves: Array = LEAVES) -> tuple[Certificate, Problem]:
    """Each leaf with as little on its diagonal as the least eigenvalues allow."""
    rng = np.random.default_rng(seed)
    problem = Problem(rng.normal(size=(N, D)), rng.normal(size=N), 1.0)
    nu = rng.normal(size=N)
    M = problem.lift.adjoint(nu)
    cuts = rng.integers(-2, 3, (CUTS, 2 * D))
    cuts[:, 0] += 1 - cuts.sum(axis=1) % 2
    cuts = cuts.astype(np.int8)
    used = [np.sort(rng.choice(CUTS, 3, replace=False)) for _ in leaves]
    taus = [rng.uniform(0.05, 0.3, 3) for _ in leaves]
    diagonals = [
        np.full(D, least_diagonal(M, cuts[rows], tau, signs))
        for rows, tau, signs in zip(used, taus, leaves, strict=True)
    ]
    proof = AgreementsProof(
        leaves,
        np.array(diagonals),
        np.arange(len(leaves) + 1, dtype=np.int32) * 3,
        np.concatenate(used).astype(np.int32),
        np.concatenate(taus),
        cuts,
    )
    return Certificate(Claim(-1e9, 1e3, D, problem.data_sha256), nu, proof), problem


def spent(certificate: Certificate) -> Array:
    """By each leaf."""
    own = members(certificate)
    taus = np.split(own.leaf_multipliers, own.leaf_starts[1:-1])
    return own.diagonals.sum(axis=1) - np.array([tau.sum() for tau in taus])


@pytest.mark.parametrize("seed", range(6))
def test_every_leaf_needs_the_diagonal_that_its_least_eigenvalue_says(seed: int):
    certificate, problem = made(seed)
    edge = members(certificate).diagonals + 1e-7
    assert verify(changed(certificate, diagonals=edge), problem.X, problem.y) > -1e9
    for leaf in range(len(LEAVES)):
        lower = edge.copy()
        lower[leaf] -= 2e-7
        with pytest.raises(CertificateError, match=UNPROVEN):
            verify(changed(certificate, diagonals=lower), problem.X, problem.y)


@pytest.mark.parametrize("seed", range(6))
def test_no_leaf_may_spend_more_than_the_budget(seed: int):
    certificate, problem = made(seed)
    own = members(certificate).diagonals
    budget = 1.1 * float(spent(certificate).max())
    even = own + (budget * (1.0 - 1e-9) - spent(certificate))[:, None] / D
    certificate = changed(certificate, diagonals=even, beta=budget / D)
    assert verify(certificate, problem.X, problem.y) > -1e9
    for leaf in range(len(LEAVES)):
        more = even.copy()
        more[leaf] += 1e-8 * budget
        with pytest.raises(CertificateError, match=SPENT):
            verify(changed(certificate, diagonals=more), problem.X, problem.y)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("leaves", [LEAVES, LEAVES[:1] * 0, -LEAVES])
def test_what_is_accepted_holds_at_all_signs(leaves: Array, seed: int):
    certificate, problem = made(seed, leaves)
    least = float(spent(certificate).max()) * (1.0 + 1e-6) + 1e-6
    own = members(certificate).diagonals * (1.0 + 1e-7) + 1e-9
    certificate = changed(certificate, beta=least / D, diagonals=own)
    verify(certificate, problem.X, problem.y)
    U = sign_vectors(D)
    products = U.T @ problem.lift.adjoint(certificate.nu) @ U
    assert np.abs(products).max() <= certificate.beta * D


def test_where_all_signs_are_said_the_bound_can_be_the_maximum():
    rng = np.random.default_rng(5)
    problem = Problem(rng.normal(size=(N, 1)), rng.normal(size=N), 1.0)
    nu = rng.normal(size=N)
    M = float(problem.lift.adjoint(nu)[0, 0])
    proof = AgreementsProof(
        np.array([[1], [-1]], dtype=np.int8),
        np.array([[M], [-M]]) + 1e-12,
        np.zeros(3, dtype=np.int32),
        np.zeros(0, dtype=np.int32),
        np.zeros(0),
        np.zeros((0, 2), dtype=np.int8),
    )
    claim = Claim(-1e9, abs(M) + 2e-12, 1, problem.data_sha256)
    assert verify(Certificate(claim, nu, proof), problem.X, problem.y) > -1e9


Change = Callable[[Any], dict[str, Any]]
ATTACKS: dict[str, tuple[Change, str]] = {
    "a leaf left out": (
        lambda c: {
            "leaves": c.leaves[1:], "diagonals": c.diagonals[1:],
            "leaf_starts": c.leaf_starts[1:] - 3, "leaf_cuts": c.leaf_cuts[3:],
            "leaf_multipliers": c.leaf_multipliers[3:],
        },
        "do not cover",
    ),
    "a sign more": (lambda c: {"leaves": c.leaves + (c.leaves == 0)}, "do not cover"),
    "a leaf turned": (lambda c: {"leaves": c.leaves * [[-1]] + [[0]]}, "wrong type"),
    "one sign turned": (
        lambda c: {"leaves": np.vstack([-c.leaves[:1], c.leaves[1:]])}, "do not cover"
    ),
    "no leaf": (lambda c: {"leaves": c.leaves[:0]}, "leaves must be rows"),
    "a sign of two": (lambda c: {"leaves": 2 * c.leaves}, "must be -1, 0 or"),
    "more columns": (lambda c: {"leaves": np.hstack([c.leaves, c.leaves])}, "must be rows"),
    "fewer diagonals": (lambda c: {"diagonals": c.diagonals[1:]}, "must be rows"),
    "no number": (lambda c: {"diagonals": c.diagonals * np.nan}, "not finite"),
    "infinite": (lambda c: {"diagonals": c.diagonals + np.inf}, "not finite"),
    "huge": (lambda c: {"diagonals": c.diagonals * 1e300}, "spends more"),
    "tiny": (lambda c: {"diagonals": c.diagonals * 1e-300}, UNPROVEN),
    "denormal": (lambda c: {"diagonals": c.diagonals * 0 + 5e-324}, UNPROVEN),
    "single precision": (lambda c: {"diagonals": c.diagonals.astype(np.float32)}, "wrong type"),
    "an even sum": (lambda c: {"cuts": np.vstack([2 * c.cuts[:1], c.cuts[1:]])}, "even sum"),
    "a large entry": (lambda c: {"cuts": np.vstack([9 * c.cuts[:1], c.cuts[1:]])}, "large"),
    "wider cuts": (lambda c: {"cuts": np.hstack([c.cuts, c.cuts])}, "inequalities must be rows"),
    "fewer cuts": (lambda c: {"cuts": c.cuts[:2]}, "is not there"),
    "a negative number of a cut": (
        lambda c: {"leaf_cuts": np.append(np.int32(-1), c.leaf_cuts[1:])}, "is not there"
    ),
    "a number too many": (
        lambda c: {"leaf_cuts": np.append(c.leaf_cuts, c.leaf_cuts[:1])}, "differ in number"
    ),
    "starts not at 0": (lambda c: {"leaf_starts": c.leaf_starts + np.int32(1)}, "do not follow"),
    "starts that fall": (lambda c: {"leaf_starts": c.leaf_starts[::-1].copy()}, "do not follow"),
    "starts too few": (lambda c: {"leaf_starts": c.leaf_starts[1:] - 3}, "do not follow"),
    "starts that wrap": (
        lambda c: {"leaf_starts": np.array([0, 2**31 - 1, -(2**31), 9, 12, 15], dtype=np.int32)},
        "do not follow",
    ),
    "a negative multiplier": (
        lambda c: {"leaf_multipliers": np.append(-c.leaf_multipliers[:1], c.leaf_multipliers[1:])},
        "negative",
    ),
    "a multiplier without number": (
        lambda c: {"leaf_multipliers": c.leaf_multipliers * np.nan}, "not finite"
    ),
    "infinite multipliers": (
        lambda c: {"leaf_multipliers": c.leaf_multipliers + np.inf}, "not finite"
    ),
    "huge multipliers": (
        lambda c: {"leaf_multipliers": c.leaf_multipliers * 1e300}, f"{UNPROVEN}|overflow"
    ),
    "other multipliers": (lambda c: {"leaf_multipliers": 1.1 * c.leaf_multipliers}, UNPROVEN),
    "a larger point": (lambda c: {"nu": 1.01 * c.nu}, UNPROVEN),
    "another sign": (lambda c: {"nu": -c.nu}, UNPROVEN),
    "no starts": (lambda c: {"leaf_starts": None}, "the leaves lack 'leaf_starts'"),
    "no leaves": (lambda c: {"leaves": None}, "the leaves lack 'leaves'"),
    "another method": (lambda c: {"method": "branch_and_bound"}, "unknown method"),
    "no method": (lambda c: {"method": None}, "do not belong|belongs to the method"),
    "a diagonal more": (lambda c: {"diag": np.ones(D)}, "does not belong"),
    "the other's activation": (
        lambda c: {"activation": "polynomial", "polynomial": np.array([1.0, 0.0, 0.0])},
        "belong to the bilinear activation",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_no_changed_member_is_accepted(name: str):
    certificate, problem = made(0)
    edge = members(certificate).diagonals + 1e-7
    certificate = changed(certificate, diagonals=edge)
    change, message = ATTACKS[name]
    with pytest.raises((CertificateError, NotACertificateError), match=message):
        verify(changed(certificate, **change(members(certificate))), problem.X, problem.y)
