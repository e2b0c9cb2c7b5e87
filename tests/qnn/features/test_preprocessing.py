import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qnn.errors import InputError
from qnn.features.preprocessing import BIAS_NAME, FeatureLayout, Preprocessing
from tests.qnn.features.table_cases import LABELS, fit, message, mixed, with_gaps


def test_columns_expand_in_order_and_the_bias_is_last() -> None:
    layout = FeatureLayout.from_table(mixed())
    assert layout.feature_names == ("age", "site=a", "site=b", "site=c", "size", BIAS_NAME)
    assert layout.d == 6
    assert layout.warnings == ("dropped constant columns: flat",)


def test_the_matrix_without_scaling_is_the_table() -> None:
    X = fit(mixed(), scaling="none").transform(mixed())
    expected = [
        [20, 0, 1, 0, 1, 1],
        [30, 1, 0, 0, 4, 1],
        [40, 0, 1, 0, 2, 1],
        [50, 0, 0, 1, 3, 1],
    ]
    np.testing.assert_array_equal(X, expected)
    assert X.dtype == np.float64
    assert X.flags.c_contiguous


def test_standardized_against_numpy_and_clipped() -> None:
    table = mixed()
    age = (table["age"] - table["age"].mean()) / table["age"].std()
    np.testing.assert_allclose(fit(table).transform(table)[:, 0], age, rtol=1e-14)
    clipped = fit(table, clip=1.0).transform(table)
    np.testing.assert_allclose(clipped[:, 0], np.clip(age, -1, 1), rtol=1e-14)
    assert (clipped[:, -1] == 1).all()
    assert not (fit(table, bias=False).transform(table)[:, -1] == 1).all()


def test_kept_constant_columns_become_zeros() -> None:
    prepared = fit(mixed(), constant_columns="keep")
    assert prepared.layout.warnings == ("kept constant columns: flat",)
    j = prepared.feature_names.index("flat")
    assert (prepared.transform(mixed())[:, j] == 0).all()


def test_only_named_columns_are_read() -> None:
    layout = FeatureLayout.from_table(mixed(), columns=("size", "site"))
    assert layout.feature_names == ("site=a", "site=b", "site=c", "size", BIAS_NAME)
    assert layout.warnings == ("not read: age, flat",)
    prepared = layout.fit(mixed(), LABELS, ("no", "yes"))
    few = {name: mixed()[name] for name in ("site", "size")}
    np.testing.assert_array_equal(prepared.transform(few), prepared.transform(mixed()))
    assert Preprocessing.from_json(prepared.to_json()).transform(few).shape == (4, 5)
    # The order of the names counts for nothing, and those dropped before stay away.
    assert layout.only(("site", "size")) == layout
    assert FeatureLayout.from_table(mixed(), columns=("flat", "age")).feature_names[0] == "age"
    for names, said in ((("sighs",), "not in the data: sighs"), (("flat",), "no column is left")):
        with pytest.raises(InputError, match=said) as error:
            FeatureLayout.from_table(mixed(), columns=names)
        message(error)


def test_columns_that_are_not_read_may_hold_anything() -> None:
    # Missing numbers, mixed text, infinity: refused where the column is read.
    junk = {"gaps": [1.0, np.nan, 2.0, 3.0], "far": [1.0, np.inf, 2.0, 3.0]}
    table = {**mixed(), **{name: np.array(values) for name, values in junk.items()}}
    layout = FeatureLayout.from_table(table, columns=("size", "site"))
    assert layout.warnings == ("not read: age, flat, gaps, far",)
    whole = FeatureLayout.from_table(mixed(), columns=("size", "site"))
    assert layout.feature_names == whole.feature_names
    fitted = layout.fit(table, LABELS, ("no", "yes"))
    np.testing.assert_array_equal(fitted.transform(table), fitted.transform(mixed()))
    for name in junk:
        with pytest.raises(InputError, match=f"column '{name}' has"):
            FeatureLayout.from_table(table, columns=("size", name))
    # Nor do files tell what they hold.
    assert "'c'" not in str(FeatureLayout.from_table(mixed()).only(("age",)).record())


def test_categories_that_differ_only_in_blanks_or_case_are_said() -> None:
    layout = FeatureLayout.from_table({"region": [" south", "south ", "north", "South"]})
    (said,) = layout.warnings
    assert said.startswith("column 'region': ' south' and 'South' and 'south ' differ only in case")


