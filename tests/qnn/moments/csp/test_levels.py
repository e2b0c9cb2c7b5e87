"""The moment hierarchy's levels 1 and 2, written out with cvxpy, as the reference of all bounds."""

import itertools

import cvxpy as cp
import numpy as np
import pytest

from qnn.moments.csp import MaxCSP, max_cut


def level(weights: np.ndarray, order: int) -> float:
    """Max-Cut over pseudo-moments of products of at most `order` signs on each side."""
    n = len(weights)
    words = [s for size in range(order + 1) for s in itertools.combinations(range(n), size)]
    moments: dict[frozenset[int], cp.Expression] = {frozenset(): cp.Constant(1.0)}
    G = cp.Variable((len(words), len(words)), PSD=True)
    statements = []
    for a, b in itertools.combinations_with_replacement(range(len(words)), 2):
        product = frozenset(words[a]) ^ frozenset(words[b])
        if product in moments:
            statements.append(G[a, b] == moments[product])
        else:
            moments[product] = G[a, b]
    value = sum(
        weights[i, j] * (1 - moments[frozenset((i, j))]) / 2
        for i, j in itertools.combinations(range(n), 2)
    )
    return float(cp.Problem(cp.Maximize(value), statements).solve(solver="CLARABEL"))


def truth(weights: np.ndarray) -> float:
    n = len(weights)
    X = np.array(list(itertools.product((-1, 1), repeat=n)))
    return float(max(np.sum(np.triu(weights * (1 - np.outer(x, x)) / 2)) for x in X))


@pytest.mark.parametrize("seed", range(4))
def test_plain_is_level_one_and_cuts_are_between_it_and_level_two(seed: int) -> None:
    A = np.random.default_rng(seed).standard_normal((6, 6))
    weights = A + A.T - 2 * np.diag(A.diagonal())
    problem, first, second = max_cut(weights), level(weights, 1), level(weights, 2)
    size = 1e-5 * np.abs(weights).sum()
    plain = problem.solve(0, cuts="none").upper_bound
    assert first - size <= plain <= first + 100 * size
    triangles = problem.solve(0, cuts="triangles").upper_bound
    # Level 2 implies the triangle inequalities of ±1 variables.
    assert triangles >= second - size
    assert triangles <= plain + size
    assert problem.prove().value == pytest.approx(truth(weights))
    assert second >= truth(weights) - size


def local(problem: MaxCSP, fixed: dict[int, int]) -> float:
    """Second moments of indicators, not negative, each variable's summing to 1 (k values)."""
    n, k, p = problem.n, problem.k, problem.payoffs
    Y = cp.Variable((n * k + 1, n * k + 1), PSD=True)
    m = Y[0, 1:]
    statements = [Y >= 0, Y[0, 0] == 1]
    for i in range(n):
        own = slice(1 + i * k, 1 + (i + 1) * k)
        statements += [
            cp.sum(Y[:, own], axis=1) == Y[:, 0],
            Y[own, own] == cp.diag(m[own.start - 1 : own.stop - 1]),
        ]
    statements += [m[i * k + a] == 1 for i, a in fixed.items()]
    value = sum(
        cp.sum(cp.multiply(table, Y[1 + i * k : 1 + (i + 1) * k, 1 + j * k : 1 + (j + 1) * k]))
        for (i, j), table in zip(p.pairs, p.tables, strict=True)
    )
    return float(cp.Problem(cp.Maximize(value), statements).solve(solver="CLARABEL"))


@pytest.mark.parametrize("seed", range(3))
def test_leaves_of_three_values_are_as_tight_as_local_distributions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(4), 2)))
    problem = MaxCSP.of_tables(4, 3, pairs, rng.standard_normal((6, 3, 3)))
    size = 1e-5 * np.abs(problem.payoffs.tables).sum()
    root = problem.solve(0, cuts="triangles")
    # Triangles say that joint probabilities are not negative, and more.
    assert root.upper_bound <= local(problem, {}) + 100 * size
    solved = problem.solve(1, cuts="triangles")
    (seed_variable,) = solved.seeds
    worst = max(local(problem, {seed_variable: a}) for a in range(3))
    assert solved.upper_bound <= worst + 100 * size
