"""Problems too large for enumeration, whose optima toulbar2 1.2 has proven (pytoulbar2)."""

from collections.abc import Callable

import pytest

from qnn.certificates.csp import verify_csp
from qnn.moments.csp import MaxCSP, max_2_sat, max_k_cut, planted_unique_games, random_csp

PROBLEMS: dict[str, tuple[Callable[[], MaxCSP], float]] = {
    "3-cut": (lambda: max_k_cut(24, 3, 0.35, 0), 89.0),
    "4-cut": (lambda: max_k_cut(20, 4, 0.7, 1), 120.0),
    "random": (lambda: random_csp(20, 3, 0.3, 0), 38.0),
    "unique": (lambda: planted_unique_games(40, 5, 6.0, 0.2, 0)[0], 97.0),
    "2-sat": (lambda: max_2_sat(40, 160, 0), 146.0),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_bounds_and_answers_meet_at_the_optimum(name: str) -> None:
    make, optimum = PROBLEMS[name]
    problem = make()
    solution = problem.prove(most_nodes=5)
    assert solution.value <= optimum <= solution.upper_bound
    assert verify_csp(solution.certificate, problem.payoffs) <= solution.upper_bound
    assert solution.value >= 0.97 * optimum
    if name in ("random", "2-sat"):
        assert solution.upper_bound == optimum


@pytest.mark.slow
def test_a_three_cut_is_proven() -> None:
    make, optimum = PROBLEMS["3-cut"]
    solution = make().prove()
    assert solution.value == solution.upper_bound == optimum
