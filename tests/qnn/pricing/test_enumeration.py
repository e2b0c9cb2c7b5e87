"""The enumeration against all sign vectors, and its bound against rational arithmetic."""

import time
from fractions import Fraction
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.activations import Polynomial
from qnn.errors import InputError
from qnn.lift import Lift
from qnn.pricing import enumeration
from qnn.pricing.enumeration import enumerate_forms, enumerate_signs, forming_error, scan_by_threads
from qnn.pricing.scans import FormScan, ProductScan, count_heads
from tests.qnn.bruteforce import sign_vectors


def symmetric(d, seed, n=30):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X.T @ (rng.normal(size=n)[:, None] * X)


@pytest.mark.parametrize("d", range(1, 14))
def test_it_finds_the_maximum_of_all_sign_vectors(d):
    for seed in range(3):
        M = symmetric(d, seed) if seed else np.random.default_rng(d).normal(size=(d, d))
        found = enumerate_signs(M)
        norms = np.abs(M @ sign_vectors(d)).sum(axis=0)
        assert found.complete
        assert found.maximum == pytest.approx(norms.max(), rel=1e-13)
        assert norms.max() * (1 - 1e-14) <= found.upper_bound <= norms.max() * (1 + 1e-12)
        assert found.V[:, 0] @ M @ found.U[:, 0] == pytest.approx(found.maximum, rel=1e-13)


@pytest.mark.parametrize("keep", [1, 7, 50, 5000])
def test_the_best_above_a_floor_are_all_there(keep):
    d = 12
    M = symmetric(d, 5)
    norms = np.sort(np.abs(M @ sign_vectors(d)[:, ::2]).sum(axis=0))[::-1]
    for rank in (0, 3, 40, 2047):
        found = enumerate_signs(M, floor=norms[rank] * (1 - 1e-12), keep=keep)
        assert np.allclose(found.values, norms[: min(rank + 1, keep)], rtol=1e-13)
        assert np.all(found.U[-1] == 1.0)
        assert len(np.unique(found.U, axis=1).T) == found.U.shape[1]
    above = enumerate_signs(M, floor=2 * norms[0], keep=keep)
    assert above.values == pytest.approx([norms[0]])


def test_ranges_and_threads_give_what_one_scan_gives(monkeypatch):
    monkeypatch.setattr(enumeration, "CHUNK", 5)
    M = np.round(symmetric(15, 2))  # integers: many ties
    one = enumerate_signs(
        M,
        floor=0.9 * enumerate_signs(M).maximum,
        keep=40,
        scanner=partial(scan_by_threads, count=1),
    )
    for count in (2, 3):
        many = enumerate_signs(
            M, floor=0.9 * one.maximum, keep=40, scanner=partial(scan_by_threads, count=count)
        )
        assert np.array_equal(one.U, many.U)
        assert np.array_equal(one.values, many.values)
        assert many.upper_bound == one.upper_bound
    scan = ProductScan(M)
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


@pytest.mark.parametrize("entry", [0.0, 5e-324, 1e-300, 1e300])
def test_extreme_sizes_are_bounded(entry):
    found = enumerate_signs(np.full((3, 3), entry))
    assert 9 * entry <= found.upper_bound <= 9.1 * entry + 1e-290


def test_a_diagonal_matrix_ties_everywhere():
    found = enumerate_signs(np.diag([3.0, -1.0, 2.0] * 4), floor=0.0, keep=10)
    assert found.values == pytest.approx(np.full(10, 24.0))
    assert found.upper_bound == pytest.approx(24.0)


def test_a_deadline_leaves_a_valid_bound():
    M = symmetric(24, 1)
    found = enumerate_signs(M, deadline=time.monotonic() - 1.0)
    assert not found.complete
    assert found.maximum <= found.upper_bound
    assert found.upper_bound >= np.abs(M).sum()


