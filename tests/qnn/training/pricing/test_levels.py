"""Exact pricing of weights of several bits, `max |Σ ν_i σ(x_i'u)|`, against every u of levels.

Pricing goes over the bits of u; here all levels are tried, and levels are a problem of
`qnn.moments.csp` as well, in which each weight is one variable of as many values.
"""

import itertools

import numpy as np
import pytest

from qnn import Polynomial, Problem
from qnn.certificates.csp import verify_csp
from qnn.moments.csp import MaxCSP
from qnn.training.pricing.branch_and_bound import branch_and_bound_forms
from qnn.training.pricing.enumeration import enumerate_forms

Array = np.ndarray


def problem_of(d: int, alphabet: int | str, seed: int) -> tuple[Problem, Array]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((20, d))
    activation = Polynomial(*rng.standard_normal(3))
    problem = Problem(X, np.sign(X[:, 0]), 1.0, activation=activation, alphabet=alphabet)
    return problem, rng.standard_normal(20)


def sums(problem: Problem, nu: Array) -> Array:
    """`Σ ν_i σ(x_i'u)` of every u, by the activation's own numbers."""
    alphabet, p = problem.alphabet, problem.activation
    levels = alphabet.decode(np.array(alphabet.levels))
    U = np.array(list(itertools.product(levels, repeat=problem.d)))
    T = problem.X @ U.T
    return np.asarray(nu @ (p.a * T**2 + p.b * T + p.c))


def over_levels(problem: Problem, M: Array, side: float) -> MaxCSP:
    """`side · u'Mu` as payoffs of pairs of levels, M (D, D) over the bits."""
    alphabet, d = problem.alphabet, problem.d
    bits = len(alphabet.scales)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=bits)))
    if alphabet.name == "ternary":
        signs = signs[[0, 1, 3]]
    B = side * M[:-1, :-1].reshape(bits, d, bits, d)
    among = np.einsum("am,minj,bn->iajb", signs, B, signs)
    own = np.einsum("iaia->ia", among)
    row = 2.0 * side * M[:-1, -1].reshape(bits, d).T @ signs.T
    i, j = np.tril_indices(d, -1)
    pairs = np.column_stack([i, j])
    constant = side * M[-1, -1]
    return MaxCSP.of_tables(
        d, len(signs), pairs, 2.0 * among[i, :, j], np.asarray(own + row), constant
    )


@pytest.mark.parametrize(("d", "alphabet"), [(5, "ternary"), (4, 2), (3, 3), (2, 4)])
def test_bits_and_levels_have_one_maximum(d: int, alphabet: int | str) -> None:
    for seed in range(3):
        problem, nu = problem_of(d, alphabet, seed)
        M = problem.lift.adjoint(nu)
        truth = float(np.abs(sums(problem, nu)).max())
        tried = enumerate_forms(M, 0.0, 0.0, 4)
        assert tried.upper_bound == pytest.approx(truth, rel=1e-12)
        tree = branch_and_bound_forms(M, truth * (1.0 + 1e-6), problem.lift.even)
        assert tree.complete
        assert truth * (1.0 - 1e-12) <= tree.upper_bound <= truth * (1.0 + 1e-6)


@pytest.mark.parametrize(("d", "alphabet"), [(4, "ternary"), (3, 2), (2, 3)])
def test_levels_as_values_of_a_csp_are_never_bounded_below_the_maximum(
    d: int, alphabet: int | str
) -> None:
    problem, nu = problem_of(d, alphabet, 7)
    M, values = problem.lift.adjoint(nu), sums(problem, nu)
    for side in (1.0, -1.0):
        truth = float((side * values).max())
        levels = over_levels(problem, M, side)
        solution = levels.prove()
        assert solution.value == pytest.approx(truth, rel=1e-9, abs=1e-9)
        assert truth - 1e-9 * (1.0 + abs(truth)) <= solution.upper_bound
        assert solution.upper_bound <= truth + 1e-4 * np.abs(values).max()
        assert verify_csp(solution.certificate, levels.payoffs) <= solution.upper_bound
