"""Many points at once: what is proven the checker proves too, and holds in rational arithmetic."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates.checker import proven_bound
from qnn.certificates.claim import Claim
from qnn.certificates.grids import proven_bounds
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.certificates.record import Certificate
from qnn.certificates.slack import prove_semidefinite, semidefinite
from qnn.errors import CertificateError
from qnn.numerics.floating import parabola_below, parabolas_below
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.learned import BoundMap
from tests.qnn.certificates.test_extreme_scales import SCALES, largest_value

Array = np.ndarray


def claim_of(d: int, weights: Array | None = None) -> Claim:
    return Claim(-np.inf, 1.0, d, "", weights=weights)


def one_by_one(
    claim: Claim, betas: Array, nu: Array, diagonals: Array, X: Array, y: Array, margin: float
) -> Array:
    """The checker's answers, -inf where it refuses."""
    found = np.full(len(betas), -np.inf)
    for cell, (beta, point, a) in enumerate(zip(betas, nu, diagonals, strict=True)):
        certificate = Certificate(replace(claim, beta=float(beta)), point, DiagonalProof((a,)))
        try:
            found[cell] = proven_bound(certificate, X, y, margin)
        except CertificateError:
            continue
    return found


def points(seed: int, n: int = 40, d: int = 5, weighted: bool = False) -> tuple[Problem, Array]:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 3.0, n) if weighted else None
    problem = Problem(rng.normal(size=(n, d)), rng.normal(size=n), 1.0, sample_weight=weights)
    return problem, np.geomspace(0.8, 0.05, 7) * problem.beta_max


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("part", [0.9, 1.0 - 1e-12, 1.0 - 1e-14, 1.0, 1.0 + 1e-14, 1.0 + 1e-9])
def test_what_is_proven_the_checker_proves_too(weighted: bool, part: float) -> None:
    for seed in range(5):
        problem, betas = points(seed, weighted=weighted)
        bounds = BoundMap()(problem, betas)
        X, y, claim = problem.X, problem.y, claim_of(problem.d, problem.weights)
        given = (betas, part * bounds.nu, bounds.diagonals, X, y)
        together = proven_bounds(claim, *given)
        alone = one_by_one(claim, *given, margin=1.0)
        assert np.all(together <= alone)
        if part < 1.0 - 1e-13:
            np.testing.assert_allclose(together, alone, rtol=1e-11)
        if part > 1.0 + 1e-10:
            assert np.all(together == -np.inf)


def test_a_point_does_not_depend_on_those_beside_it() -> None:
    problem, betas = points(1)
    bounds = BoundMap()(problem, betas)
    claim, nu, a = claim_of(problem.d), (1.0 - 1e-9) * bounds.nu, bounds.diagonals
    together = proven_bounds(claim, betas, nu, a, problem.X, problem.y)
    spoilt, wide = nu.copy(), a.copy()
    spoilt[0], spoilt[1, 3], spoilt[2] = np.nan, np.inf, 3.0 * nu[2]
    wide[3] *= betas[3] * problem.d / wide[3].sum() * (1.0 + 1e-14)
    found = proven_bounds(claim, betas, spoilt, wide, problem.X, problem.y)
    assert np.all(found[:4] == -np.inf)
    np.testing.assert_allclose(found[4:], together[4:], rtol=1e-12)


def test_whatever_the_scale_what_is_proven_holds_in_rational_numbers() -> None:
    rng = np.random.default_rng(0)
    proven = 0
    for _ in range(1500):
        n, d = int(rng.integers(1, 4)), int(rng.integers(1, 3))
        X = rng.choice(SCALES) * rng.choice([-1.0, 1.0, 0.7, 0.0], (n, d), p=[0.3, 0.3, 0.3, 0.1])
        nu = rng.choice(SCALES, (6, 1)) * rng.choice([-1.0, 1.0, 0.3], (6, n))
        betas = rng.choice(SCALES[1:], 6) * rng.choice([1.0, 0.9, 3.0], 6)
        with np.errstate(over="ignore"):
            diagonals = (betas * rng.choice([1.0, 0.999], 6))[:, None] * np.ones(d)
        y = nu[0].copy()
        if not np.isfinite(betas).all():
            continue
        claim = claim_of(d)
        for cell, bound in enumerate(proven_bounds(claim, betas, nu, diagonals, X, y)):
            if bound == -np.inf:
                continue
            proven += 1
            assert largest_value(X, nu[cell], claim) <= Fraction(float(betas[cell])) * d
            terms = zip(map(Fraction, nu[cell].tolist()), map(Fraction, y.tolist()), strict=True)
            assert Fraction(float(bound)) <= sum(v * t - v * v / 2 for v, t in terms)
    assert proven > 300


