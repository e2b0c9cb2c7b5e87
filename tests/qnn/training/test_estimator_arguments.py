"""What the estimators are given: labels of any library, and one line for what cannot be."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from qnn.errors import InputError
from qnn.training import estimator_base
from qnn.training.estimators import QuantizedClassifier, QuantizedRegressor


def named(**options: Any) -> QuantizedClassifier:
    """One that chooses nothing and is done soon."""
    plain = {"scaling": "standardize", "calibration": None, "width": 2, "random_state": 0}
    if "beta" not in options:
        plain["beta_fraction"] = 0.9
    return QuantizedClassifier(**{**plain, **options})


def rows(n: int = 24, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(n, 3)), np.arange(n) % classes


def refused(model: Any, X: Any, y: Any, sample_weight: Any = None) -> str:
    """The line that fit refuses with."""
    with pytest.raises(InputError) as error:
        model.fit(X, y, sample_weight)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize("weight", [-1.0, 0, float("nan"), float("inf"), 1e-200, "2", None, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_weight_that_is_no_positive_number_is_refused(weight: Any, classes: int) -> None:
    X, y = rows(classes=classes)
    said = refused(named(class_weight={1: weight}), X, y)
    assert said.startswith("class_weight of 1 must be a number from 1e-100 to 1e+100 (got ")


@pytest.mark.parametrize("asked", ["even", [1.0, 2.0], 3.0])
def test_what_is_no_class_weight_is_refused(asked: Any) -> None:
    said = refused(named(class_weight=asked), *rows())
    assert said.startswith("class_weight must be None, 'balanced' or a dict of numbers by label")


def test_a_class_weight_of_a_label_that_there_is_not_is_refused() -> None:
    X, y = rows()
    y = np.where(y == 1, "yes", "no")
    said = refused(named(class_weight={"yse": 2.0}), X, y)
    assert said == "class_weight: 'yse' is no label of the target ('no', 'yes')"
    # Part of the rows may lack a class that is weighted.
    named(class_weight={"yes": 2.0, "no": 1.0, "maybe": 3.0}).fit(X, y)


def test_class_weights_are_found_by_labels_of_any_type() -> None:
    X, y = rows()
    expected = named(class_weight={1: 3.0}).fit(X, y).certificate_.weights
    assert np.array_equal(expected, np.where(y == 1, 3.0, 1.0))
    for labels, one in ((y.astype(str), "1"), (y == 1, True), (y.astype(float), 1)):
        model = named(class_weight={one: 3.0}).fit(X, labels)
        assert np.array_equal(model.certificate_.weights, expected)


def test_weights_whose_product_is_too_small_name_the_class() -> None:
    X, y = rows()
    weights = np.where(np.arange(24) == 5, 1e-60, 1.0)
    said = refused(named(class_weight={1: 1e-60}), X, y, weights)
    assert said == (
        "a sample weight times the class_weight of 1 is 1e-120: weights must be from 1e-100 to "
        "1e+100"
    )


def test_balanced_classes_count_rows_by_their_weights() -> None:
    """As repeated rows do, and as scikit-learn's LogisticRegression."""
    X, y = rows()
    y[:6] = 0
    counts = np.random.default_rng(1).integers(0, 4, len(y))
    often = np.repeat(np.arange(len(y)), counts)
    weighted = named(class_weight="balanced").fit(X, y, counts)
    repeated = named(class_weight="balanced").fit(X[often], y[often])
    assert weighted.beta_ == pytest.approx(repeated.beta_)
    kept = counts > 0
    found = weighted.certificate_.weights
    each = np.repeat(found / counts[kept], counts[kept])
    np.testing.assert_allclose(each, repeated.certificate_.weights)
    assert found[y[kept] == 0].sum() == pytest.approx(found[y[kept] == 1].sum())


def test_the_row_of_a_wrong_sample_weight_is_that_of_the_data() -> None:
    X, y = rows()
    weights = np.ones(24)
    weights[:3], weights[5] = 0.0, 1e-200
    for model in (named(), QuantizedRegressor()):
        said = refused(model, X, y, weights)
        assert said == (
            "sample_weight is 1e-200 in row 6: weights must be 0, or from 1e-100 to 1e+100"
        )


def test_the_certificate_of_an_earlier_fit_goes() -> None:
    X, y = rows(classes=2)
    model = named().fit(X, y)
    assert model.certificate_ is model.certificates_[0]
    assert not hasattr(model.fit(X, np.arange(24) % 3), "certificate_")
    assert model.fit(X, y).certificate_ is model.certificates_[0]