def test_a_column_constant_in_the_training_part_alone_gives_zeros_there() -> None:
    # 0.1 + 0.2 and the like: a mean that rounds must not leave a scale of 1e-17.
    table = {"a": np.array([0.1] * 7 + [5.0]), "b": np.arange(8.0)}
    layout = FeatureLayout.from_table(table)
    train = {name: column[:7] for name, column in table.items()}
    prepared = layout.fit(train, np.arange(7.0))
    X = prepared.transform(table)
    assert (X[:7, 0] == 0).all()
    assert X[7, 0] == pytest.approx(4.9)


def test_statistics_come_from_the_training_rows_only() -> None:
    table = {"a": np.array([0.0, 2.0, 1000.0]), "c": np.array(["x", "y", "z"], dtype=object)}
    layout = FeatureLayout.from_table(table)
    prepared = layout.fit({name: column[:2] for name, column in table.items()}, np.arange(2.0))
    assert prepared.means[0] == 1.0
    assert prepared.scales[0] == 1.0
    assert layout.d == 5  # the category "z" has its column although it is not trained on


def test_imputation_by_median_and_most_frequent() -> None:
    table = with_gaps()
    prepared = fit(table, missing="impute", scaling="none")
    assert prepared.fill == (3.0, "b")
    np.testing.assert_array_equal(prepared.transform(table)[1], [3, 0, 1, 1])


def test_a_tie_of_frequencies_does_not_depend_on_row_order() -> None:
    table = {"s": np.array(["b", "a", None], dtype=object)}
    for order in ([0, 1, 2], [1, 0, 2]):
        rows = {"s": table["s"][order]}
        prepared = FeatureLayout.from_table(rows, missing="impute").fit(rows, np.arange(3.0))
        assert prepared.fill == ("a",)


def test_a_training_part_without_any_value_of_a_column() -> None:
    table = with_gaps()
    layout = FeatureLayout.from_table(table, missing="impute", scaling="standardize")
    gap = {name: column[1:2] for name, column in table.items()}
    prepared = layout.fit(gap, np.array([1.0]))
    assert prepared.fill == (0.0, None)
    assert np.isfinite(prepared.transform(table)).all()
    assert Preprocessing.from_json(prepared.to_json()) == prepared


def test_an_unseen_category_is_a_block_of_zeros() -> None:
    new = mixed() | {"site": np.array(["q"] * 4, dtype=object)}
    X = fit(mixed(), scaling="none").transform(new)
    assert (X[:, 1:4] == 0).all()


def test_mappings_frames_and_arrays_give_the_same_matrix() -> None:
    table = {"x0": np.array([1.0, 2.0, 4.0, 3.0]), "x1": np.array([0.0, 1.0, 1.0, 5.0])}
    prepared = fit(table)
    X = prepared.transform(table)
    frame = pd.DataFrame(table)[["x1", "x0"]].assign(other="text")
    np.testing.assert_array_equal(prepared.transform(frame), X)
    np.testing.assert_array_equal(prepared.transform(np.column_stack(list(table.values()))), X)
    assert fit(np.column_stack(list(table.values()))) == prepared


def test_missing_values_of_a_frame_are_seen_whatever_their_type() -> None:
    frame = pd.DataFrame(
        {
            "age": pd.array([1, None, 3, 10], dtype="Int64"),
            "site": pd.array(["b", pd.NA, "a", "b"], dtype="string"),
        }
    )
    prepared = fit(frame, missing="impute")
    assert prepared == fit(with_gaps(), missing="impute")
    code = pd.DataFrame({"code": [1.0, 2.0, None, 2.0]})
    layout = FeatureLayout.from_table(code, categorical=["code"], missing="impute")
    assert layout.columns[0].categories == ("1", "2")


