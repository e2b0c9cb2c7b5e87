"""Weighted losses: integer weights are repeated rows, and what is proven stays below the truth."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import huber

from qnn.errors import CertificateError, InputError
from qnn.losses import LOSSES, Loss, MarginLoss, get_loss
from qnn.losses.hinge import Hinge
from qnn.losses.squared import Squared
from qnn.numerics.weights import check_weights

NAMES = [name for name in sorted(LOSSES) if LOSSES[name].takes_weights]
# Of one row: 0 ≤ s = yν ≤ w for the margin losses, ν and y for the others.
SIZES = st.sampled_from([1e-100, 1e-90, 1e-30, 1e-8, 0.3, 1.0, 7.0, 1e8, 1e60, 1e100])


def targets(name: str, rng: np.random.Generator, n: int) -> np.ndarray:
    margin = issubclass(LOSSES[name], MarginLoss)
    return rng.choice([-1.0, 1.0], n) if margin else rng.normal(size=n) * 2


def test_all_losses_of_the_package_take_weights() -> None:
    assert NAMES == ["absolute", "hinge", "huber", "logistic", "squared", "squared_hinge"]


@pytest.mark.parametrize("name", NAMES)
def test_integer_weights_are_repeated_rows(name: str) -> None:
    rng = np.random.default_rng(0)
    y, r, counts = targets(name, rng, 9), rng.normal(size=9) * 1.7, rng.integers(1, 5, 9)
    plain, loss = get_loss(name), get_loss(name).weighted(counts.astype(float))
    often = np.repeat(np.arange(9), counts)
    assert loss.value(r, y) == pytest.approx(plain.value(r[often], y[often]), rel=1e-13)
    np.testing.assert_allclose(loss.gradient(r, y), counts * plain.gradient(r, y), rtol=1e-14)
    # A repeated row's dual point is shared out evenly.
    nu = plain.clip_dual(y * rng.random(9), y) * 0.9
    for method in ("dual_value", "proven_dual_value"):
        last = (1.0,) if method == "proven_dual_value" else ()
        found = getattr(loss, method)(counts * nu, y, *last)
        assert found == pytest.approx(getattr(plain, method)(nu[often], y[often], *last), rel=1e-12)
    assert loss.domain_scale(counts * nu, y) == pytest.approx(plain.domain_scale(nu, y))
    best = plain.best_dual_scale(nu[often], y[often], 1.5)
    assert loss.best_dual_scale(counts * nu, y, 1.5) == pytest.approx(best, rel=1e-6)
    expressed = loss.expression(cp, cp.Constant(r), y)
    assert float(expressed.value) == pytest.approx(loss.value(r, y))


def entropy(p: np.ndarray) -> np.ndarray:
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


# What pages state of rows with weights, as functions of r = ŷ or ν, y and w; of Huber, δ = 1.
VALUES: dict[str, Any] = {
    "Σ wᵢ |ŷᵢ − yᵢ|": lambda r, y, w: w @ abs(r - y),
    "Σ wᵢ max(0, 1 − yᵢŷᵢ)": lambda r, y, w: w @ np.maximum(0, 1 - y * r),
    "Σ wᵢ huber(ŷᵢ − yᵢ)": lambda r, y, w: w @ huber(1.0, r - y),
    "Σ wᵢ log(1 + exp(−yᵢŷᵢ))": lambda r, y, w: w @ np.log(1 + np.exp(-y * r)),
    "½ Σ wᵢ (ŷᵢ − yᵢ)²": lambda r, y, w: w @ (r - y) ** 2 / 2,
    "½ Σ wᵢ max(0, 1 − yᵢŷᵢ)²": lambda r, y, w: w @ np.maximum(0, 1 - y * r) ** 2 / 2,
}
DUALS: dict[str, Any] = {
    "νᵀy": lambda nu, y, w: nu @ y,
    "Σ yᵢνᵢ": lambda nu, y, w: nu @ y,
    "νᵀy − ½ Σ νᵢ² / wᵢ": lambda nu, y, w: nu @ y - (nu**2 / w).sum() / 2,
    "Σ wᵢ H(yᵢνᵢ / wᵢ), H the binary entropy": lambda nu, y, w: w @ entropy(y * nu / w),
}
DOMAINS: dict[str, Any] = {
    "": lambda nu, y, w: nu == nu,
    "|νᵢ| ≤ wᵢ": lambda nu, y, w: abs(nu) <= w,
    "|νᵢ| ≤ δ wᵢ": lambda nu, y, w: abs(nu) <= w,
    "0 ≤ yᵢνᵢ ≤ wᵢ": lambda nu, y, w: (y * nu >= 0) & (y * nu <= w),
    "yᵢνᵢ ≥ 0": lambda nu, y, w: y * nu >= 0,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_formulas_of_pages_are_the_weighted_loss(name: str) -> None:
    rng = np.random.default_rng(3)
    value, dual, domain = LOSSES[name].formulas(weighted=True)
    for _ in range(40):
        y, r, w = targets(name, rng, 3), rng.normal(size=3) * 2, rng.uniform(0.2, 4.0, 3)
        nu = rng.normal(size=3) * 2
        loss = get_loss(name).weighted(w)
        assert VALUES[value](r, y, w) == pytest.approx(loss.value(r, y), rel=1e-12)
        inside = bool(DOMAINS[domain](nu, y, w).all())
        assert inside == np.isfinite(loss.dual_value(nu, y))
        nu = loss.clip_dual(0.9 * nu, y)
        nu += 1e-9 * y * (nu == 0) - 1e-9 * y * (y * nu == w)
        assert DUALS[dual](nu, y, w) == pytest.approx(loss.dual_value(nu, y), rel=1e-12)


def test_a_loss_that_writes_no_formulas_with_weights_has_them_in_words() -> None:
    class Own(Hinge):
        takes_weights = True

    assert Own.formulas(weighted=False) == ("Σ max(0, 1 − yᵢŷᵢ)", "Σ yᵢνᵢ", "0 ≤ yᵢνᵢ ≤ 1")
    assert Own.formulas(weighted=True) == (
        "Σ max(0, 1 − yᵢŷᵢ) with wᵢ times term i",
        "Σ yᵢνᵢ with wᵢ times term i and νᵢ / wᵢ for νᵢ",
        "0 ≤ yᵢνᵢ ≤ 1 with νᵢ / wᵢ for νᵢ",
    )


@pytest.mark.parametrize("name", NAMES)
def test_prox_of_a_weighted_loss_minimizes(name: str) -> None:
    rng = np.random.default_rng(2)
    y, v = targets(name, rng, 9), rng.normal(size=9) * 3
    loss = get_loss(name).weighted(10.0 ** rng.uniform(-2, 2, 9))
    r = loss.prox(v, y, 0.7)
    value = loss.value(r, y) + ((r - v) ** 2).sum() / 1.4
    for _ in range(200):
        other = r + rng.normal(size=9) * 10.0 ** rng.uniform(-6, 1)
        assert loss.value(other, y) + ((other - v) ** 2).sum() / 1.4 >= value * (1 - 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_and_the_domain_of_weighted_losses(name: str) -> None:
    rng = np.random.default_rng(4)
    w = 10.0 ** rng.uniform(-2, 2, 9)
    loss, y, r = get_loss(name).weighted(w), targets(name, rng, 9), rng.normal(size=9)
    if loss.smooth:
        differences = (loss.gradient(r + 1e-6, y) - loss.gradient(r - 1e-6, y)) / 2e-6
        np.testing.assert_allclose(loss.second_derivative(r, y), differences, rtol=1e-4, atol=1e-5)
        assert np.all(loss.second_derivative(r, y) <= loss.curvature * w)
    nu = -loss.gradient(r, y)
    assert loss.dual_value(nu, y) == pytest.approx(loss.value(r, y) + nu @ r, rel=1e-9)
    inner = loss.clip_dual(0.3 * w * np.sign(y), y)
    first, second = loss.dual_slopes(inner, y)
    step = 1e-5 * w
    for i in range(9):
        moved = inner + step * (np.arange(9) == i), inner - step * (np.arange(9) == i)
        above, below = (loss.dual_value(point, y) for point in moved)
        assert first[i] == pytest.approx((above - below) / (2 * step[i]), abs=1e-5, rel=1e-5)
        assert second[i] <= 0.0
    top = loss.domain_scale(inner, y)
    if np.isfinite(top):
        assert np.isfinite(loss.dual_value(top * inner, y))
        assert loss.dual_value(1.0001 * top * inner, y) == -np.inf
    rows = np.array([2, 5, 5])
    part = loss.of_rows(rows)
    assert part.value(r[rows], y[rows]) == pytest.approx(
        sum(loss.of_rows(slice(i, i + 1)).value(r[[i]], y[[i]]) for i in rows)
    )


def true_dual(name: str, nu: float, y: float, w: float, delta: float) -> Fraction | Decimal:
    """``-w l*(-nu / w)`` without rounding, or to sixty digits; None outside the domain."""
    exact_nu, exact_w = Fraction(nu), Fraction(w)
    if name == "logistic":
        with localcontext() as context:
            context.prec = 400
            context.Emin, context.Emax = -(10**6), 10**6
            s, size = Decimal(y) * Decimal(nu), Decimal(w)
            if s in (0, size):
                return Decimal(0)
            return -s * (s / size).ln() - (size - s) * ((size - s) / size).ln()
    linear = exact_nu * Fraction(y)
    return linear if name in ("hinge", "absolute") else linear - exact_nu**2 / (2 * exact_w)


def inside(name: str, nu: float, y: float, w: float, delta: float) -> bool:
    if name in ("hinge", "logistic"):
        return 0 <= y * nu <= w
    if name == "squared_hinge":
        return y * nu >= 0
    if name == "huber":
        return abs(Fraction(nu)) <= Fraction(delta) * Fraction(w)
    return name == "squared" or abs(nu) <= w


@given(
    name=st.sampled_from(NAMES),
    w=SIZES,
    share=st.one_of(
        st.floats(0.0, 1.0),
        st.sampled_from([1e-310, 1e-200, 1e-17, 1 - 2.0**-53, 1.0, 1 + 2.0**-52, 1.3]),
    ),
    y=st.one_of(st.sampled_from([-1.0, 1.0]), st.floats(-1e3, 1e3)),
    sign=st.sampled_from([-1.0, 1.0]),
    delta=st.sampled_from([0.1, 1.0, 3.7]),
)
@settings(max_examples=400, deadline=None)
def test_what_is_proven_of_a_weighted_loss_is_true(
    name: str, w: float, share: float, y: float, sign: float, delta: float
) -> None:
    if issubclass(LOSSES[name], MarginLoss):
        y = float(np.sign(y) or 1.0)
    loss = get_loss(name, delta if name == "huber" else None).weighted(np.array([w]))
    nu = sign * (y if issubclass(LOSSES[name], MarginLoss) else 1.0) * share * w
    try:
        found = loss.proven_dual_value(np.array([nu]), np.array([y]), 1.0)
    except CertificateError:
        # What is refused is outside, or so near to the end that the product's rounding decides.
        assert not inside(name, nu, y, w, delta) or (name == "huber" and share >= 0.9 * delta)
        return
    assert inside(name, nu, y, w, delta)
    truth = true_dual(name, nu, y, w, delta)
    number = Decimal if isinstance(truth, Decimal) else Fraction
    below, lost = number(found), abs(truth) / 10**6 + number(1) / 10**100
    assert truth - lost <= below <= truth


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, 0.0], "weight of row 1 is 0: .* leave out rows of weight 0"),
        ([1.0, -2.0], "weight of row 1 is -2"),
        ([np.nan, 1.0], "weight of row 0 is nan"),
        ([1.0, np.inf], "weight of row 1 is inf"),
        ([5e-324, 1.0], "weight of row 0 is 4.94066e-324"),
        ([1.0, 1e300], r"weight of row 1 is 1e\+300: weights must be from 1e-100 to 1e\+100"),
        ([[1.0, 1.0]], r"one a row of X, 2 \(got shape \(1, 2\)\)"),
        ([1.0], r"got shape \(1,\)"),
        (["a", "b"], "must be numbers"),
    ],
)
def test_weights_that_are_none_are_refused(weights: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_weights(weights, 2)


def test_a_loss_that_does_not_say_that_it_takes_weights_is_refused_them() -> None:
    class Own(Squared):
        name = "own"

        def value(self, predictions: np.ndarray, y: np.ndarray) -> float:
            return 0.5 * float(((predictions - y) ** 2).sum())

    own: Loss = Own()
    assert own.weighted(None) is own
    with pytest.raises(InputError, match="loss 'own' takes no sample weights"):
        own.weighted(np.ones(3))
