"""Learned bounds: valid whatever the map says, near a solver's, and ordinary certificates."""

from dataclasses import replace

import numpy as np
import pytest

import qnn
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.errors import CertificateError, InputError
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from qnn.training.relaxation.learned import BoundMap, Bounds, learn
from tests.qnn.bruteforce import exact_optimum
from tests.qnn.training.relaxation.cases import planted, wdbc

FRACTIONS = np.geomspace(0.5, 0.03, 8)


def shards(count: int, rows: int = 100) -> list[Problem]:
    """Bootstrap shards of 7 columns."""
    X, y = wdbc(400, 6)
    rng = np.random.default_rng(3)
    drawn = [rng.integers(0, len(X), rows) for _ in range(count)]
    return [Problem(X[rows], y[rows], 1.0) for rows in drawn]


def proven(bounds: Bounds) -> np.ndarray:
    """What the kernel proves of each cell, from the certificate and the data."""
    X, y = bounds.problem.X, bounds.problem.y
    cells = range(len(bounds.betas))
    found = np.array([qnn.verify(bounds.certificate(cell), X, y) for cell in cells])
    stated = [bounds.certificate(cell).lower_bound for cell in cells]
    assert np.array_equal(bounds.lower_bounds, stated)
    assert np.all(found >= stated)
    return found


def test_bounds_are_near_a_solvers_and_never_above_its_primal_value() -> None:
    problems = shards(6)
    known = learn(problems[:2], [FRACTIONS * p.beta_max for p in problems[:2]])
    gaps = []
    for problem in problems[2:]:
        betas = FRACTIONS * problem.beta_max
        solved = [solve(problem.with_beta(beta), tol=1e-4) for beta in betas]
        bounds = known(problem, betas)
        lower = proven(bounds)
        assert np.all(lower <= [one.upper_bound for one in solved])
        assert np.all(lower >= bounds.values * (1.0 - 1e-6))
        gaps.append(1.0 - lower / [one.lower_bound for one in solved])
    assert np.median(gaps) <= 0.02
    assert np.percentile(gaps, 90) <= 0.10


def test_bounds_stay_below_the_enumerated_optimum() -> None:
    problem = Problem(*planted(12, 3), 1.0)
    betas = np.array([0.6, 0.2, 0.05]) * problem.beta_max
    lower = proven(BoundMap()(problem, betas))
    best = np.array([exact_optimum(problem.with_beta(beta)) for beta in betas])
    assert np.all(lower <= best * (1.0 + 1e-7))
    assert np.all(lower > 0.5 * best)


@pytest.mark.parametrize(
    "one",
    [
        BoundMap(1e-300, 3, 1),
        BoundMap(1e300, 3, 1),
        BoundMap(0.05, 0, 0),
        BoundMap(0.05, 40, 40),
        BoundMap(5e-324, 60, 2),
    ],
)
def test_every_map_is_valid(one: BoundMap) -> None:
    problem = shards(1)[0]
    betas = np.array([0.5, 0.1]) * problem.beta_max
    upper = [solve(problem.with_beta(beta), tol=1e-2).upper_bound for beta in betas]
    lower = proven(one(problem, betas))
    assert np.all(lower >= 0.0)
    assert np.all(lower <= upper)


@pytest.mark.parametrize("x_unit", [1e-60, 1.0, 1e60])
@pytest.mark.parametrize("y_unit", [1e-60, 1.0, 1e60])
def test_units_of_the_data_do_not_matter(x_unit: float, y_unit: float) -> None:
    X, y = planted(30, 4)
    plain, scaled = Problem(X, y, 1.0), Problem(x_unit * X, y_unit * y, 1.0)
    one = BoundMap()
    expected = y_unit**2 * proven(one(plain, FRACTIONS * plain.beta_max))
    found = proven(one(scaled, FRACTIONS * scaled.beta_max))
    assert np.allclose(found, expected, rtol=1e-5, atol=0.0)


def test_rows_columns_and_signs_may_be_exchanged() -> None:
    problem = shards(1)[0]
    betas, rng = FRACTIONS * problem.beta_max, np.random.default_rng(0)
    rows, columns = rng.permutation(problem.n), rng.permutation(problem.d)
    signs = rng.choice([-1.0, 1.0], problem.d)
    twin = Problem((problem.X * signs)[rows][:, columns], problem.y[rows], 1.0)
    here, there = BoundMap()(problem, betas), BoundMap()(twin, betas)
    assert np.allclose(here.values, there.values, rtol=1e-7)
    assert np.allclose(here.nu[:, rows], there.nu, atol=1e-6 * np.abs(here.nu).max())
    assert np.allclose(here.diagonals[:, columns], there.diagonals, rtol=1e-6)


