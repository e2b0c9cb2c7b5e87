"""Relabellings act on moments as they should, and representatives do not depend on the start."""

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.moments import bell
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.symmetry import relabellings
from qnn.moments.words import Scenario
from tests.qnn.moments.bell.test_behaviours import mixtures


@pytest.mark.parametrize(("scenario", "count"), [("2222", 128), ("3222", 384), ("222222", 3072)])
def test_the_group_has_its_order_and_keeps_the_local_corners(scenario: str, count: int) -> None:
    group = relabellings(Scenario.parse(scenario), "1")
    assert len(group.index) == count
    corners = bell.deterministic(scenario)
    for e in np.random.default_rng(0).integers(count, size=10):
        moved = group.sign[e] * corners[:, group.index[e]]
        order = np.lexsort(moved.T), np.lexsort(corners.T)
        np.testing.assert_array_equal(moved[order[0]], corners[order[1]])


@pytest.mark.parametrize(("scenario", "level"), [("2222", "1+AB"), ("2222", "2"), ("3222", "1+AB")])
def test_moment_matrices_stay_similar(scenario: str, level: str) -> None:
    """What a relabelling does to b and x leaves the eigenvalues as they are."""
    parsed = Scenario.parse(scenario)
    matrix, group = moment_matrix(parsed, level), relabellings(parsed, level)
    rng = np.random.default_rng(1)
    b, x = rng.normal(size=len(matrix.behaviour)), rng.normal(size=matrix.free.count)
    spectrum = np.linalg.eigvalsh(matrix.assemble(b, x))
    for e in rng.integers(len(group.index), size=20):
        moved = matrix.assemble(
            group.sign[e] * b[group.index[e]], group.free_sign[e] * x[group.free_index[e]]
        )
        np.testing.assert_allclose(np.linalg.eigvalsh(moved), spectrum, atol=1e-12)


def test_representatives_are_those_of_the_orbit_and_moments_come_back() -> None:
    group = relabellings(Scenario.parse("2222"), "1+AB")
    b = mixtures("2222", 30, 2)
    rows, element = group.canonical(b)
    for e in range(0, 128, 7):
        other, _ = group.canonical(np.ascontiguousarray(group.sign[e] * b[:, group.index[e]]))
        np.testing.assert_array_equal(other, rows)
    x = np.random.default_rng(3).normal(size=(30, 8))
    moved = group.free_sign[element] * np.take_along_axis(x, group.free_index[element], 1)
    np.testing.assert_array_equal(group.restored(moved, element), x)


@pytest.mark.parametrize(("scenario", "message"), [("2233", "two outcomes"), ("5522", "too many")])
def test_scenarios_without_listed_relabellings_are_one_line(scenario: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        relabellings(Scenario.parse(scenario), "1")
