import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.errors import InputError
from qnn.features.encoders import (
    KNOTS,
    QuantileToNormal,
    encoder_from_record,
    fit_table,
    fit_thresholds,
)
from qnn.features.preprocessing import BIAS_NAME, FeatureLayout, Preprocessing
from qnn.networks.quantized import QuantizedNetwork

AGES = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
TABLE: dict[str, Any] = {
    "age": AGES,
    "flag": np.array([0.0, 0, 0, 0, 0, 0, 1, 1]),
    "site": np.array(list("abcabcab"), dtype=object),
}
LABELS = np.array(["no", "yes"] * 4, dtype=object)


def fit(table: Any = TABLE, **options: Any) -> Preprocessing:
    layout = FeatureLayout.from_table(table, **{"scaling": "thermometer", **options})
    return layout.fit(table, LABELS, ("no", "yes"))


def test_thermometer_bits_of_a_small_table() -> None:
    prepared = fit()
    assert prepared.feature_names == (
        "age>=t1", "age>=t2", "age>=t3", "flag>=t1", "site=a", "site=b", "site=c", BIAS_NAME,
    )  # fmt: skip
    assert prepared.encoder is not None
    assert prepared.encoder.thresholds == ((3.0, 5.0, 7.0), (1.0,))
    rows = {"age": [4.0, 7.5], "flag": [0, 1], "site": np.array(["b", "nowhere"], dtype=object)}
    X = prepared.transform(rows)
    np.testing.assert_array_equal(
        X, [[1, -1, -1, -1, -1, 1, -1, 1], [1, 1, 1, 1, -1, -1, -1, 1]]
    )  # fmt: skip
    assert X.dtype == np.float64


def test_a_value_at_a_threshold_is_above_it_and_its_neighbour_is_not() -> None:
    prepared = fit({"age": AGES})
    below = np.nextafter(5.0, 0.0)
    X = prepared.transform({"age": [below, 5.0]})
    np.testing.assert_array_equal(X[:, 1], [-1.0, 1.0])


def test_missing_values_get_the_bits_of_the_median() -> None:
    gaps = {"age": np.array([*AGES[:-1], np.nan])}
    prepared = fit(gaps, missing="impute")
    np.testing.assert_array_equal(
        prepared.transform({"age": [np.nan]}), prepared.transform({"age": [4.0]})
    )


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 12) | st.floats(-1e300, 1e300), min_size=1, max_size=40),
    st.integers(1, 9),
)
def test_thresholds_are_training_values_and_cut_evenly(values: list[float], count: int) -> None:
    data = np.array(values, dtype=float)
    thresholds = np.array(fit_thresholds(data, count))
    assert len(thresholds) == count
    assert np.isin(thresholds, data).all()
    distinct = len(np.unique(data))
    used = min(count, max(distinct - 1, 1))
    assert len(np.unique(thresholds)) == used
    assert (np.diff(thresholds[:used]) > 0).all()
    if distinct > 1:
        # No bit is the same on all training rows.
        bits = data[:, None] >= thresholds
        assert (bits.any(axis=0) & ~bits.all(axis=0)).all()