@pytest.mark.parametrize("fraction", [0.9, "auto"])
@pytest.mark.parametrize("of", [named, QuantizedRegressor])
def test_beta_and_its_fraction_are_not_both_taken(of: Any, fraction: Any) -> None:
    said = refused(of(beta=2.0, beta_fraction=fraction), *rows())
    assert said == f"beta is 2.0 and beta_fraction {fraction!r}: give one of them"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"calibration": "platt"}, "calibration must be temperature, sigmoid, isotonic or None"),
        ({"calibration": ["sigmoid"]}, "calibration must be temperature"),
        (
            {"calibration": "sigmoid", "calibration_folds": 1},
            "calibration_folds must be a whole number of at least 2 (got 1)",
        ),
        ({"second_layer": "foo"}, "second_layer 'foo' is not known"),
        ({"second_layer": [3]}, "second_layer [3] is not known"),
        ({"alphabet": "foo"}, "alphabet"),
        ({"activation": "foo"}, "activation"),
        ({"tol": 0.0}, "tol must be positive"),
        ({"thresholds": "many"}, "thresholds must be a whole number from 1 to 255 (got 'many')"),
        ({"thresholds": [3]}, "thresholds must be a whole number from 1 to 255 (got [3])"),
        ({"thresholds": 3.7}, "thresholds must be a whole number from 1 to 255 (got 3.7)"),
        ({"clip": "a"}, "clip must be a positive number (got 'a')"),
        ({"categorical": [7]}, "categorical: there is no column 7, positions are 0 to 2"),
        ({"categorical": [-4]}, "categorical: there is no column -4, positions are 0 to 2"),
        ({"categorical": [True, False, False]}, "categorical must be names or positions of colum"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_before_anything_is_trained(
    options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*args: Any, **others: Any) -> None:
        raise AssertionError("nothing is to be trained")

    for name in ("choose", "train", "train_outputs"):
        if name != "choose" or not {"thresholds", "clip", "categorical"} & set(options):
            monkeypatch.setattr(estimator_base, name, nothing)
    assert said in refused(named(**options), *rows())


def test_categorical_columns_are_named_by_positions_of_numpy() -> None:
    X, y = rows()
    X[:, 1] = np.arange(24) % 3
    for position in (np.array([1]), [np.int64(-2)]):
        columns = named(categorical=position).fit(X, y).network_.preprocessing.layout.columns
        assert [column.categories is None for column in columns] == [True, False, True]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([3, 5] * 12, dtype=object), [3, 5]),
        (np.array([3.0, 5] * 12, dtype=object), [3.0, 5.0]),
        (np.array([False, True] * 12, dtype=object), [False, True]),
        (pd.Series([3, 5] * 12, dtype="Int64"), [3, 5]),
        (pd.Series([False, True] * 12, dtype="boolean"), [False, True]),
        (pd.Series([3, 5] * 12, dtype=object), [3, 5]),
        (pd.Series(["a", "b"] * 12, dtype="string"), ["a", "b"]),
        (pd.Series(["a", "b"] * 12, dtype="category"), ["a", "b"]),
        (["a", "b"] * 12, ["a", "b"]),
        (pa.array([3, 5] * 12), [3, 5]),
        (pl.Series(["a", "b"] * 12), ["a", "b"]),
    ],
)
def test_labels_of_any_library_are_classes(labels: Any, expected: list[Any]) -> None:
    X, _ = rows()
    model = named().fit(X, labels)
    assert model.classes_.tolist() == expected
    assert model.classes_.dtype.kind == np.array(expected).dtype.kind or expected == ["a", "b"]
    assert set(model.predict(X).tolist()) <= set(expected)


@pytest.mark.parametrize("absent", [None, np.nan, pd.NA])
def test_missing_labels_are_refused_with_their_row(absent: Any) -> None:
    X, _ = rows()
    text, numbers = ["a", "b"] * 12, [1, 2] * 12
    text[2] = text[7] = numbers[2] = numbers[7] = absent
    said = "y has missing values (NaN or None) in 2 rows (first: row 3): leave these rows out"
    given = [text, np.array(text, dtype=object), pd.Series(text, dtype="string"), numbers]
    given += [pd.Series(numbers, dtype="Int64"), np.array(numbers, dtype=object)]
    if absent is not pd.NA:
        given += [pa.array(text, from_pandas=True), pl.Series(pa.array(text, from_pandas=True))]
    for y in given:
        assert refused(named(), X, y) == said
    if absent is not np.nan:
        for y in (numbers, pd.Series(numbers, dtype="Int64"), np.array(numbers, dtype=object)):
            assert refused(QuantizedRegressor(), X, y) == said


@pytest.mark.parametrize(
    ("first", "other", "said"),
    [
        ("a", 1, "y holds text ('a') in row 1, but a number (1) in row 4"),
        (1, "a", "y holds a number (1) in row 1, but text ('a') in row 4"),
        (True, 2, "y holds a boolean (True) in row 1, but a number (2) in row 4"),
    ],
)
def test_labels_of_several_kinds_are_refused(first: Any, other: Any, said: str) -> None:
    X, _ = rows()
    labels = [first, first, first, other] * 6
    objects = np.empty(24, dtype=object)
    objects[:] = labels
    given = [objects, pd.Series(labels, dtype=object)]
    for y in given if first is True else [labels, *given]:
        assert refused(named(), X, y) == f"{said}: make all labels text, or all numbers"


def test_numbers_that_no_float_holds_are_refused() -> None:
    X, y = rows()
    giant = X.astype(object)
    giant[4, 1] = 10**400
    said = "has a number beyond ±1.8e308"
    assert refused(named(), giant, y) == f"X {said}: correct it"
    frame = pd.DataFrame(giant, columns=list("abc"))
    assert refused(named(), frame, y) == f"column 'b' {said} in row 5: correct it"
    assert refused(QuantizedRegressor(), X, [1, 10**400] * 12) == f"y {said}: correct it"


def test_dates_are_no_matrix() -> None:
    days = np.arange(24).astype("M8[D]")[:, None]
    assert refused(named(), days, rows()[1]).startswith("X holds dates or times")
