"""Every pricer on every matrix: a bound that holds, vectors that have their values, an end."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.qnn.training.pricing.matrices import MATRICES, PRICERS, Pricer

EVERY_PRICER = pytest.mark.parametrize("pricer", PRICERS.values(), ids=PRICERS)


@EVERY_PRICER
@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 11])
def test_the_bound_is_the_largest_value_of_all_sign_vectors(pricer: Pricer, kind: str, d: int):
    for seed in range(3):
        M = MATRICES[kind](d, seed)
        largest, size = pricer.values(M)[0], np.abs(M).sum()
        # A branch and bound stops at what is hoped for, here a little above the maximum.
        found = pricer.price(M, floor=largest + 1e-4 * size)
        assert found.complete
        assert found.upper_bound >= largest * (1.0 - 1e-13)
        assert found.upper_bound <= largest + 1.001e-4 * size + 1e-290
        if pricer.scan is not None:
            assert found.values == pytest.approx([largest], rel=1e-12, abs=1e-12 * size)
            assert found.upper_bound <= largest + 1e-11 * size + 1e-290


@EVERY_PRICER
@pytest.mark.parametrize("kind", MATRICES)
def test_what_lies_above_a_floor_is_found_with_its_value(pricer: Pricer, kind: str):
    M = MATRICES[kind](9, 0)
    largest, size = pricer.values(M)[0], np.abs(M).sum()
    found = pricer.price(M, floor=0.9 * largest)
    assert len(found.values) > 0 or largest == 0.0
    assert np.all(found.values >= 0.9 * largest * (1.0 - 1e-12))
    assert np.all(np.abs(found.U) == 1.0)
    for u, v, value in zip(found.U.T, found.V.T, found.values, strict=True):
        assert abs(u @ M @ v) == pytest.approx(value, rel=1e-12, abs=1e-12 * size)


@EVERY_PRICER
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(2, 9),
    shift=st.floats(-0.3, 0.3),
    kind=st.sampled_from(["sparse", "even"]),
)
def test_a_floor_on_either_side_of_the_maximum(pricer: Pricer, seed, d, shift, kind):
    M = MATRICES[kind](d, seed)
    largest = float(pricer.values(M)[0])
    found = pricer.price(M, floor=largest * (1.0 + shift))
    assert found.upper_bound >= largest * (1.0 - 1e-12)
    if shift > 1e-4:
        assert found.upper_bound <= largest * (1.0 + shift) + 1e-290
    if shift < -1e-4 and largest > 0.0:
        assert np.all(found.values >= largest * (1.0 + shift))


@EVERY_PRICER
def test_out_of_time_the_bound_still_holds(pricer: Pricer):
    M = MATRICES["dense"](20, 1)
    largest = PRICERS[ENUMERATED[pricer.values.__name__]].price(M).maximum
    cut = pricer.price(M, floor=largest, deadline=time.monotonic() - 1.0)
    assert not cut.complete
    assert np.all(cut.values <= largest * (1.0 + 1e-12))
    assert cut.upper_bound >= largest


ENUMERATED = {"products": "products enumerated", "forms": "forms enumerated"}