def test_the_order_of_the_betas_does_not_matter_and_learning_repeats() -> None:
    problems = shards(2)
    betas = [FRACTIONS * p.beta_max for p in problems]
    one = learn(problems, betas)
    assert one == learn(problems, betas)
    forth, back = one(problems[0], betas[0]), one(problems[0], betas[0][::-1])
    assert np.array_equal(forth.nu, back.nu[::-1])
    assert np.array_equal(forth.values, back.values[::-1])


@pytest.mark.parametrize("alphabet", ["ternary", 2])
def test_other_alphabets_and_sample_weights(alphabet: str | int) -> None:
    X, y = planted(60, 4)
    weights = np.linspace(0.2, 3.0, 60)
    problem = Problem(X, y, 1.0, alphabet=alphabet, sample_weight=weights)
    betas = FRACTIONS * problem.beta_max
    lower = proven(BoundMap()(problem, betas))
    solved = [solve(problem.with_beta(beta), tol=1e-4) for beta in betas]
    assert np.all(lower <= [one.upper_bound for one in solved])
    assert np.median(1.0 - lower / [one.lower_bound for one in solved]) < 0.02


@pytest.mark.parametrize(
    "data",
    [
        planted(9, 7),
        (np.zeros((5, 3)), np.ones(5)),
        (np.ones((6, 3)), np.arange(6.0)),
        (planted(20, 3)[0], np.zeros(20)),
        (np.array([[1.0]]), np.array([2.0])),
    ],
    ids=["fewer rows than moments", "no features", "rank one", "no targets", "a number"],
)
def test_degenerate_data(data: tuple[np.ndarray, np.ndarray]) -> None:
    problem = Problem(*data, 1.0)
    betas = [0.5 * problem.beta_max or 1.0, 0.1 * problem.beta_max or 0.1]
    lower = proven(BoundMap()(problem, betas))
    upper = [solve(problem.with_beta(beta), tol=1e-3).upper_bound for beta in betas]
    assert np.all(lower >= 0.0)
    assert np.all(lower <= np.array(upper) * (1.0 + 1e-9))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300, -1.0, 0.0])
def test_a_dual_point_that_was_spoilt_proves_less_never_more(wrong: float) -> None:
    problem = shards(1)[0]
    bounds = BoundMap()(problem, [0.2 * problem.beta_max])
    upper = solve(problem.with_beta(bounds.betas[0]), tol=1e-2).upper_bound
    for name in ("nu", "diagonals"):
        spoilt = getattr(bounds, name).copy()
        spoilt[0, 1] = wrong
        try:
            certificate = replace(bounds, **{name: spoilt}).certificate(0)
        except InputError:
            continue
        assert 0.0 <= qnn.verify(certificate, problem.X, problem.y) <= upper
    certificate = bounds.certificate(0)
    tampered = bounds.diagonals.copy()
    tampered[0, 1] = wrong
    proof = DiagonalProof((tampered[0],))
    with pytest.raises(CertificateError):
        qnn.verify(replace(certificate, proof=proof), problem.X, problem.y)


def test_what_is_refused() -> None:
    X, y = planted(30, 3)
    one, problem = BoundMap(), Problem(X, y, 1.0)
    cases = [
        (Problem(X, np.sign(y), 1.0, "logistic"), "loss 'squared'"),
        (Problem(X, y, 1.0, activation=Polynomial(0.1, 0.5, 0.4)), "bilinear"),
        (Problem(np.ones((3, 25)), np.ones(3), 1.0), "at most 24"),
    ]
    for other, words in cases:
        with pytest.raises(InputError, match=words):
            one(other, [1.0])
    for betas in ([0.0], [np.nan], [-1.0], [[1.0]], [np.inf]):
        with pytest.raises(InputError, match="betas"):
            one(problem, betas)
    for centrality in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="centrality"):
            BoundMap(centrality)
    with pytest.raises(InputError, match="steps"):
        BoundMap(0.05, -1)
    with pytest.raises(InputError, match="at least one"):
        learn([], [])
    assert one(problem, []).values.shape == (0,)
