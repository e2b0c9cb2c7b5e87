"""Problems too large for enumeration: toulbar2 1.2 has proven their optima, or a recursion does."""

from collections.abc import Callable

import numpy as np
import pytest

from qnn.certificates.csp import verify_csp
from qnn.moments.csp import (
    MaxCSP,
    max_2_sat,
    max_k_cut,
    planar_ising,
    planted_unique_games,
    random_csp,
)

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


def best_cut_row_by_row(problem: MaxCSP, rows: int, columns: int) -> float:
    """Max-Cut of a grid by dynamic programming over the states of a row."""
    weight = {}
    for (i, j), table in zip(problem.payoffs.pairs, problem.payoffs.tables, strict=True):
        weight[int(i), int(j)] = float(table[0, 1])
    states = (np.arange(2**columns)[:, None] >> np.arange(columns)) & 1
    apart = states[:, None, :] != states[None, :, :]
    best = np.zeros(len(states))
    for row in range(rows):
        at = row * columns
        if row:
            down = np.array([weight[at - columns + c, at + c] for c in range(columns)])
            best = (best[:, None] + apart @ down).max(axis=0)
        across = np.array([weight[at + c, at + c + 1] for c in range(columns - 1)])
        best = best + (states[:, 1:] != states[:, :-1]) @ across
    return float(best.max())


@pytest.mark.parametrize(("rows", "columns", "seed"), [(7, 5, 0), (8, 6, 1)])
def test_a_planar_grid_of_middling_size_is_that_of_dynamic_programming(
    rows: int, columns: int, seed: int
) -> None:
    problem = planar_ising(rows, columns, seed)
    solution = problem.prove()
    assert solution.optimal
    assert solution.value == best_cut_row_by_row(problem, rows, columns)
    assert verify_csp(solution.certificate, problem.payoffs) == solution.value
