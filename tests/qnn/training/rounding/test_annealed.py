"""Annealing in the space of the products: its sums, its moves, and what it finds."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.rounding import annealed as annealing
from qnn.training.rounding.annealed import anneal_products, annealed, can_anneal, compress
from qnn.training.rounding.candidate import build


def problem(n: int = 40, d: int = 4, beta: float = 0.3, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return Problem(X, X[:, 0] * X[:, -1] + 0.5 * rng.normal(size=n), beta)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 60), st.integers(0, 10**6))
def test_the_compressed_rows_have_the_same_squared_error(d, n, seed):
    rng = np.random.default_rng(seed)
    given_problem = problem(n, d, seed=seed)
    Q, y = compress(given_problem)
    Z = rng.normal(size=(d, d))
    outputs = np.einsum("ni,ij,nj->n", given_problem.X, Z, given_problem.X)
    left = y - np.einsum("ij,ijp->p", Z, Q)
    assert left @ left == pytest.approx(((given_problem.y - outputs) ** 2).sum(), rel=1e-10)


def test_rows_in_blocks_are_the_same_rows(monkeypatch):
    Q, y = compress(problem())
    monkeypatch.setattr(annealing, "ROWS", 7)
    in_blocks, y_in_blocks = compress(problem())
    assert np.abs(y_in_blocks) == pytest.approx(np.abs(y))
    assert np.einsum("ijp,klp->ijkl", in_blocks, in_blocks) == pytest.approx(
        np.einsum("ijp,klp->ijkl", Q, Q)
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, 0.5]), st.integers(0, 10**6))
def test_moves_keep_their_sums_and_at_temperature_0_only_go_down(d, m, T, seed):
    rng = np.random.default_rng(seed)
    given_problem = problem(40, d, seed=seed)
    Q, y = compress(given_problem)
    U, V = rng.choice([-1.0, 1.0], (2, m, d))
    alpha = 0.1 * rng.normal(size=m)
    left, right = (np.einsum("mj,ijp->mip", side, Q) for side in (V, U))
    H = np.einsum("mi,mip->mp", U, left)
    rest = y - alpha @ H

    def objective() -> float:
        outputs = ((given_problem.X @ U.T) * (given_problem.X @ V.T)) @ alpha
        penalty = given_problem.budget * np.abs(alpha).sum()
        return 0.5 * float(((given_problem.y - outputs) ** 2).sum()) + float(penalty)

    before = objective()
    rise = anneal_products(Q, U, V, left, right, H, alpha, rest, given_problem.budget, T, 200, rng)
    assert rise >= 0.0
    assert set(np.unique([U, V])) <= {-1.0, 1.0}
    assert left == pytest.approx(np.einsum("mj,ijp->mip", V, Q), abs=1e-9)
    assert right == pytest.approx(np.einsum("mi,ijp->mjp", U, Q), abs=1e-9)
    assert pytest.approx(np.einsum("mi,mip->mp", U, left), abs=1e-9) == H
    assert rest == pytest.approx(y - alpha @ H, abs=1e-9)
    penalty = given_problem.budget * np.abs(alpha).sum()
    assert 0.5 * rest @ rest + penalty == pytest.approx(objective(), rel=1e-9)
    if T == 0.0:
        assert objective() <= before * (1.0 + 1e-12)


def test_it_finds_the_best_network_of_two_neurons(monkeypatch):
    monkeypatch.setattr(annealing, "MOVES", 20_000)
    given_problem = problem(60, 3, beta=0.5)
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=3))).T
    pairs = [np.stack([u, v])[:, :, None] for u in signs.T for v in signs.T]
    optimum = min(
        build(given_problem, np.concatenate(two, axis=2), np.zeros(2)).objective
        for two in itertools.combinations(pairs, 2)
    )
    found = [
        build(given_problem, W, alpha).objective
        for W, alpha in annealed(given_problem, 2, np.random.default_rng(0))
    ]
    assert len(found) == annealing.RUNS
    assert min(found) == pytest.approx(optimum, rel=1e-9)


def test_the_same_generator_gives_the_same_networks(monkeypatch):
    monkeypatch.setattr(annealing, "MOVES", 5_000)
    one, two = (
        np.concatenate([W for W, _ in annealed(problem(), 3, np.random.default_rng(5))])
        for _ in range(2)
    )
    assert np.array_equal(one, two)


def test_a_deadline_ends_it():
    assert list(annealed(problem(), 2, np.random.default_rng(0), time.monotonic() - 1.0)) == []


def test_where_it_can_be_used():
    assert can_anneal(problem(n=20, d=4), 8)
    assert not can_anneal(problem(n=19, d=4), 8)
    assert not can_anneal(problem(), 1 + annealing.BITS // 8)
    X, y = problem().X, problem().y
    assert not can_anneal(Problem(X, y, 0.3, loss="huber"), 8)
    assert not can_anneal(Problem(X, y, 0.3, activation=Polynomial(1.0, 0.0, 0.0)), 8)
    assert not can_anneal(Problem(X, y, 0.3, alphabet="ternary"), 8)