@pytest.mark.parametrize(
    ("table", "options", "expected"),
    [
        ({"a": np.array([])}, {}, "the data have no rows"),
        ({}, {}, "the data have no feature columns"),
        (
            {"a": np.ones(3), "b": np.zeros(3)},
            {},
            "all feature columns are constant (a, b): nothing to learn",
        ),
        (
            {"a": np.array([1.0, np.nan, np.nan])},
            {},
            "column 'a' has missing values in 2 rows (first: row 2); fill them, or set missing to "
            "impute",
        ),
        (
            {"a": np.array(["x", None], dtype=object)},
            {},
            "column 'a' has missing values in 1 row (first: row 2); fill them, or set missing to "
            "impute",
        ),
        (
            {"a": np.array([1.0, np.inf])},
            {"missing": "impute"},
            "column 'a' has infinite values in 1 row (first: row 2); correct or remove them",
        ),
        (
            {"a": np.array([1.0, "x", "y"], dtype=object)},
            {"categorical": []},
            "column 'a' should be numeric, but row 2 holds 'x'; correct it, or declare the column "
            "categorical",
        ),
        ({"a": np.arange(2)}, {"categorical": ["b"]}, "categorical columns not in the data: b "
         "(columns: a)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "duplicate column names: a; rename or "
         "remove one of each"),
        (
            {"a": np.array([1.0, 10**400], dtype=object)},
            {},
            "column 'a' has a number beyond ±1.8e308 in row 2: correct it",
        ),
        ({"a": np.arange(2), "b": np.arange(3)}, {}, "columns have different lengths: [2, 3]"),
        (np.zeros(3), {}, "expected a table with named columns or a 2-D array, got 1-D"),
        ({"a": np.arange(2)}, {"missing": "guess"}, "missing must be one of refuse, impute "
         "(got 'guess')"),
        ({"a": np.arange(2)}, {"clip": 0.0}, "clip must be a positive number (got 0.0)"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(table: Any, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as error:
        FeatureLayout.from_table(table, **options)
    assert message(error) == expected


def test_transform_refuses_what_it_was_not_fitted_for() -> None:
    prepared = fit(mixed())
    cases: list[tuple[Any, str]] = [
        (
            {"age": np.ones(1)},
            "columns missing from the data: site, size (present: age)",
        ),
        (np.zeros((2, 3)), "the array has 3 columns, but 4 are expected"),
        (
            mixed() | {"age": np.array([1.0, 2.0, np.nan, 4.0])},
            "column 'age' has missing values in 1 row (first: row 3); fill them, or set missing to "
            "impute",
        ),
    ]
    for table, expected in cases:
        with pytest.raises(InputError) as error:
            prepared.transform(table)
        assert message(error) == expected


def test_values_whose_squares_overflow_are_refused() -> None:
    with pytest.raises(InputError, match="too large to standardize"):
        fit({"a": np.array([1e200, -1e200, 0.0, 1.0])})


def test_size_counts_numbers_and_category_names() -> None:
    # 5 features with mean and scale; a, b, c; no, yes.
    assert fit(mixed()).size_in_bytes == 8 * 10 + 3 + 5
    assert fit(mixed(), clip=2.0).size_in_bytes == 8 * 11 + 3 + 5
    assert fit(mixed(), scaling="none").size_in_bytes == 3 + 5
    assert fit(with_gaps(), missing="impute").size_in_bytes == 8 * (6 + 2) + 2 + 5


def test_the_digest_follows_what_matters() -> None:
    digest = FeatureLayout.from_table(mixed()).digest
    assert FeatureLayout.from_table(mixed()).digest == digest
    others = [{"bias": False}, {"scaling": "none"}, {"clip": 2.0}, {"constant_columns": "keep"}]
    digests = {FeatureLayout.from_table(mixed(), **options).digest for options in others}
    assert len(digests | {digest}) == 5


@pytest.mark.parametrize("bias", [2, 32, np.int64(1024)])
@pytest.mark.parametrize("scaling", ["standardize", "thermometer"])
def test_the_constant_column_holds_any_whole_number(bias: int, scaling: str) -> None:
    one, prepared = (fit(mixed(), scaling=scaling, bias=value) for value in (True, bias))
    X = prepared.transform(mixed())
    assert (X[:, -1] == bias).all()
    assert X[:, :-1].tobytes() == one.transform(mixed())[:, :-1].tobytes()
    assert Preprocessing.from_json(prepared.to_json()) == prepared
    assert prepared.bytes_of_numbers == one.bytes_of_numbers
    assert prepared.layout.digest != one.layout.digest


@pytest.mark.parametrize(("same", "plain"), [(1, True), (0, False), (np.True_, True)])
def test_a_constant_of_one_or_none_is_written_as_before(same: int, plain: bool) -> None:
    assert fit(mixed(), bias=same).to_json() == fit(mixed(), bias=plain).to_json()


@pytest.mark.parametrize("bias", [-1, 1025, 2.5, "32", None, float("nan")])
def test_another_constant_is_refused(bias: Any) -> None:
    with pytest.raises(InputError, match="bias must be true, false or a whole number up to 1024"):
        fit(mixed(), bias=bias)


@pytest.mark.parametrize("bias", [-1, 0, 1, 1025, 2.5, 2.0, "32", None, float("nan")])
def test_a_record_with_another_constant_is_refused(bias: Any) -> None:
    record = json.loads(fit(mixed()).to_json())
    record["layout"]["bias"] = bias
    with pytest.raises(InputError, match="bias"):
        Preprocessing.from_json(json.dumps(record))


numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
matrices = st.integers(2, 20).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=numbers).filter(
        lambda X: bool((np.ptp(X, axis=0) > 1e-3).any())
    )
)


@settings(deadline=None)
@given(matrices)
def test_training_features_have_mean_0_and_variance_1(X: np.ndarray) -> None:
    layout = FeatureLayout.from_table(X, bias=False)
    prepared = layout.fit(X, np.zeros(len(X)))
    Z = prepared.transform(X)
    assert np.abs(Z.mean(axis=0)).max() < 1e-9
    kept = [j for j, column in enumerate(layout.columns) if not column.dropped]
    # Where values differ by their last digits, rounding keeps the variance from being 1.
    clear = np.ptp(X[:, kept], axis=0) > 1e-7 * np.abs(X[:, kept]).max(axis=0)
    assert np.abs(Z[:, clear].var(axis=0) - 1).max(initial=0) < 1e-6


columns = st.fixed_dictionaries(
    {
        "number": st.lists(st.none() | st.floats(-1e100, 1e100), min_size=6, max_size=6),
        "text": st.lists(st.none() | st.text(max_size=3), min_size=6, max_size=6),
        "other": st.permutations([0.1, 0.2, 0.3, 1 / 3, 5e-324, 1e17]),
    }
)


@settings(deadline=None)
@given(
    columns=columns,
    clip=st.none() | st.floats(1e-3, 1e3),
    classes=st.none()
    | st.lists(st.integers(-9, 9), min_size=2, max_size=3, unique=True)
    | st.lists(st.text(), min_size=2, max_size=3, unique=True),
    scaling=st.sampled_from(["standardize", "none"]),
)
def test_json_gives_back_the_same_bits(
    columns: dict[str, Any], clip: float | None, classes: list[Any] | None, scaling: Any
) -> None:
    table = {
        "number": np.array(columns["number"], dtype=float),
        "text": np.array([*columns["text"], ""], dtype=object)[:6],
        "other": np.array(columns["other"]),
    }
    target = np.arange(6.0) if classes is None else np.array(classes * 3, dtype=object)[:6]
    layout = FeatureLayout.from_table(
        table, categorical=["text"], missing="impute", clip=clip, scaling=scaling
    )
    prepared = layout.fit(table, target, classes)
    again = Preprocessing.from_json(prepared.to_json())
    assert again == prepared
    assert again.transform(table).tobytes() == prepared.transform(table).tobytes()
    scores = np.array([-1.5, 0.0, 0.1])
    if prepared.target.shape:
        scores = np.array([scores, scores[::-1]])
    assert again.decode(scores).tobytes() == prepared.decode(scores).tobytes()
    assert again.to_json() == prepared.to_json()


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2025-01-01", None, "2025-01-03", "2025-01-04"]),
        pd.to_timedelta([1, 2, 3, 4], unit="D"),
        [datetime.date(2025, 1, day) for day in (1, 2, 3, 4)],
    ],
)
def test_dates_are_no_categories(values: Any) -> None:
    table = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "when": values})
    with pytest.raises(InputError, match=r"column 'when' holds dates or times: make numbers"):
        FeatureLayout.from_table(table, missing="impute")


