"""Maxima of Bell functionals: the numbers of the literature, and bounds that are exact."""

from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates.moments import inequality, verify_moments
from qnn.errors import InputError
from qnn.moments import bell
from tests.qnn.moments.bell.test_behaviours import mixtures

CHSH = np.array([0, 0, 0, 0, 1, 1, 1, -1.0])


def i3322() -> np.ndarray:
    """D. Collins and N. Gisin, J. Phys. A 37, 2004, as weights on p(ab|xy); local bound 0."""
    w = np.zeros((3, 3, 2, 2))
    for x, y in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)):
        w[x, y, 0, 0] += 1.0
    for x, y in ((1, 2), (2, 1)):
        w[x, y, 0, 0] -= 1.0
    w[0, 0, 0, :] -= 1.0
    w[0, 0, :, 0] -= 2.0
    w[0, 1, :, 0] -= 1.0
    return w


def cglmp() -> np.ndarray:
    """D. Collins et al., Phys. Rev. Lett. 88, 2002, for three outcomes; local bound 2."""
    w = np.zeros((2, 2, 3, 3))
    for a, b in np.ndindex(3, 3):
        w[0, 0, a, b] += (a == b) - (a == (b - 1) % 3)
        w[1, 0, a, b] += (b == (a + 1) % 3) - (a == b)
        w[1, 1, a, b] += (a == b) - (a == (b - 1) % 3)
        w[0, 1, a, b] += (b == a) - (b == (a - 1) % 3)
    return w


def svetlichny() -> np.ndarray:
    """G. Svetlichny, Phys. Rev. D 35, 1987, on the correlators of three parties."""
    c = np.zeros(26)
    c[18:] = [1, 1, 1, -1, 1, -1, -1, -1]
    return c


@pytest.mark.parametrize("level", ["1", "1+AB", "2", "3"])
def test_tsirelson(level: str) -> None:
    m = bell.maximum(CHSH, "2222", level)
    assert m.bound**2 >= 8
    assert m.upper_bound < 8**0.5 + 1e-7
    assert m.local_bound == 2.0
    np.testing.assert_allclose(m.value, 8**0.5, atol=1e-7)
    assert (bell.decide(0.9999 * m.behaviour[None], level=level).verdict == "inside").all()


@pytest.mark.parametrize(("level", "value"), [("1", 0.375), ("1+AB", 0.2514709), ("2", 0.2509397)])
def test_i3322(level: str, value: float) -> None:
    m = bell.maximum(i3322(), "3322", level)
    assert abs(m.local_bound) < 1e-12
    np.testing.assert_allclose([m.upper_bound, m.value], value, atol=1e-7)
    assert verify_moments(m.certificate, exact=True) <= m.bound


def test_cglmp_with_projectors() -> None:
    m = bell.maximum(cglmp(), "2233", "1+AB")
    np.testing.assert_allclose(m.local_bound, 2.0)
    # A. Acín et al., Phys. Rev. A 65, 2002: 1 + sqrt(11/3).
    np.testing.assert_allclose([m.upper_bound, m.value], 1.0 + (11.0 / 3.0) ** 0.5, atol=3e-6)
    assert m.upper_bound >= 1.0 + (11.0 / 3.0) ** 0.5


def test_svetlichny_of_three_parties() -> None:
    m = bell.maximum(svetlichny(), "222222", "2")
    assert m.local_bound == 4.0
    np.testing.assert_allclose(m.upper_bound, 32**0.5, atol=1e-6)
    assert m.bound**2 >= 32


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_never_below_a_behaviour_of_the_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for scenario, level in (("2222", "1+AB"), ("3322", "1"), ("2233", "1")):
        size = len(mixtures(scenario, 1)[0])
        m = bell.maximum(rng.normal(size=size), scenario, level)
        for b in mixtures(scenario, 50, seed):
            exact = sum(
                Fraction(c) * Fraction(v)
                for c, v in zip(m.coefficients.tolist(), b.tolist(), strict=True)
            )
            assert exact <= m.bound
        assert m.value <= m.upper_bound
        assert m.local_bound <= m.upper_bound
        np.testing.assert_allclose(m.upper_bound, m.value, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-60, 1e-9, 1e9, 1e59])
def test_bounds_scale_with_the_functional(scale: float) -> None:
    m = bell.maximum(scale * CHSH)
    assert m.bound**2 >= 8 * Fraction(scale) ** 2
    np.testing.assert_allclose(m.upper_bound / scale, 8**0.5, rtol=1e-7)


def test_a_functional_that_is_zero_or_constant_has_its_constant() -> None:
    assert 0.0 <= bell.maximum(np.zeros(8)).upper_bound < 1e-9
    constant = bell.maximum(np.ones((2, 2, 2, 2)))
    np.testing.assert_allclose(constant.upper_bound, 4.0)
    assert constant.local_bound == 4.0


def test_the_inequality_of_a_maximum_is_the_functional() -> None:
    m = bell.maximum(CHSH)
    found = inequality(m.certificate)
    np.testing.assert_allclose([float(c) for c in found.coefficients], CHSH, atol=1e-9)
    assert found.bound <= m.bound


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        (np.zeros(7), "8 finite coefficients"),
        (np.full(8, np.nan), "8 finite coefficients"),
        (np.zeros((2, 2, 2)), r"weights of shape \(2, 2, 2, 2\)"),
        (np.full((2, 2, 2, 2), np.inf), "finite weights"),
        (np.full(8, 1e200), "between 1e-60 and 1e60"),
        (np.full(8, 5e-324), "between 1e-60 and 1e60"),
        (np.full((2, 2, 2, 2), 1e200), "between 1e-60 and 1e60"),
        (np.eye(4).reshape(2, 2, 2, 2) * 1e-200, "between 1e-60 and 1e60"),
    ],
)
def test_what_is_no_functional_is_one_line(coefficients: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bell.maximum(coefficients)
