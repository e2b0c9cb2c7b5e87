"""Every activation's atoms under every alphabet: features, representatives, pricing, changes."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from tests.qnn.bruteforce import all_neurons

ACTIVATIONS = {
    "bilinear": "bilinear",
    "general": Polynomial(0.0937, 0.5, 0.4688),
    "even": Polynomial(1.0, 0.0, -0.5),
    "odd": Polynomial(0.0, 1.0, 0.0),
}
ALPHABETS = ("binary", "ternary", 2, 3)
kinds = st.tuples(st.sampled_from(sorted(ACTIVATIONS)), st.sampled_from(ALPHABETS))


def make_problem(kind, d, seed, n=7, beta=0.3):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    return Problem(X, y, beta, activation=ACTIVATIONS[kind[0]], alphabet=kind[1])


def random_atoms(atoms, m, rng):
    return rng.choice([-1.0, 1.0], size=(atoms.parts, atoms.size, m))


def outputs(problem, W):
    """The features from the integer weights, as a network computes them."""
    levels = problem.atoms.levels(W)
    weights = [problem.alphabet.decode(part) for part in levels]
    V = weights[1] if len(weights) == 2 else None
    return problem.activation.hidden(problem.X, weights[0], V)


@settings(max_examples=100, deadline=None)
@given(kinds, st.integers(1, 5), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_merging_keeps_the_function_and_leaves_no_twins(kind, d, m, seed):
    problem, rng = make_problem(kind, d, seed), np.random.default_rng(seed)
    atoms = problem.atoms
    W, alpha = random_atoms(atoms, m, rng), rng.standard_normal(m)
    assert np.allclose(atoms.features(W), outputs(problem, W))
    assert problem.alphabet.contains(atoms.levels(W))
    merged, weights = atoms.merge(W, alpha)
    assert np.allclose(atoms.features(merged) @ weights, atoms.features(W) @ alpha, atol=1e-9)
    assert np.abs(weights).sum() <= np.abs(alpha).sum() + 1e-12
    assert len(set(atoms.keys(merged))) == len(weights) <= m
    again, s = atoms.canonical(merged)
    assert np.array_equal(again, merged)
    assert np.all(s == 1.0)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.sampled_from(ALPHABETS), st.integers(0, 2**32 - 1))
def test_all_symmetric_pairs_have_one_representative(d, alphabet, seed):
    problem = make_problem(("bilinear", alphabet), d, seed)
    atoms = problem.atoms
    u, v = random_atoms(atoms, 1, np.random.default_rng(seed))
    twins = [(s * a, t * b) for a, b in ((u, v), (v, u)) for s in (1, -1) for t in (1, -1)]
    representatives = {atoms.keys(atoms.canonical(np.stack(pair))[0])[0] for pair in twins}
    assert len(representatives) == 1
    for pair in twins:
        W, s = atoms.canonical(np.stack(pair))
        assert np.allclose(atoms.features(W) * s, atoms.features(np.stack(pair)))


@pytest.mark.parametrize("parity", [1, -1])
def test_opposite_vectors_are_one_atom_of_an_even_or_odd_polynomial(parity):
    problem = make_problem(("even" if parity > 0 else "odd", "ternary"), 4, 0)
    W = random_atoms(problem.atoms, 20, np.random.default_rng(1))
    (A, s), (B, t) = problem.atoms.canonical(W), problem.atoms.canonical(-W)
    present = problem.atoms.levels(W)[0].any(axis=0)
    assert np.array_equal(A, B)
    assert np.all((s * t)[present] == parity)


@pytest.mark.parametrize("alphabet", [*ALPHABETS, 4, 7])
def test_bits_and_levels_are_two_ways_of_writing_weights(alphabet):
    problem = make_problem(("bilinear", alphabet), 1, 0)
    levels = np.array([problem.alphabet.levels], dtype=np.int8)
    bits = problem.alphabet.encode(levels)
    assert set(np.unique(bits)) <= {-1.0, 1.0}
    assert np.array_equal(problem.alphabet.compose(bits), levels)
    numbers = sum(c * b for c, b in zip(problem.alphabet.scales, bits, strict=True))
    assert problem.alphabet.decode(levels)[0] == pytest.approx(numbers, abs=1e-15)
    assert np.abs(numbers).max() == 1.0


@settings(max_examples=60, deadline=None)
@given(kinds, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_priced_atoms_are_worth_what_is_said_and_nothing_is_worth_more(kind, d, seed):
    problem, rng = make_problem(kind, d, seed), np.random.default_rng(seed)
    atoms, nu = problem.atoms, rng.standard_normal(problem.n)
    W, values = atoms.price(problem.lift.adjoint(nu), atoms.random(60, rng))
    assert np.allclose(np.abs(atoms.features(W).T @ nu), values, atol=1e-9)
    best = np.abs(all_neurons(problem).T @ nu).max()
    assert values.max() == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("kind", [*product(["general", "even", "bilinear"], ["binary", 2])])
@pytest.mark.parametrize("seed", range(3))
def test_changes_of_bits_lower_the_objective_by_the_best_single_flip_at_least(kind, seed):
    problem, rng = make_problem(kind, 4, seed, n=12), np.random.default_rng(seed)
    atoms, penalty = problem.atoms, 0.2
    W = random_atoms(atoms, 1, rng)
    alpha, r = float(rng.standard_normal()), 2.0 * rng.standard_normal(12)
    rest = r + alpha * atoms.features(W)[:, 0]

    def lowest(w):
        h = atoms.features(w[:, :, None])[:, 0]
        a = np.sign(h @ rest) * max(abs(h @ rest) - penalty, 0.0) / (h @ h)
        return 0.5 * np.sum((rest - a * h) ** 2) + penalty * abs(a)

    w, a, moved = atoms.best_change(
        atoms.products(W)[:, :, 0], W[:, :, 0], alpha, r, penalty, 1e-12
    )
    assert moved == (lowest(w) < lowest(W[:, :, 0]) - 1e-12)
    if moved:
        h = atoms.features(w[:, :, None])[:, 0]
        direct = 0.5 * np.sum((rest - a * h) ** 2) + penalty * abs(a)
        assert direct == pytest.approx(lowest(w))
    for part, bit in product(range(atoms.parts), range(atoms.size)):
        flipped = w.copy()
        flipped[part, bit] *= -1.0
        assert lowest(w) <= lowest(flipped) + 1e-10
