"""Signs of the relaxation's vectors: their law, their share, and the zero network."""

import numpy as np
import pytest

from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding.sampling import sampler_of, sign_sampler


def gram(size, rank, seed):
    F = np.random.default_rng(seed).standard_normal((size, rank))
    F /= np.linalg.norm(F, axis=1)[:, None]
    return F @ F.T


def test_the_mean_of_products_is_the_arcsine_law():
    """E[sign(g_i) sign(g_j)] = 2/π arcsin(P_ij / ρ), also for the last coordinate fixed at +1."""
    P, count = gram(5, 3, 0), 200_000
    W = sign_sampler(2.0 * P, np.zeros((5, 5)), (2.0, 0.0))(count, np.random.default_rng(1))
    full = np.vstack([W[0], np.ones((1, count))])
    assert full @ full.T / count == pytest.approx(2 / np.pi * np.arcsin(P), abs=0.012)


def test_both_blocks_are_drawn_from_in_proportion():
    ones = np.ones((4, 4))
    u = np.array([1.0, -1.0, 1.0, 1.0])
    draw = sign_sampler(3.0 * ones, np.outer(u, u), (3.0, 1.0))
    W = draw(100, np.random.default_rng(0))[0]
    assert W.shape == (3, 100)
    assert np.count_nonzero((W == 1.0).all(axis=0)) == 75
    assert np.count_nonzero((u[:3, None] == W).all(axis=0)) == 25
    # Of a tiny block at least one, of an empty one none.
    few = sign_sampler(ones, np.outer(u, u), (1.0, 1e-9))(10, np.random.default_rng(0))[0]
    assert np.count_nonzero((few == u[:3, None]).all(axis=0)) == 1
    none = sign_sampler(np.zeros((4, 4)), np.outer(u, u), (0.0, 1.0))(5, np.random.default_rng(0))
    assert np.array_equal(none[0], np.tile(u[:3, None], 5))


@pytest.mark.parametrize("activation", ["bilinear", Polynomial(0.1, 0.5, 0.4)])
@pytest.mark.parametrize("alphabet", ["binary", 2])
def test_a_relaxation_gives_atoms_of_its_problem_or_none(activation, alphabet):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    problem = Problem(X, y, 0.2, activation=activation, alphabet=alphabet)
    draw = sampler_of(solve(problem))
    assert draw is not None
    W = draw(9, rng)
    assert W.shape == (problem.atoms.parts, problem.atoms.size, 9)
    assert np.all(np.abs(W) == 1.0)
    assert sampler_of(solve(problem.with_beta(2.0 * problem.beta_max))) is None
