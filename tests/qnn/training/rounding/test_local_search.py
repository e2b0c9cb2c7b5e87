from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.networks.alphabets import get_alphabet
from qnn.networks.atoms import BilinearAtoms
from qnn.training.problems.problem import Problem
from qnn.training.rounding.candidate import build, empty, extended, narrowed, restricted
from qnn.training.rounding.local_search import improve, improve_atoms, improve_bits, price


def make_problem(seed, n=30, d=5, beta=0.3):
    rng = np.random.default_rng(seed)
    return Problem(rng.standard_normal((n, d)), rng.standard_normal(n), beta=beta)


def random_incumbent(problem, m, seed):
    rng = np.random.default_rng(seed)
    U, V = rng.choice([-1, 1], size=(2, problem.d, m))
    return build(problem, np.stack([U, V]), rng.standard_normal(m))


def is_consistent(incumbent):
    problem = incumbent.problem
    U, V = incumbent.W
    H = (problem.X @ U) * (problem.X @ V)
    direct = problem.objective_of(U, V, incumbent.alpha)
    return (
        np.allclose(incumbent.H, H)
        and np.allclose(incumbent.T[0] * incumbent.T[1], H)
        and np.allclose(incumbent.predictions, H @ incumbent.alpha)
        and np.isclose(incumbent.objective, direct, rtol=1e-10)
        and bool(np.all(incumbent.alpha != 0.0))
        and len(set(problem.atoms.keys(incumbent.W))) == incumbent.width
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(0, 8), st.floats(0.01, 3.0))
def test_no_move_raises_the_objective_or_the_width(seed, d, m, beta):
    problem = make_problem(seed, d=d, beta=beta)
    incumbent = random_incumbent(problem, m, seed)
    width = max(m, 1)
    rng = np.random.default_rng(seed)
    for moved in (
        improve_bits(incumbent),
        improve_atoms(incumbent, width, rng),
        improve(incumbent, width, rng),
    ):
        assert moved.objective <= incumbent.objective
        assert moved.width <= width
        assert is_consistent(moved)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_pair_of_bits_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    n, d, penalty = 12, 4, 0.7
    X = rng.standard_normal((n, d))
    u, v = rng.choice([-1.0, 1.0], size=(2, d))
    alpha, r = float(rng.standard_normal()), 3 * rng.standard_normal(n)
    rest = r + alpha * (X @ u) * (X @ v)

    def lowest(s, t):
        # min over α of ½‖rest − αh‖² + λ|α|
        h = (X @ s) * (X @ t)
        a = np.sign(h @ rest) * max(abs(h @ rest) - penalty, 0.0) / (h @ h)
        return 0.5 * np.sum((rest - a * h) ** 2) + penalty * abs(a)

    atoms = BilinearAtoms(X, get_alphabet("binary"))
    w, T = np.stack([u, v]), np.stack([X @ u, X @ v])
    (u_new, v_new), alpha_new, moved = atoms.best_change(T, w, alpha, r, penalty, 1e-12)
    found = lowest(u_new, v_new)
    assert moved == (found < lowest(u, v))
    h = (X @ u_new) * (X @ v_new)
    if moved:
        actual = 0.5 * np.sum((rest - alpha_new * h) ** 2) + penalty * abs(alpha_new)
        assert actual == pytest.approx(found)
    flips = [np.ones(d), *(1.0 - 2.0 * np.eye(d))]
    for s, t in product(flips, flips):
        assert found <= lowest(u_new * s, v_new * t) + 1e-10
    # the first step is the best of all one- and two-bit changes, so no worse than any of them
    assert found <= min(lowest(u * s, v * t) for s, t in product(flips, flips)) + 1e-10


def test_bits_reach_a_planted_neuron_from_two_wrong_bits():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    u, v = rng.choice([-1, 1], size=(2, 8, 1))
    problem = Problem(X, ((X @ u) * (X @ v))[:, 0], beta=1e-3)
    wrong_u, wrong_v = u.copy(), v.copy()
    wrong_u[2], wrong_v[5] = -u[2], -v[5]
    improved = improve_bits(build(problem, np.stack([wrong_u, wrong_v]), np.ones(1)))
    planted = build(problem, np.stack([u, v]), np.ones(1))
    assert improved.objective == pytest.approx(planted.objective, rel=1e-9)


def test_the_cost_of_a_removal_is_exact_without_a_refit():
    problem = make_problem(1)
    incumbent = random_incumbent(problem, 6, 1)
    for k, cost in enumerate(incumbent.cost_of_removal):
        alpha = incumbent.alpha.copy()
        alpha[k] = 0.0
        without = problem.objective_of(*incumbent.W, alpha)
        assert without - incumbent.objective == pytest.approx(cost, rel=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_priced_atoms_are_new_and_violate(seed):
    problem = make_problem(seed, d=5, beta=0.1)
    incumbent = random_incumbent(problem, 4, seed)
    W, violations = price(incumbent, np.random.default_rng(seed))
    known = set(problem.atoms.keys(incumbent.W))
    names = problem.atoms.keys(W)
    assert len(set(names)) == len(names) > 0
    assert not known & set(names)
    assert np.all(np.diff(violations) <= 0)
    values = np.abs(problem.atoms.features(W).T @ incumbent.nu)
    assert values / problem.budget - 1 == pytest.approx(violations, abs=1e-9)
    everything = np.array(list(product([-1, 1], repeat=problem.d)))
    M = problem.X.T @ (incumbent.nu[:, None] * problem.X)
    exact = np.abs(everything @ M).sum(axis=1).max()
    assert violations[0] == pytest.approx(exact / problem.budget - 1)


def test_growing_and_shrinking():
    problem = make_problem(3, n=60, d=6, beta=0.05)
    wide = random_incumbent(problem, 30, 3)
    for width in (20, 7, 1):
        narrow = narrowed(wide, width)
        assert narrow.width <= width
        assert narrow.objective >= wide.objective
        assert is_consistent(narrow)
    W, _ = price(wide, np.random.default_rng(0))
    longer = extended(wide, W)
    assert longer.objective < wide.objective
    assert is_consistent(longer)
    assert is_consistent(restricted(wide, np.arange(5)))


def test_the_zero_network_can_grow_and_can_stay():
    problem = make_problem(4, beta=0.2)
    zero = empty(problem)
    assert zero.width == 0
    assert zero.objective == 0.5 * problem.y @ problem.y
    assert improve(zero, 3, np.random.default_rng(0)).objective < zero.objective
    quiet = empty(problem.with_beta(1.01 * problem.beta_max))
    assert improve(quiet, 3, np.random.default_rng(0)).width == 0
