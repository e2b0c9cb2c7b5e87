"""Verdicts against closed forms, an independent solver, and each other; never a wrong one."""

from fractions import Fraction

import cvxpy
import numpy as np
import pytest

from qnn.certificates.moments import verify_moments
from qnn.errors import CertificateError
from qnn.moments import bell
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.words import Scenario
from tests.qnn.moments.bell.test_behaviours import mixtures

CASES = [("2222", "1"), ("2222", "1+AB"), ("2222", "2"), ("3322", "1+AB")]


def gauge_by_cvxpy(scenario: str, level: str, behaviour: np.ndarray) -> float:
    """Built from the definition with a variable for each free entry, solved by SCS."""
    matrix = moment_matrix(Scenario.parse(scenario), level)
    s, x = cvxpy.Variable(), cvxpy.Variable(matrix.free.count)
    zero = np.zeros(matrix.free.count)
    F = [matrix.assemble(np.zeros_like(behaviour), row) for row in np.eye(matrix.free.count)]
    K = matrix.assemble(behaviour - matrix.behaviour, zero)
    S = s * matrix.centre + K + sum(x[i] * F[i] for i in range(len(F)))
    problem = cvxpy.Problem(cvxpy.Minimize(s), [S >> 0])
    problem.solve(solver=cvxpy.SCS, eps=1e-8)
    return float(s.value)


@pytest.mark.parametrize(("scenario", "level"), [*CASES, ("2233", "1+AB"), ("222222", "1+AB")])
def test_the_bracket_holds_the_gauge_of_an_independent_solver(scenario: str, level: str) -> None:
    b = 0.9 * mixtures(scenario, 3, 5)
    if set(scenario[2:]) == {"2"} and len(scenario) == 4:
        b = bell.sample("B", 3, 5, scenario, level)
    d = bell.decide(b, scenario, level, gap=1e-7)
    assert ((d.gauge_upper - d.gauge_lower) <= 1.1e-7 * d.gauge_upper).all()
    for i in range(len(b)):
        gauge = gauge_by_cvxpy(scenario, level, b[i])
        assert d.gauge_lower[i] - 2e-6 <= gauge <= d.gauge_upper[i] + 2e-6


def arcsine(b: np.ndarray) -> np.ndarray:
    """Level 1 of CHSH in closed form: the largest |sum - 2 one| of arcsines of D, less pi.

    M. Navascués, S. Pironio, A. Acín, Bounding the set of quantum correlations, Physical Review
    Letters 98, 2007.
    """
    A, B, E = b[:, :2, None], b[:, None, 2:4], b[:, 4:].reshape(-1, 2, 2)
    D = ((E - A * B) / np.sqrt((1 - A**2) * (1 - B**2))).reshape(-1, 4)
    angles = np.arcsin(np.clip(D, -1.0, 1.0))
    return np.abs(angles.sum(1, keepdims=True) - 2.0 * angles).max(1) - np.pi


@pytest.mark.parametrize("name", ["U", "N", "B", "zero marginals"])
def test_level_one_of_chsh_is_the_arcsine_condition(name: str) -> None:
    if name == "zero marginals":
        b = np.zeros((2000, 8))
        b[:, 4:] = np.random.default_rng(0).uniform(-1.0, 1.0, (2000, 4))
    else:
        b = bell.sample(name, 2000, 1, level="1")
    expected = arcsine(b)
    clear = np.abs(expected) > 1e-7
    d = bell.decide(b, level="1")
    assert clear.sum() > 1990
    assert (d.verdict[clear] == np.where(expected < 0, "inside", "outside")[clear]).all()


@pytest.mark.parametrize(("scenario", "level"), CASES)
def test_every_verdict_is_proven_again_in_rational_arithmetic(scenario: str, level: str) -> None:
    b = bell.sample("B", 24, 2, scenario, level)
    d = bell.decide(b, scenario, level)
    assert (d.verdict[::2] == "inside").all()
    assert (d.verdict[1::2] == "outside").all()
    for i in range(0, len(b), 3):
        bound = verify_moments(d.certificate(i), b[i], exact=True)
        assert bound <= 1 if d.verdict[i] == "inside" else bound > 1


@pytest.mark.parametrize(("scenario", "level"), CASES)
def test_local_behaviours_are_never_outside(scenario: str, level: str) -> None:
    b = mixtures(scenario, 300, 3)
    assert (bell.decide(0.999 * b, scenario, level).verdict == "inside").all()
    corners = bell.decide(bell.deterministic(scenario), scenario, level, gap=1e-6)
    assert not (corners.verdict == "outside").any()
    assert (corners.gauge_lower <= 1.0).all()
    assert (corners.gauge_upper >= 1.0).all()


@pytest.mark.parametrize("scenario", ["2233", "222222", "2332"])
def test_other_scenarios_decide_local_and_boxes(scenario: str) -> None:
    b = 0.99 * mixtures(scenario, 10, 4)
    noise = moment_matrix(Scenario.parse(scenario), "1+AB").behaviour
    assert (bell.decide(noise + 0.99 * (b - noise), scenario).verdict == "inside").all()
    d = bell.decide(noise[None], scenario)
    assert d.verdict[0] == "inside"