def test_thresholds_without_ties_are_quantiles() -> None:
    rng = np.random.default_rng(0)
    data = rng.standard_normal(1000)
    expected = np.quantile(data, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(fit_thresholds(data, 3), expected, atol=0.01)


def test_a_shard_with_fewer_values_keeps_the_columns() -> None:
    layout = FeatureLayout.from_table({"age": AGES}, scaling="thermometer")
    small = {"age": np.array([2.0, 2.0, 9.0])}
    prepared = layout.fit(small, LABELS[:3], ("no", "yes"))
    assert prepared.encoder is not None
    assert prepared.encoder.thresholds == ((9.0, 9.0, 9.0),)
    assert prepared.transform(small).shape == (3, 4)


def test_normal_scores_have_the_shape_of_a_normal_distribution() -> None:
    rng = np.random.default_rng(1)
    skewed = np.exp(2.0 * rng.standard_normal(2000))
    knots, scores, slopes = fit_table(skewed)
    assert KNOTS // 2 < len(knots) == len(scores) == len(slopes) <= KNOTS
    prepared = FeatureLayout.from_table(skewed[:, None], scaling="quantile", bias=False)
    fitted = prepared.fit(skewed[:, None], np.zeros(len(skewed)) + np.arange(len(skewed)))
    z = fitted.transform(skewed[:, None])[:, 0]
    assert abs(z.mean()) < 1e-12
    assert abs(z.std() - 1) < 1e-12
    assert abs(np.mean(z**3)) < 0.1
    # Order is kept, and outside values get the ends' scores.
    assert (np.diff(z[np.argsort(skewed)]) >= 0).all()
    ends = fitted.transform(np.array([[-1e9], [skewed.min()], [1e9], [skewed.max()]]))[:, 0]
    assert ends[0] == ends[1]
    assert ends[2] == ends[3]


def test_mid_ranks_of_ties() -> None:
    _, scores, _ = fit_table(np.array([0.0, 0.0, 0.0, 1.0]))
    # Φ⁻¹(3/8) and Φ⁻¹(7/8), centred and scaled by their own mean and deviation.
    raw = np.array([-0.31863936, -0.31863936, -0.31863936, 1.15034938])
    np.testing.assert_allclose(scores, (raw[[0, 3]] - raw.mean()) / raw.std(), rtol=1e-7)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e300, 1e300), min_size=4, max_size=80),
    st.sampled_from(["quantile", "thermometer"]),
)
def test_json_gives_back_the_same_bits(values: list[float], scaling: str) -> None:
    table = {"age": np.array(values), "site": np.array(["a", "b"] * 40)[: len(values)]}
    layout = FeatureLayout.from_table(table, scaling=scaling, constant_columns="keep")
    prepared = layout.fit(table, np.array(values) / 1e160)
    again = Preprocessing.from_json(prepared.to_json())
    assert again == prepared
    assert again.transform(table).tobytes() == prepared.transform(table).tobytes()
    assert np.isfinite(prepared.transform(table)).all()


def test_old_records_are_written_and_read_as_before() -> None:
    prepared = fit(scaling="standardize")
    record = json.loads(prepared.to_json())
    assert record["format"] == 1
    assert "encoder" not in record
    assert "levels" not in record["layout"]["columns"][0]
    assert "thresholds" not in record["layout"]
    assert Preprocessing.from_json(json.dumps(record)) == prepared
    assert json.loads(fit().to_json())["format"] == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 1}, "format 1"),
        ({"encoder": {"thresholds": [[3.0, 5.0], [1.0]]}}, "does not fit the columns"),
        ({"encoder": {"thresholds": [[3.0, 7.0, 5.0], [1.0]]}}, "must ascend"),
        ({"encoder": {"knots": [[1.0]], "scores": [[1.0]], "slopes": [[1.0]]}}, "does not fit"),
        ({"encoder": {"bits": []}}, "not a preprocessing record"),
    ],
)
def test_a_spoilt_encoder_is_refused(change: dict[str, Any], reason: str) -> None:
    record = {**json.loads(fit().to_json()), **change}
    with pytest.raises(InputError, match=reason):
        Preprocessing.from_json(json.dumps(record))


def test_sizes_count_thresholds_and_tables() -> None:
    # Four thresholds; a, b, c; no, yes.
    assert fit().size_in_bytes == 8 * 4 + 3 + 5
    # 8 and 2 knots with score and slope, mean and scale of 5 features.
    assert fit(scaling="quantile").size_in_bytes == 8 * (3 * 10 + 10) + 3 + 5


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match=r"^clip means nothing to bits: leave it out"):
        fit(clip=1.0)
    with pytest.raises(
        InputError, match=r"^thresholds must be a whole number from 1 to 255 \(got 0\)$"
    ):
        fit(thresholds=0)
    layout = FeatureLayout.from_table({"age": AGES}, scaling="thermometer")
    with pytest.raises(InputError, match="no rows to fit"):
        layout.fit({"age": AGES[:0]}, LABELS[:0], ("no", "yes"))


