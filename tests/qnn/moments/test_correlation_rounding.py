"""Conditioning and rounding against enumeration of joint distributions."""

import itertools

import numpy as np
import pytest

from qnn.moments import correlation_rounding as rounding
from qnn.moments.csp import max_cut, max_k_cut, planted_unique_games, random_csp
from qnn.moments.csp.forms import pair_payoffs
from qnn.moments.csp.problem import is_unique
from qnn.moments.csp.seeds import conditioned


def test_the_mean_of_independent_rounding_is_that_of_all_assignments() -> None:
    problem = random_csp(4, 3, 0.9, 0)
    p = problem.payoffs
    means = np.random.default_rng(0).dirichlet(np.ones(3), size=4)
    total = sum(
        np.prod(means[np.arange(4), x]) * problem.value(np.array(x))
        for x in itertools.product(range(3), repeat=4)
    )
    W = pair_payoffs(p)
    assert rounding.expected_value(W, p.unary, means) == pytest.approx(total)
    assert problem.value(rounding.derandomized(W, p.unary, means)) >= total - 1e-12


def test_correlations_of_a_true_distribution() -> None:
    # x_0 = x_1 uniform, x_2 independent: only the pair (0, 1) has a covariance, ±1/4 of each value.
    problem = max_cut(np.array([[0, 1.0, 1], [1, 0, 1], [1, 1, 0]]))
    Z = np.full((3, 2, 3, 2), 0.25)
    for i in range(3):
        Z[i, :, i, :] = np.eye(2) / 2
    Z[0, :, 1, :] = Z[1, :, 0, :] = np.eye(2) / 2
    found = rounding.correlations(problem.payoffs, Z)
    # Of 3 pairs of edges one has Σ cov² = 4/16; of the 9 pairs by degree 2, and 3 with themselves.
    assert found.local == pytest.approx(0.25 / 3)
    assert found.everywhere == pytest.approx(0.25 * 5 / 9)


def test_the_spectrum_and_the_promise_of_a_complete_graph() -> None:
    n = 41
    problem = max_cut(np.ones((n, n)) - np.eye(n))
    eigenvalues = rounding.spectrum(problem.payoffs)
    assert eigenvalues[0] == pytest.approx(1.0)
    assert np.allclose(eigenvalues[1:], -1 / (n - 1))
    assert rounding.threshold_rank(eigenvalues, 0.5) == 1
    # With τ just above 0 the rank is 1: the loss of r rounds is r^(-1/4) / 2.
    for rounds in (1, 16, 256):
        assert rounding.guaranteed_loss(eigenvalues, rounds) == pytest.approx(0.5 / rounds**0.25)
    assert rounding.guaranteed_loss(eigenvalues, 0) == 1.0


def test_conditioning_takes_off_what_a_seed_explains() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((6, 6))
    C = A @ A.T
    left = conditioned(C, 2, 2)
    assert np.allclose(left, C - np.outer(C[2], C[2]) / C[2, 2])
    left = conditioned(C, 1, 3)
    assert np.allclose(left[2:4], 0.0)
    assert np.linalg.eigvalsh(left)[0] > -1e-9


def test_propagation_of_a_satisfiable_game_satisfies_it() -> None:
    problem, _ = planted_unique_games(12, 3, 5.0, 0.0, 4)
    assert is_unique(problem.payoffs)
    assert not is_unique(max_k_cut(5, 3, 0.8, 0).payoffs)
    solution = problem.solve(1)
    assert solution.propagated == solution.upper_bound == len(problem.payoffs.pairs)


def test_more_rounds_never_lower_the_derandomized_value_much() -> None:
    problem = max_k_cut(8, 3, 0.7, 3)
    values = [problem.solve(rounds).derandomized for rounds in (0, 1, 2)]
    truth = problem.prove().value
    assert max(values) <= truth
    assert values[2] >= 0.9 * truth
    for rounds in (0, 1, 2):
        solution = problem.solve(rounds)
        assert solution.expected <= solution.derandomized + 1e-9