def test_tsirelson_point_and_box() -> None:
    e = np.array([0, 0, 0, 0, 1, 1, 1, -1.0])
    tip = 2.0**-0.5
    d = bell.decide(np.array([e, tip * 1.000001 * e, tip * 0.999999 * e, 0.0 * e]), gap=1e-8)
    assert list(d.verdict) == ["outside", "outside", "inside", "inside"]
    np.testing.assert_allclose(d.gauge_upper[:3], [2**0.5, 1.000001, 0.999999], rtol=2e-8)
    w = d.witness(0)
    assert w.violation(d.behaviours[0]) > 0
    # The inequality that the box violates is CHSH's, up to its scale: 2 sqrt 2.
    c = np.array([float(value) for value in w.coefficients])
    np.testing.assert_allclose(c[4:] / c[4], [1, 1, 1, -1], atol=1e-3)
    np.testing.assert_allclose(float(w.bound) / c[4], 8**0.5, rtol=1e-6)


def test_relabelling_changes_no_gauge() -> None:
    b = bell.sample("N", 50, 7)
    swapped = b[:, [2, 3, 0, 1, 4, 6, 5, 7]]
    flipped = b * np.array([-1, 1, 1, 1, -1, -1, 1, 1])
    inputs = b[:, [1, 0, 2, 3, 6, 7, 4, 5]]
    gauges = [bell.decide(v, gap=1e-8).gauge_upper for v in (b, swapped, flipped, inputs)]
    for gauge in gauges[1:]:
        np.testing.assert_allclose(gauge, gauges[0], rtol=3e-8)


def test_batches_of_any_size_give_the_same_numbers() -> None:
    b = bell.sample("B", 40, 8)
    whole = bell.decide(b)
    for i in range(len(b)):
        one = bell.decide(b[i : i + 1])
        for name in ("verdict", "gauge_lower", "gauge_upper", "stage", "steps"):
            assert getattr(one, name)[0] == getattr(whole, name)[i]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -1e9, 0.0])
def test_a_predictor_that_lies_costs_verdicts_but_gives_no_wrong_one(value: float) -> None:
    b = bell.sample("B", 30, 9)
    true = bell.decide(b).verdict
    for fallback in (None, "clarabel"):
        d = bell.decide(b, model=lambda rows: np.full((len(rows), 8), value), fallback=fallback)
        same = d.verdict == true
        assert (same | (d.verdict == "inconclusive")).all()
        assert same.all() or fallback is None


def test_the_solver_decides_what_few_steps_leave_open() -> None:
    b = np.concatenate([bell.sample("B", 30, 10), bell.sample("N", 30, 10)])
    left = bell.decide(b, steps=2, fallback=None)
    assert np.count_nonzero(left.verdict == "inconclusive") > 25
    d = bell.decide(b, steps=2)
    assert (d.verdict == bell.decide(b).verdict).all()
    assert set(d.stage) == {"steps", "solver"}
    i = int(np.flatnonzero(d.stage == "solver")[0])
    assert verify_moments(d.certificate(i), b[i], exact=True) > 0
    i = int(np.flatnonzero(left.verdict == "inconclusive")[0])
    assert left.stage[i] == "none"
    with pytest.raises(CertificateError, match="inconclusive"):
        left.certificate(i)


def test_no_behaviours_are_no_verdicts() -> None:
    d = bell.decide(np.zeros((0, 8)))
    assert len(d.verdict) == len(d.gauge_upper) == 0


def test_the_witness_holds_for_quantum_behaviours_and_bounds_the_gauge() -> None:
    b = bell.sample("B", 10, 11)
    d = bell.decide(b)
    tip = 2.0**-0.5 * np.array([0, 0, 0, 0, 1, 1, 1, -1.0])
    for i in range(1, 10, 2):
        w = d.witness(i)
        assert w.violation(b[i]) > 0
        assert all(w.violation(corner) <= 0 for corner in bell.deterministic("2222"))
        assert w.violation(tip) <= Fraction(1, 10**9)


@pytest.mark.parametrize("value", [5e-324, 1e-300, 1e-160, 1e-9, -0.0])
def test_behaviours_of_almost_nothing_are_inside(value: float) -> None:
    b = np.full((2, 8), value)
    b[1, 4:] = 0.5
    for model in (None, "shipped"):
        for gap in (None, 1e-3):
            d = bell.decide(b, model=model, gap=gap)
            assert (d.verdict == "inside").all()
            assert (d.gauge_lower <= d.gauge_upper).all()
            assert verify_moments(d.certificate(0), b[0], exact=True) <= 1


def test_rows_are_counted_from_the_end_too() -> None:
    d = bell.decide(bell.sample("B", 3, 12))
    np.testing.assert_array_equal(d.certificate(-1).behaviour, d.behaviours[2])
    with pytest.raises(IndexError):
        d.certificate(3)
