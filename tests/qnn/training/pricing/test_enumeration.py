"""The enumeration against all sign vectors, and its bound against rational arithmetic."""

from fractions import Fraction
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.errors import InputError
from qnn.networks.activations import Polynomial
from qnn.networks.activations.lift import Lift
from qnn.training.pricing import enumeration
from qnn.training.pricing.enumeration import (
    enumerate_forms,
    enumerate_signs,
    forming_error,
    scan_by_threads,
)
from qnn.training.pricing.scans import count_heads
from tests.qnn.training.pricing.matrices import MATRICES, PRICERS, forms, products

ENUMERATORS = [pricer for pricer in PRICERS.values() if pricer.scan is not None]
BOTH = pytest.mark.parametrize("pricer", ENUMERATORS, ids=["products", "forms"])


def test_a_matrix_need_not_be_symmetric():
    for d in range(1, 14):
        M = np.random.default_rng(d).normal(size=(d, d))
        found, norms = enumerate_signs(M), products(M)
        assert found.maximum == pytest.approx(norms[0], rel=1e-13)
        assert norms[0] * (1 - 1e-14) <= found.upper_bound <= norms[0] * (1 + 1e-12)
        assert found.V[:, 0] @ M @ found.U[:, 0] == pytest.approx(found.maximum, rel=1e-13)


@BOTH
@pytest.mark.parametrize("keep", [1, 7, 50, 5000])
def test_the_best_above_a_floor_are_all_there(pricer, keep):
    M = MATRICES["dense"](12, 5)
    values = pricer.values(M)
    for rank in (0, 3, 40, 2047):
        found = pricer.price(M, floor=values[rank] * (1 - 1e-12), keep=keep)
        assert np.allclose(found.values, values[: min(rank + 1, keep)], rtol=1e-12)
        assert np.allclose(pricer.scan(M).values(found.U), found.values, rtol=1e-12)
        assert np.all(found.U[-1] == 1.0)
        assert len(np.unique(found.U, axis=1).T) == found.U.shape[1]
    above = pricer.price(M, floor=2 * values[0], keep=keep)
    assert above.values == pytest.approx([values[0]])


@pytest.mark.parametrize("keep", [1, 7, 50, 5000])
def test_of_an_even_form_u_and_its_negative_are_one(keep):
    M = MATRICES["even"](13, 1)
    halved = forms(M)[::2]
    found = enumerate_forms(M, floor=0.5 * halved[0], keep=keep)
    assert np.allclose(found.values, halved[halved >= 0.5 * halved[0]][:keep], rtol=1e-12)


@BOTH
def test_ranges_and_threads_give_what_one_scan_gives(pricer, monkeypatch):
    monkeypatch.setattr(enumeration, "CHUNK", 5)
    M = MATRICES["integers"](15, 2)  # many ties
    floor = 0.9 * pricer.price(M).maximum
    one = pricer.price(M, floor=floor, keep=40, scanner=partial(scan_by_threads, count=1))
    for count in (2, 3):
        many = pricer.price(M, floor=floor, keep=40, scanner=partial(scan_by_threads, count=count))
        assert np.array_equal(one.U, many.U)
        assert np.array_equal(one.values, many.values)
        assert many.upper_bound == one.upper_bound
    scan = pricer.scan(M)
    parts = [
        scan.scan(range(a, b), np.inf, 1, -np.inf, -np.inf)[0].max()
        for a, b in ((0, 1), (1, 17), (17, count_heads(15)))
    ]
    assert max(parts) == one.maximum


@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 4),
    scale=st.sampled_from([1e-150, 1e-8, 1.0, 1e8, 1e150]),
    spread=st.sampled_from([0.0, 8.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_bound_holds_in_rational_arithmetic(seed, d, scale, spread):
    """For the exact M(nu), which no float matrix is."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(6, d)) * 10.0 ** rng.uniform(-spread, spread, size=(1, d))
    nu = rng.normal(size=6) * scale
    M = X.T @ (nu[:, None] * X)
    bound = Fraction(enumerate_signs(M, forming_error(Lift(X, None, True), nu)).upper_bound)
    rows = [[Fraction(x) for x in row] for row in X.tolist()]
    for u in product((-1, 1), repeat=d):
        left = [sum(s * x for s, x in zip(u, row, strict=True)) for row in rows]
        weighted = [Fraction(w) * value for w, value in zip(nu.tolist(), left, strict=True)]
        norm = sum(abs(sum(w * row[j] for w, row in zip(weighted, rows, strict=True)))
                   for j in range(d))  # fmt: skip
        assert norm <= bound


@BOTH
@pytest.mark.parametrize("entry", [0.0, 5e-324, 1e-300, 1e300])
def test_extreme_sizes_are_bounded(pricer, entry):
    found = pricer.price(np.full((3, 3), entry))
    assert 9 * entry <= found.upper_bound <= 9.1 * entry + 1e-290


def test_a_diagonal_matrix_ties_everywhere():
    found = enumerate_signs(np.diag([3.0, -1.0, 2.0] * 4), floor=0.0, keep=10)
    assert found.values == pytest.approx(np.full(10, 24.0))
    assert found.upper_bound == pytest.approx(24.0)


@pytest.mark.parametrize(
    ("M", "message"),
    [
        (np.ones((2, 3)), "M must be a square matrix (got shape (2, 3))"),
        (np.full((2, 2), np.nan), "M must be finite and its sum must not overflow"),
        (np.full((9, 9), 1e308), "M must be finite and its sum must not overflow"),
        (
            np.ones((49, 49)),
            "49 columns are too many to enumerate 2^48 sign vectors: use at most 48, "
            "or another way to a bound",
        ),
    ],
)
@BOTH
def test_what_cannot_be_enumerated_is_refused(pricer, M, message):
    with pytest.raises(InputError) as error:
        pricer.price(M)
    assert str(error.value) == message


@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 4),
    scale=st.sampled_from([1e-150, 1e-8, 1.0, 1e8, 1e150]),
    spread=st.sampled_from([0.0, 6.0]),
    b=st.sampled_from([0.0, 0.5, -3.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_bound_of_forms_holds_in_rational_arithmetic(seed, d, scale, spread, b):
    """For the exact sum of `ν_i σ(x_iᵀu)`, of both signs."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(6, d)) * 10.0 ** rng.uniform(-spread, spread, size=(1, d))
    nu = rng.normal(size=6) * scale
    sigma = Polynomial(0.0937, b, 0.4688)
    lift = sigma.lift(X, (1.0,))
    bound = Fraction(enumerate_forms(lift.adjoint(nu), forming_error(lift, nu)).upper_bound)
    A, B, C = (Fraction(value) for value in sigma.coefficients)
    rows = [[Fraction(x) for x in row] for row in X.tolist()]
    for u in product((-1, 1), repeat=d):
        products = [sum(s * x for s, x in zip(u, row, strict=True)) for row in rows]
        terms = [
            Fraction(w) * ((A * t + B) * t + C) for w, t in zip(nu.tolist(), products, strict=True)
        ]
        assert abs(sum(terms)) <= bound


def test_a_large_diagonal_hides_no_pair():
    """The trace cancels in the threshold: its rounding is allowed for."""
    A = MATRICES["dense"](11, 0) * 1e-6
    A[np.diag_indices(11)] = 1e10
    found = enumerate_forms(A)
    assert found.maximum >= forms(A)[0] * (1 - 1e-15)
    assert found.upper_bound >= forms(A)[0]
