"""A value is called the maximum only where no assignment is worth more."""

import itertools

import numpy as np
import pytest

from qnn.moments.csp import MaxCSP
from qnn.moments.csp.leaves import Cutting
from qnn.moments.csp.problem import paid
from qnn.moments.csp.tree import Search, Yardstick, step_of

CONSTANTS = (0.0, 1e6, 1e7, -1e11, 1e16, -9e19)
RING = np.array([[i, (i + 1) % 5] for i in range(5)])


def ring(weights: object, constant: float, shift: float = 0.0) -> MaxCSP:
    """Max-Cut of five edges in a ring, of which four can be cut; `shift` is paid five times."""
    tables = np.multiply.outer(np.broadcast_to(weights, 5), 1.0 - np.eye(2))
    return MaxCSP.of_tables(5, 2, RING, tables, np.full((5, 2), shift), constant)


@pytest.mark.parametrize("constant", CONSTANTS)
@pytest.mark.parametrize("weight", [3.0, 0.37, 1e-9, 1e9])
def test_no_constant_makes_an_open_gap_none(weight: float, constant: float) -> None:
    problem = ring(weight, constant)
    # The semidefinite bound alone is 4.52 edges.
    plain = problem.solve(0, cuts="none")
    assert not plain.optimal
    assert plain.upper_bound - constant >= 4.0 * weight
    assert sum(paid(problem.payoffs, plain.assignment)) == pytest.approx(4.0 * weight)
    if problem.prove().optimal:
        assert abs(constant) < 1e16 * weight


def test_whole_numbers_are_proven_beside_a_constant_and_real_ones_but_for_a_millionth() -> None:
    for constant in (0.0, 1e7, -1e11):
        solution = ring(1.0, constant).prove()
        assert solution.optimal
        assert solution.value == solution.upper_bound == 4.0 + constant
    for constant in (0.0, 1e6):
        solution = ring(0.37, constant).prove()
        assert solution.optimal
        assert 0.0 <= solution.upper_bound - solution.value <= 4e-6


@pytest.mark.parametrize("shift", [1e6, -1e6])
def test_what_every_assignment_is_paid_widens_nothing(shift: float) -> None:
    # As 0.37 alone has it: 4 edges paid, of a millionth each, and one of its own.
    yardstick = Yardstick.of(ring(0.37, 0.0, shift).payoffs)
    assert yardstick.room(5.0 * shift + 4 * 0.37) == pytest.approx(1e-6 * 5 * 0.37)
    assert not ring(0.37, 0.0, shift).solve(0, cuts="none").optimal


def test_the_least_constraint_is_never_within_the_room() -> None:
    problem = ring([1e5, 1e5, 1e5, 1e5, 0.2], 0.0)
    assert Yardstick.of(problem.payoffs).room(4e5) == pytest.approx(0.999 * 0.2)
    mixed = [1e5, 1e5, 1e5, 0.37, 0.2]
    for solution in (ring(mixed, 0.0).solve(0, cuts="none"), ring(mixed, 1e9).prove()):
        best = sum(paid(ring(mixed, 0.0).payoffs, solution.assignment))
        assert not solution.optimal or best == pytest.approx(3e5 + 0.37, abs=1e-9)


def test_better_assignments_are_kept_whatever_the_constant() -> None:
    for constant in CONSTANTS:
        problem = ring(0.37, constant)
        search = Search(problem.payoffs, Cutting())
        search.best = -np.inf
        for cut, x in ((2, [0, 1, 1, 1, 1]), (4, [0, 1, 0, 1, 1])):
            search.offer(np.array(x), cut * 0.37)
            assert search.assignment.tolist() == x


def test_digits_that_the_constant_swallows_prove_nothing() -> None:
    yardstick = Yardstick.of(ring(0.37, -1e20).payoffs)
    assert not yardstick.proves(-1e20, -1e20)
    assert step_of(ring(1.0, 2.0**51).payoffs) == 0.0
    assert not Yardstick.of(ring(1.0, 2.0**53).payoffs).proves(2.0**53, 2.0**53)


def test_random_payoffs_of_mixed_sizes_against_enumeration() -> None:
    rng = np.random.default_rng(0)
    everything = np.array(list(itertools.product((0, 1), repeat=5)))
    for _ in range(12):
        sizes = 10.0 ** rng.integers(-3, 6, size=5)
        problem = ring(sizes * rng.choice([1.0, 0.37], size=5), 10.0 ** rng.integers(0, 12))
        truth = max(sum(paid(problem.payoffs, x)) for x in everything)
        for solution in (problem.solve(0, cuts="none"), problem.prove(most_nodes=30)):
            reached = sum(paid(problem.payoffs, solution.assignment))
            assert not solution.optimal or reached == pytest.approx(truth, rel=1e-12)
