import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding.krivine import (
    GAMMA,
    KrivineSampler,
    krivine_alpha,
    krivine_blocks,
    krivine_network,
)


def random_relaxation(d, seed, rank=None):
    """P, N ⪰ 0 with diag(P) + diag(N) = ρ, as a solver would return them."""
    rng = np.random.default_rng(seed)
    F, G = rng.standard_normal((2, d, rank or d))
    scale = np.sqrt((F**2 + G**2).sum(axis=1))[:, None]
    rho = float(rng.uniform(0.01, 10.0))
    F, G = F * math.sqrt(rho) / scale, G * math.sqrt(rho) / scale
    return F @ F.T, G @ G.T, rho


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([1, None]))
def test_the_covariance_is_psd_with_unit_diagonal(d, seed, rank):
    P, N, rho = random_relaxation(d, seed, rank)
    S, T = krivine_blocks(P, N, rho)
    Q = np.block([[S, T], [T.T, S]])
    assert np.diag(Q) == pytest.approx(np.ones(2 * d), abs=1e-10)
    assert np.linalg.eigvalsh(Q)[0] > -1e-9
    assert np.allclose(T, np.sin(GAMMA * (P - N) / rho))
    # The sampler's factors reproduce it: (p+q)/√2, (p−q)/√2.
    sampler = KrivineSampler.from_relaxation(P, N, rho)
    plus, minus = sampler.plus @ sampler.plus.T, sampler.minus @ sampler.minus.T
    assert np.allclose((plus + minus) / 2, S, atol=1e-10)
    assert np.allclose((plus - minus) / 2, T, atol=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mean_of_uv_is_the_relaxation(seed):
    d, m = 8, 200_000
    P, N, rho = random_relaxation(d, seed)
    U, V = KrivineSampler.from_relaxation(P, N, rho).sample(m, np.random.default_rng(seed))
    mean = U.astype(float) @ V.T.astype(float) / m
    expected = (2 / math.pi) * GAMMA * (P - N) / rho
    # Hoeffding for values in [−1, 1] and a union over d² entries: a right sampler fails with
    # probability below 1e-6.
    bound = math.sqrt(2 * math.log(2 * d * d / 1e-6) / m)
    assert np.abs(mean - expected).max() < bound
    # and the test has the power to see a wrong constant
    assert np.abs(0.9 * mean - expected).max() > bound


def test_the_network_is_unbiased_for_the_relaxation():
    d, m = 6, 400_000
    P, N, rho = random_relaxation(d, 7)
    U, V = KrivineSampler.from_relaxation(P, N, rho).sample(m, np.random.default_rng(7))
    x = np.random.default_rng(8).standard_normal(d)
    f = krivine_alpha(rho, m) * ((x @ U) * (x @ V)).sum()
    # |α m (xᵀu)(xᵀv)| ≤ ρπ/(2γ) ‖x‖₁²; Hoeffding at 1e-6
    spread = rho * math.pi / (2 * GAMMA) * np.abs(x).sum() ** 2
    assert abs(f - x @ (P - N) @ x) < spread * math.sqrt(2 * math.log(2e6) / m)


def test_samples_are_signs_and_depend_on_the_generator_alone():
    P, N, rho = random_relaxation(7, 3)
    sampler = KrivineSampler.from_relaxation(P, N, rho)
    U, V = sampler.sample(5000, np.random.default_rng(1))
    again, _ = KrivineSampler.from_relaxation(P, N, rho).sample(5000, np.random.default_rng(1))
    assert U.shape == V.shape == (7, 5000)
    assert U.dtype == V.dtype == np.int8
    assert set(np.unique(U)) == set(np.unique(V)) == {-1, 1}
    assert np.array_equal(U, again)


def test_a_relaxation_of_rank_one_gives_its_own_signs():
    # Z = uuᵀ, N = 0: S = T on the diagonal sinh γ = 1 = sin(γ)? no: sin γ ≠ 1, so u and v still
    # differ at random, but within u all signs are tied: S = sinh(γ u uᵀ) has rank one.
    u = np.array([1.0, -1.0, 1.0])
    U, V = KrivineSampler.from_relaxation(np.outer(u, u), np.zeros((3, 3)), 1.0).sample(
        500, np.random.default_rng(0)
    )
    assert np.all(np.abs(u @ U) == 3)
    assert np.all(np.abs(u @ V) == 3)
    same = np.mean((u @ U) == (u @ V))
    assert same == pytest.approx((1 + 2 * GAMMA / math.pi) / 2, abs=0.08)


def test_the_network_of_a_solved_relaxation():
    rng = np.random.default_rng(0)
    problem = Problem(rng.standard_normal((40, 5)), np.sign(rng.standard_normal(40)), beta=0.5)
    relaxation = solve(problem)
    network = krivine_network(relaxation, 17, np.random.default_rng(0))
    assert network.neurons == 17
    assert np.all(network.alpha == relaxation.rho[0] * math.pi / (2 * GAMMA * 17))
    assert network.scalars == 1
    # K = π/(2γ): the penalty is K βdρ whatever m is.
    penalty = problem.budget * np.abs(network.alpha).sum()
    assert penalty == pytest.approx(1.7822139781 * problem.budget * relaxation.rho[0])
    wide = krivine_network(relaxation, 200_000, np.random.default_rng(0))
    loss = problem.objective(wide) - penalty
    relaxed_loss = relaxation.upper_bound - problem.budget * relaxation.rho[0]
    assert loss == pytest.approx(relaxed_loss, rel=0.02)


def test_rho_zero_is_the_zero_network():
    rng = np.random.default_rng(0)
    problem = Problem(rng.standard_normal((20, 4)), np.sign(rng.standard_normal(20)), beta=1.0)
    relaxation = solve(problem.with_beta(2.0 * problem.beta_max))
    network = krivine_network(relaxation, 9, rng)
    assert network.neurons == 0
    assert problem.objective(network) == 10.0
