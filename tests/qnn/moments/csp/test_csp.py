"""Bounds and answers of constraint satisfaction against enumeration, and their certificates."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from qnn.certificates.csp import CspCertificate, verify_csp
from qnn.errors import InputError
from qnn.moments.csp import (
    RULES,
    MaxCSP,
    max_2_sat,
    max_cut,
    max_k_cut,
    planar_ising,
    planted_unique_games,
    random_csp,
    rudy,
)

KINDS: dict[str, Callable[[int, int, int], MaxCSP]] = {
    "cut": lambda n, k, seed: max_k_cut(n, k, 0.6, seed),
    "random": lambda n, k, seed: random_csp(n, k, 0.6, seed),
    "unique": lambda n, k, seed: planted_unique_games(n, k, 4.0, 0.3, seed)[0],
}


def largest_value(problem: MaxCSP) -> float:
    p = problem.payoffs
    X = np.array(list(itertools.product(range(p.k), repeat=p.n)))
    values = p.constant + p.unary[np.arange(p.n), X].sum(axis=1)
    for (i, j), table in zip(p.pairs, p.tables, strict=True):
        values += table[X[:, i], X[:, j]]
    return float(values.max())


def check(problem: MaxCSP, solution: object, truth: float) -> None:
    scale = 1e-9 * (1.0 + abs(truth))
    assert solution.upper_bound >= truth - scale
    assert solution.value <= truth + scale
    assert problem.value(solution.assignment) == solution.value
    certificate = solution.certificate
    again = CspCertificate.from_bytes(certificate.to_bytes(), "memory")
    assert verify_csp(again, problem.payoffs) <= solution.upper_bound


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "k"), [(8, 2), (6, 3), (5, 4)])
def test_no_bound_is_below_the_truth_and_the_tree_reaches_it(kind: str, n: int, k: int) -> None:
    problem = KINDS[kind](n, k, n + k)
    truth = largest_value(problem)
    last = np.inf
    for rounds in (0, 1, 2):
        solution = problem.solve(rounds)
        check(problem, solution, truth)
        assert solution.upper_bound <= last + 1e-6
        last = solution.upper_bound
    proven = problem.prove()
    check(problem, proven, truth)
    assert proven.optimal
    assert proven.value == truth


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_problems_of_three_values(kind: str) -> None:
    for seed in range(200):
        problem = KINDS[kind](5 + seed % 3, 3, seed)
        truth = largest_value(problem)
        for rounds in (0, 1):
            check(problem, problem.solve(rounds, cuts="none" if seed % 2 else "auto"), truth)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_rounds_as_variables_give_the_truth_without_any_cut(kind: str) -> None:
    problem = KINDS[kind](4, 3, 7)
    solution = problem.solve(4, cuts="none")
    assert solution.upper_bound == solution.value == largest_value(problem)


def test_real_payoffs_of_one_and_two_variables_and_a_constant() -> None:
    rng = np.random.default_rng(3)
    pairs = np.array([[0, 1], [1, 2], [2, 0], [3, 1], [1, 0]])
    for scale in (1e-9, 1.0, 1e9):
        problem = MaxCSP.of_tables(
            5,
            3,
            pairs,
            scale * rng.standard_normal((5, 3, 3)),
            scale * rng.standard_normal((5, 3)),
            scale * -2.5,
        )
        truth = largest_value(problem)
        solution = problem.prove()
        assert truth - 1e-12 * scale <= solution.upper_bound <= truth + 1e-4 * scale + 2e-6
        assert solution.value == pytest.approx(truth)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("scale", [1e-19, 1e-12, 1e12, 1e19])
def test_extreme_payoffs_and_none_at_all_are_bounded_from_above(scale: float, k: int) -> None:
    rng = np.random.default_rng(k)
    pairs = np.array([[0, 1], [1, 2], [2, 0], [3, 1], [4, 0], [3, 4]])
    mixed = 10.0 ** rng.uniform(-25.0, 0.0, size=(6, k, k))
    for tables in (rng.standard_normal((6, k, k)), mixed, np.zeros((6, k, k))):
        problem = MaxCSP.of_tables(5, k, pairs, scale * tables)
        truth = largest_value(problem)
        largest = scale * float(np.abs(tables).max())
        for solution in (problem.solve(0), problem.prove(most_nodes=30)):
            assert solution.upper_bound >= truth
            assert verify_csp(solution.certificate, problem.payoffs) <= solution.upper_bound
            assert solution.value == pytest.approx(truth, rel=1e-9, abs=1e-6 * largest)
        assert solution.optimal
        assert solution.upper_bound <= truth + 1e-4 * largest


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_a_bound(rule: str) -> None:
    problem = KINDS["random"](6, 3, 1)
    check(problem, problem.solve(2, rule=rule), largest_value(problem))
    check(problem, problem.prove(rule=rule), largest_value(problem))


def test_conditions_alone_and_with_triangles() -> None:
    weights = np.ones((5, 5)) - np.eye(5)
    plain = max_cut(0.25 * weights).solve(0, cuts="none")
    tight = max_cut(0.25 * weights).solve(0, cuts="triangles")
    # The cut polytope of 5 vertices: 6 edges of 10; the semidefinite bound is 6.25, triangles give
    # 20/3, which is no better.
    assert 1.5624 < plain.upper_bound < 1.5627
    assert tight.upper_bound <= plain.upper_bound + 1e-6
    assert max_cut(0.25 * weights).solve(0, cuts="odd").upper_bound < 1.501
    assert max_cut(0.25 * weights).prove().value == 1.5


def test_max_2_sat_and_a_planar_grid_against_enumeration() -> None:
    for problem in (max_2_sat(8, 30, 0), planar_ising(3, 4, 1)):
        solution = problem.prove()
        assert solution.optimal
        assert solution.value == solution.upper_bound == largest_value(problem)


def test_a_known_instance_of_sixty_vertices_is_proven() -> None:
    # 536 is the library's value of g05_60.0.
    problem = rudy("g05_60.0")
    solution = problem.prove()
    assert solution.value == solution.upper_bound == 536.0
    assert solution.nodes < 20
    assert verify_csp(solution.certificate, problem.payoffs) == 536.0


def test_a_time_limit_leaves_a_proven_bound() -> None:
    solution = rudy("pm1d_80.0").prove(time_limit=1e-6)
    assert not solution.optimal
    assert solution.upper_bound >= 227.0 >= solution.value


def test_the_same_seed_gives_the_same_bytes() -> None:
    problem = KINDS["cut"](8, 3, 2)
    first, second = (problem.prove(seed=5) for _ in range(2))
    assert first.certificate.to_bytes() == second.certificate.to_bytes()
    assert np.array_equal(first.assignment, second.assignment)


def test_problems_without_constraints_and_of_one_variable() -> None:
    assert MaxCSP(3, 2, []).prove().upper_bound == 0.0
    single = MaxCSP.of_tables(1, 3, np.zeros((0, 2), int), np.zeros((0, 3, 3)), np.eye(3)[:1])
    assert single.prove().upper_bound == single.solve(1).upper_bound == 1.0


def test_hidden_assignments_of_unique_games_are_found() -> None:
    problem, hidden = planted_unique_games(40, 3, 8.0, 0.05, 0)
    solution = problem.solve(0)
    assert solution.value >= problem.value(hidden)
    assert solution.propagated is not None
    assert solution.propagated >= 0.9 * len(problem.payoffs.pairs)


@pytest.mark.parametrize(
    ("n", "k", "constraints", "words"),
    [
        (0, 2, [], "n must be"),
        (3, 1, [], "k must be"),
        (3.0, 2, [], "n must be"),
        (9000, 2, [], "too many"),
        (3, 2, [(0, 0, 1.0, np.eye(2))], "two different"),
        (3, 2, [(0, 3, 1.0, np.eye(2))], "two different"),
        (3, 2, [(0, 1, 1.0, np.eye(3))], "2 by 2"),
        (3, 2, [(0, 1, 1.0, 2 * np.eye(2))], "booleans"),
        (3, 2, [(0, 1, np.nan, np.eye(2))], "finite"),
        (3, 2, [(0, 1, 1e300, np.eye(2))], "finite"),
        (3, 2, [(0, 1, 1e-300, np.eye(2))], "too small"),
        (3, 2, [(0, 1, 1.0)], "constraint 0 must be"),
    ],
)
def test_what_is_no_problem_is_refused_in_one_line(
    n: int, k: int, constraints: list, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        MaxCSP(n, k, constraints)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_refused() -> None:
    problem = KINDS["cut"](4, 3, 0)
    calls: list[Callable[[], object]] = [
        lambda: problem.solve(-1),
        lambda: problem.solve(2, rule="best"),
        lambda: problem.solve(2, cuts="all"),
        lambda: problem.solve(2, time_limit=0.0),
        lambda: problem.prove(time_limit=np.nan),
        lambda: problem.prove(seed=-1),
        lambda: problem.value(np.zeros(3, int)),
        lambda: problem.value(np.full(4, 3)),
        lambda: max_cut(np.ones((2, 3))),
        lambda: max_cut(np.array([[0.0, 1.0], [2.0, 0.0]])),
        lambda: max_cut(np.array([[0.0, np.nan], [np.nan, 0.0]])),
        lambda: KINDS["cut"](60, 4, 0).solve(30),
    ]
    for call in calls:
        with pytest.raises(InputError):
            call()