@pytest.mark.parametrize("kind", ["M8[D]", "M8[ns]", "m8[ns]"])
def test_dates_of_numpy_are_neither_categories_nor_numbers(kind: str) -> None:
    values = np.arange(4).astype(kind)
    objects = np.empty(4, dtype=object)
    objects[:] = list(values)
    layout = FeatureLayout.from_table({"when": np.arange(4.0)})
    for when in (values, objects):
        with pytest.raises(InputError, match=r"column 'when' holds dates or times: make numbers"):
            FeatureLayout.from_table({"when": when})
        with pytest.raises(InputError, match=r"column 'when' holds dates or times: make numbers"):
            layout.read({"when": when})


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c"), None])
@pytest.mark.parametrize("counted", [False, True])
def test_weighted_features_are_standardized_ones_times_roots_of_correlations(
    classes: tuple[str, ...] | None, counted: bool
) -> None:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 5)) * [1.0, 1e3, 1e-3, 1.0, 1.0]
    X[:, 4] = 2.0
    code = np.digitize(X[:, 0] + 0.5 * rng.standard_normal(60), [-0.5, 0.5])
    target = X[:, 0] + 0.2 * X[:, 3]
    if classes is not None:
        target = np.array(classes, dtype=object)[code % len(classes)]
    weights = rng.integers(1, 4, 60).astype(float) if counted else None
    options: dict[str, Any] = {"constant_columns": "keep"}
    plain, weighted = (
        FeatureLayout.from_table(X, scaling=scaling, **options).fit(
            X, target, classes, None, weights
        )
        for scaling in ("standardize", "weighted")
    )
    Z, W = plain.transform(X), weighted.transform(X)
    coded = plain.encode_target(target).reshape(60, -1)
    rows = np.repeat(np.arange(60), 1 if weights is None else weights.astype(int))
    each = np.corrcoef(Z[rows, :4].T, coded[rows].T)[:4, 4:]
    roots = np.sqrt(np.maximum([*np.abs(each).max(axis=1), 0.0], 0.02))
    expected = roots / np.sqrt(np.mean(roots**2))
    np.testing.assert_allclose(W[:, :5], Z[:, :5] * expected, atol=1e-12)
    np.testing.assert_array_equal(W[:, 5], 1.0)
    assert weighted.means == plain.means
    assert weighted.size_in_bytes == plain.size_in_bytes


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e140])
def test_weights_of_extreme_columns_leave_finite_features(scale: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(1, 9, (30, 3)) * np.array([scale, 1.0, 1.0])
    labels = np.where(X[:, 1] > 4, "up", "down")
    X[:, 2] = 7.0 * (X[:, 1] > 4)
    fitted = FeatureLayout.from_table(X, scaling="weighted").fit(X, labels, ["down", "up"])
    assert min(fitted.scales) > 0.0
    assert np.isfinite(fitted.transform(X)).all()
    assert Preprocessing.from_json(fitted.to_json()) == fitted


def test_nothing_to_correlate_with_leaves_equal_weights() -> None:
    X = np.arange(12.0).reshape(6, 2)
    fitted = FeatureLayout.from_table(X, scaling="weighted").fit(X, np.ones(6))
    plain = FeatureLayout.from_table(X).fit(X, np.ones(6))
    np.testing.assert_allclose(fitted.scales, plain.scales)


BOOLEANS = [True, False, True, True, False, False]


@pytest.mark.parametrize("spelling", ["true false", "True False", "TRUE FALSE", "1 0"])
@pytest.mark.parametrize("kind", ["numpy", "object", "gaps", "pandas", "polars", "pyarrow"])
def test_a_column_of_words_for_true_and_false_takes_the_booleans_that_readers_make_of_it(
    spelling: str, kind: str
) -> None:
    import polars as pl
    import pyarrow as pa

    yes, no = spelling.split()
    words = np.array([yes if value else no for value in BOOLEANS], dtype=object)
    layout = FeatureLayout.from_table({"flag": words}, categorical=["flag"], missing="impute")
    fitted = layout.fit({"flag": words}, np.array([0, 1, 0, 1, 0, 1]), (0, 1))
    table: Any = {
        "numpy": {"flag": np.array(BOOLEANS)},
        "object": {"flag": np.array(BOOLEANS, dtype=object)},
        "gaps": {"flag": np.array([*BOOLEANS, None], dtype=object)},
        "pandas": pd.DataFrame({"flag": BOOLEANS}),
        "polars": pl.DataFrame({"flag": BOOLEANS}),
        "pyarrow": pa.table({"flag": BOOLEANS}),
    }[kind]
    assert layout.unseen(table) == {}
    assert np.array_equal(fitted.transform(table)[:6], fitted.transform({"flag": words}))
