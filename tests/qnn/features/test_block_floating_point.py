"""Numbers in few bits: what is stored is what counts, and it cuts and scales nearly as before."""

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.errors import InputError
from qnn.features.block_floating_point import (
    CUT_TOLERANCE,
    SCALE_TOLERANCE,
    WIDTHS,
    round_scaling,
    stored,
)
from qnn.features.encoders import fit_thresholds
from qnn.features.preprocessing import FeatureLayout, Preprocessing

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LABELS = np.array(["no", "yes"] * 20, dtype=object)


def by_search(values: list[float]) -> int:
    """The fewest bits, by trying every exponent of a double."""
    exact = [Fraction(value) for value in values]
    for width in WIDTHS:
        for exponent in range(-1074, 1025):
            scaled = [value / Fraction(2) ** exponent for value in exact]
            if all(one.denominator == 1 and abs(one) < 2 ** (width - 1) for one in scaled):
                return width
    return 64


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(FLOATS, st.integers(-300, 300).map(float)), min_size=1, max_size=3))
def test_the_fewest_bits_that_hold_numbers_exactly(values: list[float]) -> None:
    block = stored(values)
    assert block.width == by_search(values)
    assert [np.ldexp(number, block.exponent) for number in block.numbers] == values
    assert block.size_in_bytes == 2 + len(values) * block.width // 8


@pytest.mark.parametrize(
    ("values", "width"),
    [
        ([127.0, -127.0], 8), ([128.0], 8), ([129.0], 16), ([0.1], 64), ([0.0, 0.0], 8),
        ([5e-324, 127 * 5e-324], 8), ([1e300, 1.0], 64), ([2.0**1023, 2.0**1020], 8),
        ([65535.0, 0.5], 32),
    ],
)  # fmt: skip
def test_widths_of_some_blocks(values: list[float], width: int) -> None:
    assert stored(values).width == width


@settings(deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=60), st.integers(1, 12))
def test_thresholds_in_few_bits_cut_nearly_as_evenly(values: list[float], count: int) -> None:
    column = np.array(values)
    exact, few = (fit_thresholds(column, count, compact=compact) for compact in (False, True))
    assert len(few) == count
    assert np.isfinite(few).all()
    assert list(few) == sorted(few)
    below = [np.mean(column[:, None] < cuts, axis=0) for cuts in (exact, few)]
    assert np.all(np.abs(below[0] - below[1]) <= CUT_TOLERANCE / (count + 1) + 1e-12)
    np.testing.assert_array_equal(np.diff(below[0]) > 0, np.diff(below[1]) > 0)
    # No bit that differed among the rows becomes a constant.
    np.testing.assert_array_equal((below[0] > 0) & (below[0] < 1), (below[1] > 0) & (below[1] < 1))
    assert stored(few).size_in_bytes <= stored(exact).size_in_bytes


def test_values_apart_are_cut_between_them() -> None:
    """Where neighbours leave room, no row changes its side and a byte is enough."""
    column = np.repeat([0.1, 0.2, 0.3, 0.4, 12.7], 5)
    few = fit_thresholds(column, 4, compact=True)
    assert stored(few).width <= 16
    np.testing.assert_array_equal(
        column[:, None] >= few, column[:, None] >= fit_thresholds(column, 4)
    )


def test_weights_count_as_rows_of_the_same_values() -> None:
    rng = np.random.default_rng(0)
    column, weights = rng.normal(size=30), rng.integers(1, 5, 30)
    repeated = np.repeat(column, weights)
    assert fit_thresholds(column, 5, weights.astype(float), True) == fit_thresholds(
        repeated, 5, compact=True
    )


@settings(deadline=None)
@given(FLOATS, st.floats(min_value=5e-324, allow_infinity=False))
def test_means_and_scales_move_by_little(mean: float, scale: float) -> None:
    first, second = round_scaling(mean, scale)
    assert second > 0.0
    assert abs(Fraction(first) - Fraction(mean)) <= Fraction(SCALE_TOLERANCE) * Fraction(scale)
    assert abs(Fraction(second) - Fraction(scale)) <= Fraction(SCALE_TOLERANCE) * Fraction(scale)
    assert stored((first, second)).size_in_bytes <= stored((mean, scale)).size_in_bytes


def test_usual_columns_take_two_bytes_for_mean_and_scale() -> None:
    assert stored(round_scaling(3.14159, 1.7)).width == 8
    assert stored(round_scaling(1e-200, 3.3e-200)).width == 8
    assert stored(round_scaling(1.5183, 0.003)).width == 16


@pytest.mark.parametrize("scaling", ["standardize", "weighted", "thermometer"])
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1.0, 1e140])
def test_the_matrix_is_that_of_the_rounded_numbers(scaling: Any, scale: float) -> None:
    rng = np.random.default_rng(1)
    table = {
        "a": rng.integers(1, 9, 40) * scale,
        "b": rng.normal(size=40),
        "c": rng.choice(np.array(["x", "y"], dtype=object), 40),
        "d": np.full(40, 7.25),
    }
    layout = FeatureLayout.from_table(table, scaling=scaling, compact=True, constant_columns="keep")
    fitted = layout.fit(table, LABELS, ("no", "yes"))
    X = fitted.transform(table)
    assert np.isfinite(X).all()
    again = Preprocessing.from_json(fitted.to_json())
    assert again == fitted
    assert again.transform(table).tobytes() == X.tobytes()
    numbers = [number for block in fitted.blocks for number in block.numbers]
    assert fitted.bytes_of_numbers == 2 * len(fitted.blocks) + sum(
        len(block.numbers) * block.width // 8 for block in fitted.blocks
    )
    assert len(numbers) == fitted.numbers
    plain = replace(layout, compact=False).fit(table, LABELS, ("no", "yes"))
    assert plain.bytes_of_numbers == 8 * plain.numbers
    if scale == 1.0:
        assert fitted.bytes_of_numbers < 0.5 * plain.bytes_of_numbers


def test_imputed_values_and_targets_keep_eight_bytes() -> None:
    table = {"a": np.array([*np.arange(39.0), np.nan])}
    layout = FeatureLayout.from_table(table, compact=True, missing="impute", clip=2.0)
    fitted = layout.fit(table, np.arange(40.0))
    (block,) = fitted.blocks
    assert fitted.numbers == 6
    assert fitted.bytes_of_numbers == 8 * 4 + block.size_in_bytes


def test_records_and_digests_without_it_are_what_they_were() -> None:
    table = {"a": np.arange(40.0)}
    plain, compact = (FeatureLayout.from_table(table, compact=one) for one in (False, True))
    assert "compact" not in plain.record()
    assert plain.digest != compact.digest
    record = json.loads(compact.fit(table, LABELS, ("no", "yes")).to_json())
    assert record["layout"]["compact"] is True
    record["layout"]["compact"] = "yes"
    with pytest.raises(InputError, match="compact must be true or false"):
        Preprocessing.from_json(json.dumps(record))


@pytest.mark.parametrize("scaling", ["none", "quantile"])
def test_what_has_nothing_to_round_is_refused(scaling: Any) -> None:
    with pytest.raises(InputError, match="compact means nothing to scaling"):
        FeatureLayout.from_table({"a": np.arange(4.0)}, scaling=scaling, compact=True)