def test_the_digest_of_old_layouts_is_what_it_was() -> None:
    # Trial ids of earlier runs hang on it.
    digest = FeatureLayout.from_table(TABLE).digest
    assert digest == "d28fc07c7e3d55f48bb4114b1960c2ba8175fbbee04c5f2d54099f8cd65629e4"
    more = FeatureLayout.from_table(TABLE, scaling="thermometer")
    less = FeatureLayout.from_table(TABLE, scaling="thermometer", thresholds=2)
    assert more.digest != less.digest


@pytest.mark.parametrize("scaling", ["quantile", "thermometer"])
def test_a_saved_network_predicts_from_raw_rows(tmp_path: Path, scaling: str) -> None:
    prepared = fit(scaling=scaling)
    rng = np.random.default_rng(3)
    U, V = np.where(rng.random((2, prepared.layout.d, 5)) < 0.5, -1, 1)
    network = QuantizedNetwork(U, V, rng.standard_normal(5), preprocessing=prepared)
    network.save(tmp_path / "network.npz")
    again = QuantizedNetwork.load(tmp_path / "network.npz")
    assert again.predict(TABLE).tolist() == network.predict(TABLE).tolist()
    scores = network.decision_function(prepared.transform(TABLE))
    assert again.scores(TABLE).tobytes() == scores.tobytes()


@pytest.mark.parametrize("light", [[0], [15], [0, 1, 14, 15]])
def test_rows_that_hardly_count_have_normal_scores(light: list[int]) -> None:
    weights = np.ones(16)
    weights[light] = 1e-20
    for values in (np.arange(16.0), np.where(np.arange(16) < 8, 0.0, np.arange(16.0))):
        knots, scores, _ = fit_table(values, weights)
        assert np.isfinite(scores).all()
        assert (np.diff(scores) >= 0.0).all()
        inside = np.interp(values, knots, scores)
        assert np.average(inside, weights=weights) == pytest.approx(0.0, abs=1e-9)
        assert np.average(inside**2, weights=weights) == pytest.approx(1.0)


def test_many_rows_whose_ends_hardly_count_have_a_table() -> None:
    weights = np.where(np.isin(np.arange(200), [0, 199]), 1e-20, 1.0)
    knots, scores, _ = fit_table(np.arange(200.0), weights)
    assert len(knots) <= KNOTS
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("more", [[], [1e308], list(np.linspace(-1.0, 1.0, 100) * 1.7e308)])
def test_numbers_from_end_to_end_of_the_floats_have_scores(more: list[float]) -> None:
    """Of two knots further apart than the largest float none is to be: a step would overflow."""
    values = np.array([-1.7e308, 1.7e308, *more])
    knots, scores, slopes = fit_table(values)
    assert np.isfinite(np.diff(knots)).all()
    encoder = QuantileToNormal((knots,), (scores,), (slopes,))
    found = encoder.encode(0, np.linspace(-0.9, 0.9, 181) * 1.7e308)[:, 0]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0.0).all()
    between = encoder.encode(0, np.array([0.0, 1e308]))[:, 0]
    assert scores[0] < between[0] < between[1] < scores[-1]


def test_knots_too_far_apart_are_refused() -> None:
    encoder = {"knots": [[-1.7e308, 1.7e308]], "scores": [[-1.0, 1.0]], "slopes": [[0.0, 0.0]]}
    with pytest.raises(ValueError, match="further apart than the largest float"):
        encoder_from_record(encoder, [None])


@pytest.mark.parametrize("thresholds", [2.5, "many", [3], True, 256, np.float64(3.0)])
def test_thresholds_that_are_no_number_of_bits_are_refused(thresholds: Any) -> None:
    with pytest.raises(InputError, match="thresholds must be a whole number from 1 to 255"):
        fit(thresholds=thresholds)


@pytest.mark.parametrize("clip", ["a", [1.0], True, float("inf")])
def test_a_clip_that_is_no_number_is_refused(clip: Any) -> None:
    with pytest.raises(InputError, match="clip must be a positive number"):
        fit(scaling="standardize", clip=clip)
