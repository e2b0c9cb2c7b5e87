"""Words and moment matrices against matrices: random operators obey every rule that is used."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates.moments.structure import structure
from qnn.errors import CertificateError, InputError
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.words import Letter, Scenario

SIZES = {
    ("2222", "1"): (5, 2),
    ("2222", "1+AB"): (9, 8),
    ("2222", "2"): (13, 22),
    ("3322", "1"): (7, 6),
    ("3322", "1+AB"): (16, 42),
    ("3322", "2"): (28, 138),
}
CASES = [
    *SIZES,
    ("2222", "3"),
    ("2233", "1+AB"),
    ("2223", "2"),
    ("222222", "1"),
    ("222322", "1+AB"),
]


def operators(scenario: Scenario, rng: np.random.Generator) -> dict[Letter, np.ndarray]:
    """Random real projective measurements of dimension 3 a party, as letters of the whole space."""
    found = {}
    for party, (m, k) in enumerate(zip(scenario.inputs, scenario.outcomes, strict=True)):
        for x in range(m):
            basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
            split = np.arange(3) % k
            for a in range(k - 1):
                one = (basis * (split == a)) @ basis.T
                own = 2.0 * one - np.eye(3) if k == 2 else one
                factors = [own if p == party else np.eye(3) for p in range(scenario.parties)]
                whole = factors[0]
                for factor in factors[1:]:
                    whole = np.kron(whole, factor)
                found[Letter(party, x, a)] = whole
    return found


@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_quantum_moment_matrix_has_the_entries_that_the_words_say(name: str, level: str) -> None:
    scenario = Scenario.parse(name)
    rng = np.random.default_rng(0)
    letters = operators(scenario, rng)
    state = rng.normal(size=3**scenario.parties)
    state /= np.linalg.norm(state)

    def vector(word: tuple[Letter, ...]) -> np.ndarray:
        out = state
        for letter in reversed(word):
            out = letters[letter] @ out
        return out

    matrix = moment_matrix(scenario, level)
    vectors = np.array([vector(word) for word in matrix.words])
    moments = vectors @ vectors.T
    behaviour = np.array([state @ vector(word) for word in scenario.coordinates])
    free = np.array([state @ vector(word) for word in matrix.free_words])
    formed = matrix.centre + matrix.assemble(behaviour - matrix.behaviour, free - matrix.point)
    np.testing.assert_allclose(formed, moments, atol=1e-12)


@pytest.mark.parametrize(("name", "level"), CASES)
def test_the_checker_builds_the_same_entries_by_itself(name: str, level: str) -> None:
    matrix, other = moment_matrix(Scenario.parse(name), level), structure(name, level)
    kinds = np.full((2, matrix.size, matrix.size), -2)
    p = len(matrix.behaviour)
    for entries, first in ((matrix.fixed, 0), (matrix.free, p)):
        kinds[0][entries.row, entries.column] = entries.label + first
    for i, j in itertools.product(range(matrix.size), repeat=2):
        if i >= j and matrix.scenario.moment(matrix.words[i], matrix.words[j]) == ():
            kinds[0][i, j] = -1
    kinds[1][other.row, other.column] = other.kind
    np.testing.assert_array_equal(*kinds)
    np.testing.assert_array_equal(matrix.behaviour, other.noise)


@pytest.mark.parametrize(("name", "level"), list(SIZES))
def test_sizes_are_those_of_the_literature(name: str, level: str) -> None:
    matrix = moment_matrix(Scenario.parse(name), level)
    assert (matrix.size, matrix.free.count) == SIZES[name, level]


@pytest.mark.parametrize(("name", "level"), CASES)
def test_the_centre_is_inside_and_its_inverse_repairs(name: str, level: str) -> None:
    matrix = moment_matrix(Scenario.parse(name), level)
    assert np.linalg.eigvalsh(matrix.centre)[0] > 1e-3
    for entries in (matrix.fixed, matrix.free):
        assert np.abs(entries.pairing(matrix.inverse)).max() < 1e-9 * matrix.inverse.max()
    W = np.random.default_rng(1).normal(size=(5, matrix.size, matrix.size))
    Y = matrix.repair(W)
    assert np.abs(matrix.free.pairing(Y)).max() < 1e-10
    np.testing.assert_allclose((matrix.centre * Y).sum((1, 2)), 1.0)
    assert np.linalg.eigvalsh(Y)[:, 0].min() > -1e-12


def test_products_by_hand() -> None:
    scenario = Scenario.parse("2223")
    A, B = Letter(0, 0), [Letter(1, y, b) for y in range(2) for b in range(2)]
    assert scenario.multiply((A,), (A,)) == ()
    assert scenario.multiply((B[0],), (B[0],)) == (B[0],)
    assert scenario.multiply((B[0],), (B[1],)) is None
    assert scenario.multiply((B[0],), (A, B[2])) == (A, B[0], B[2])
    assert scenario.adjoint((A, B[0], B[2])) == (A, B[2], B[0])
    assert scenario.trace((B[0],)) == Fraction(1, 3)
    # Free projectors of trace t: tau(pqp) = t^2.
    assert scenario.trace((B[0], B[2])) == Fraction(1, 9)
    assert scenario.trace((A, B[0])) == 0


@pytest.mark.parametrize("name", ["", "2", "22", "222", "2022", "2212", "22a2", "9" * 40, "٢٢٢٢"])
def test_a_name_that_is_no_scenario_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^scenario") as raised:
        Scenario.parse(name)
    assert "\n" not in str(raised.value)
    with pytest.raises(CertificateError, match="scenario"):
        structure(name, "1")


def test_too_large_and_unknown_levels_are_refused() -> None:
    with pytest.raises(InputError, match="too large"):
        moment_matrix(Scenario.parse("8822"), "3")
    with pytest.raises(InputError, match="level '4' is none of"):
        moment_matrix(Scenario.parse("2222"), "4")
    with pytest.raises(CertificateError, match="level"):
        structure("2222", "4")
