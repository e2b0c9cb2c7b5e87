"""Tables and coordinates are two views of a behaviour; what is none is refused in one line."""

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.moments import bell
from qnn.moments.words import Scenario

SCENARIOS = ["2222", "3322", "2233", "2323", "222222", "223232"]


def mixtures(scenario: str, count: int, seed: int = 0) -> np.ndarray:
    corners = bell.deterministic(scenario)
    return np.random.default_rng(seed).dirichlet(np.ones(len(corners)), count) @ corners


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_tables_and_coordinates_are_inverse(scenario: str) -> None:
    b = mixtures(scenario, 20)
    table = bell.probabilities(b, scenario)
    parsed = Scenario.parse(scenario)
    assert table.shape == (20, *parsed.inputs, *parsed.outcomes)
    assert table.min() >= -1e-12
    np.testing.assert_allclose(table.sum(axis=tuple(range(-parsed.parties, 0))), 1.0)
    np.testing.assert_allclose(bell.coordinates(table, scenario), b, atol=1e-12)
    np.testing.assert_allclose(bell.checked(table, scenario), b, atol=1e-12)


def test_the_formula_of_two_outcomes() -> None:
    b = mixtures("2222", 5, 1)
    p = bell.probabilities(b)
    for x, y, i, j in np.ndindex(2, 2, 2, 2):
        a, c = 1 - 2 * i, 1 - 2 * j
        expected = (1 + a * b[:, x] + c * b[:, 2 + y] + a * c * b[:, 4 + 2 * x + y]) / 4
        np.testing.assert_allclose(p[:, x, y, i, j], expected, atol=1e-15)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_deterministic_behaviours_are_all_tables_of_zeros_and_ones(scenario: str) -> None:
    parsed = Scenario.parse(scenario)
    table = bell.probabilities(bell.deterministic(scenario), scenario)
    assert set(np.unique(table.round(12))) == {0.0, 1.0}
    count = np.prod([k**m for m, k in zip(parsed.inputs, parsed.outcomes, strict=True)])
    assert len(np.unique(table.reshape(len(table), -1), axis=0)) == len(table) == count


def signalling() -> np.ndarray:
    table = bell.probabilities(mixtures("2222", 3, 2))
    table[2, 0, 0] = table[2, 0, 0].T.copy()
    return table


def unnormalized() -> np.ndarray:
    table = bell.probabilities(mixtures("2222", 3, 2))
    table[1, 1, 1, 0, 0] += 1e-3
    return table


BAD = {
    "a negative probability": ([[0.0] * 8, [0, 0, 0, 0, 1, 1, 1, -1.1]], "behaviour 1 .*negative"),
    "a value beyond 1": ([[1.5, 0, 0, 0, 0, 0, 0, 0]], "negative"),
    "seven numbers": (np.zeros((4, 7)), r"\(N, 8\) coordinates"),
    "one row without its axis": (np.zeros(8), r"not \(8,\)"),
    "a table of another scenario": (np.full((1, 3, 3, 2, 2), 0.25), "a table has the shape"),
    "NaN": ([[0.0] * 8, [np.nan] * 8], "behaviour 1 .*not finite"),
    "infinity": ([[np.inf] * 8], "not finite"),
    "text": ([["a"] * 8], "must be an array of numbers"),
    "ragged rows": ([[0.0], [0.0, 1.0]], "must be an array of numbers"),
    "a table that signals": (signalling(), "behaviour 2 .*signals"),
    "a table whose sums are off": (unnormalized(), "behaviour 1 .*sum to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_behaviour_is_one_line(case: str) -> None:
    rows, message = BAD[case]
    with pytest.raises(InputError, match=message) as raised:
        bell.decide(rows)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fallback": "mosek"}, "fallback"),
        ({"steps": 0}, "steps"),
        ({"gap": 0.0}, "gap"),
        ({"gap": float("nan")}, "gap"),
        ({"level": "1+ABC"}, "level"),
        ({"scenario": "22"}, "scenario"),
    ],
)
def test_arguments_that_mean_nothing_are_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bell.decide(np.zeros((1, 8)), **arguments)


def test_the_sets_are_behaviours_and_no_other_name_is_one() -> None:
    for name in ("U", "N", "B"):
        b = bell.sample(name, 200, 3)
        assert b.shape == (200, 8)
        np.testing.assert_array_equal(b, bell.sample(name, 200, 3))
        bell.checked(b)
    gauge = bell.decide(bell.sample("B", 200, 3), gap=1e-7)
    assert 0.98999 < gauge.gauge_lower.min() < gauge.gauge_upper.max() < 1.01001
    assert np.count_nonzero(gauge.verdict == "inside") == 100
    # CHSH is beyond 2 for the whole set, which is the nonlocal part.
    assert (bell.sample("N", 1000) @ [0, 0, 0, 0, 1, 1, 1, -1]).min() > 2.0
    for arguments in ({"name": "X"}, {"name": "U", "scenario": "2233"}):
        with pytest.raises(InputError, match="the sets are U, N, B"):
            bell.sample(count=1, **arguments)