@pytest.mark.parametrize("margin", [1.0, 4.0])
def test_a_stack_of_slacks_is_proven_as_each_alone(margin: float) -> None:
    rng = np.random.default_rng(2)
    for size in (1, 2, 7, 24):
        M = rng.normal(size=(30, size, size))
        M = M + np.swapaxes(M, 1, 2)
        least = np.linalg.eigvalsh(M)[:, 0]
        # At the edge: some of them by a little more than rounding, some by less.
        edges = 10.0 ** rng.uniform(-17, -11, 30) * rng.choice([-1.0, 1.0], 30)
        a = np.repeat((edges * size - least)[:, None], size, axis=1)
        radius = rng.choice([0.0, 1e-15], (30, 1)) * np.ones(size)
        stack = semidefinite(a, M, radius, margin)
        alone = np.zeros(30, dtype=bool)
        for k in range(30):
            try:
                prove_semidefinite(a[k], M[k], radius[k], margin)
            except CertificateError:
                continue
            alone[k] = True
        np.testing.assert_array_equal(stack, alone)
        assert 0 < stack.sum() < 30


def test_sums_lie_below_the_exact_ones() -> None:
    rng = np.random.default_rng(3)
    for weight in (1.0, rng.uniform(1e-3, 1e3, 50)):
        nu = rng.normal(size=(20, 50)) * 10.0 ** rng.uniform(-12, 12, (20, 50))
        y = rng.normal(size=50) * 10.0 ** rng.uniform(-12, 12, 50)
        found = parabolas_below(nu, y, 1.0, weight)
        w = [Fraction(x) for x in np.broadcast_to(weight, 50).tolist()]
        for row, bound in zip(nu, found.tolist(), strict=True):
            pairs = zip(map(Fraction, row.tolist()), map(Fraction, y.tolist()), w, strict=True)
            exact = sum(v * t - v * v / (2 * u) for v, t, u in pairs)
            assert Fraction(bound) <= exact
            assert bound <= parabola_below(row, y, 1.0, weight)
            assert bound >= float(exact) - 1e-12 * float(np.abs(row * y).sum() + row @ (row / w))


def test_what_does_not_fit_is_refused() -> None:
    problem, betas = points(0)
    bounds = BoundMap()(problem, betas)
    claim, X, y = claim_of(problem.d), problem.X, problem.y
    good = {"betas": betas, "nu": bounds.nu, "diagonals": bounds.diagonals, "X": X, "y": y}
    wrong: list[tuple[str, Array]] = [
        ("nu", bounds.nu[:, :-1]), ("nu", bounds.nu[:-1]), ("diagonals", bounds.diagonals[:, :-1]),
        ("y", y[:-1]), ("X", X[:, :-1]), ("X", np.where(X > 1.0, np.nan, X)), ("y", np.inf * y),
        ("betas", -betas), ("betas", np.nan * betas), ("betas", np.inf * betas),
        ("betas", 0.0 * betas),
    ]  # fmt: skip
    for name, value in wrong:
        with pytest.raises(CertificateError):
            proven_bounds(claim, **{**good, name: value})
    for changes in (
        {"weights": np.ones(1)}, {"weights": -np.ones(len(y))}, {"loss": "logistic"},
        {"loss": "no such"}, {"activation": "polynomial", "polynomial": np.ones(3)},
        {"activation": "polynomial"}, {"polynomial": np.ones(3)}, {"d": 4}, {"alphabet": "9"},
    ):  # fmt: skip
        with pytest.raises(CertificateError):
            proven_bounds(replace(claim, **changes), **good)
    empty = proven_bounds(claim, betas[:0], bounds.nu[:0], bounds.diagonals[:0], X, y)
    assert empty.shape == (0,)