@pytest.mark.parametrize(
    ("M", "message"),
    [
        (np.ones((2, 3)), "M must be a square matrix (got shape (2, 3))"),
        (np.full((2, 2), np.nan), "M must be finite and its sum must not overflow"),
        (np.full((9, 9), 1e308), "M must be finite and its sum must not overflow"),
        (
            np.eye(49),
            "49 columns are too many to enumerate 2^48 sign vectors: use at most 48, "
            "or another way to a bound",
        ),
    ],
)
def test_what_cannot_be_enumerated_is_refused(M, message):
    with pytest.raises(InputError) as error:
        enumerate_signs(M)
    assert str(error.value) == message


def form(d: int, seed: int) -> np.ndarray:
    """Of all kinds: dense, without anything beside the last diagonal entry, ties, diagonal."""
    A = np.random.default_rng(100 * d + seed).normal(size=(d, d))
    A = A + A.T
    if seed % 4 == 1:
        A[-1, :-1] = A[:-1, -1] = 0.0
    if seed % 4 == 2:
        A = np.round(A)
    return np.diag(np.diag(A)) if seed % 4 == 3 else A


def form_values(A: np.ndarray) -> np.ndarray:
    """`|uᵀAu|` of all u with a last entry of +1, the largest first."""
    U = sign_vectors(len(A))
    U = U[:, U[-1] > 0]
    return np.sort(np.abs(np.einsum("ij,ij->j", U, A @ U)))[::-1]


@pytest.mark.parametrize("d", range(1, 14))
def test_forms_find_the_maximum_of_all_sign_vectors(d):
    for seed in range(8):
        A = form(d, seed)
        found, values = enumerate_forms(A), form_values(A)
        assert found.complete
        assert found.maximum == pytest.approx(values[0], rel=1e-12, abs=1e-12)
        assert values[0] * (1 - 1e-13) <= found.upper_bound <= values[0] + 1e-11 * np.abs(A).sum()
        u = found.U[:, 0]
        assert u[-1] == 1.0
        assert abs(u @ A @ found.V[:, 0]) == pytest.approx(found.maximum, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("keep", [1, 7, 50, 5000])
def test_the_best_forms_above_a_floor_are_all_there(keep):
    A = form(13, 0)
    values = form_values(A)
    for rank in (0, 3, 40, 2047):
        found = enumerate_forms(A, floor=values[rank] * (1 - 1e-12), keep=keep)
        assert np.allclose(found.values, values[: min(rank + 1, keep)], rtol=1e-12)
        assert len(np.unique(found.U, axis=1).T) == found.U.shape[1]
    even = form(13, 1)
    halved = form_values(even)[::2]
    found = enumerate_forms(even, floor=0.5 * halved[0], keep=keep)
    assert np.allclose(found.values, halved[halved >= 0.5 * halved[0]][:keep], rtol=1e-12)


def test_ranges_and_threads_of_forms_give_what_one_scan_gives(monkeypatch):
    monkeypatch.setattr(enumeration, "CHUNK", 5)
    A = form(15, 2)
    floor = 0.9 * enumerate_forms(A).maximum
    one = enumerate_forms(A, floor=floor, keep=40, scanner=partial(scan_by_threads, count=1))
    many = enumerate_forms(A, floor=floor, keep=40, scanner=partial(scan_by_threads, count=3))
    assert np.array_equal(one.U, many.U)
    assert many.upper_bound == one.upper_bound
    scan = FormScan(A)
    parts = [
        scan.scan(range(a, b), np.inf, 1, -np.inf, -np.inf)[0].max()
        for a, b in ((0, 1), (1, 17), (17, count_heads(15)))
    ]
    assert max(parts) == one.maximum


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


@pytest.mark.parametrize("entry", [0.0, 5e-324, 1e-300, 1e300])
def test_extreme_sizes_of_forms_are_bounded(entry):
    found = enumerate_forms(np.full((3, 3), entry))
    assert 9 * entry <= found.upper_bound <= 9.1 * entry + 1e-290


def test_a_large_diagonal_hides_no_pair():
    """The trace cancels in the threshold: its rounding is allowed for."""
    A = form(11, 0) * 1e-6
    A[np.diag_indices(11)] = 1e10
    found = enumerate_forms(A)
    assert found.maximum >= form_values(A)[0] * (1 - 1e-15)
    assert found.upper_bound >= form_values(A)[0]
