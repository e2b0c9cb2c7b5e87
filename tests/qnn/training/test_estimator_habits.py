"""The estimators as people use them: data frames, weights, probabilities, ensembles."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score

from qnn.certificates.checker import verify
from qnn.errors import InputError
from qnn.training import estimator_base, outputs
from qnn.training.calibration import check_calibration, held_out_folds
from qnn.training.estimators import QuantizedClassifier, QuantizedRegressor
from qnn.training.fit import train


def named(**options: object) -> QuantizedClassifier:
    """One that chooses nothing."""
    return QuantizedClassifier(**{"scaling": "standardize", **options})


def rows(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, np.where(X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=n) > 0, "yes", "no")


def frame(n: int = 60) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "count": pd.array(rng.integers(0, 5, n), dtype="Int64"),
            "shop": pd.Categorical(rng.choice(["x", "y", "z"], n)),
            "open": rng.random(n) > 0.5,
            "town": rng.choice(["Genève", "Zürich"], n),
        }
    )
    table.loc[3, "count"] = pd.NA
    return table, np.where((table["size"] > 0) & (table["shop"] != "x"), "p", "q")


def test_frames_of_pandas_pyarrow_and_polars_are_one_table():
    table, y = frame()
    model = named(missing="impute", random_state=0).fit(table, y)
    assert [c.categories is None for c in model.network_.preprocessing.layout.columns] == [
        True, True, False, True, False,
    ]  # fmt: skip
    assert list(model.feature_names_in_) == list(table.columns)
    assert model.score(table, y) > 0.9
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    said = list(model.predict(table))
    for other in (arrow, arrow.to_batches()[0], pl.from_arrow(arrow), {k: table[k] for k in table}):
        assert list(model.network_.predict(other)) == said
    assert list(model.predict(arrow)) == list(model.predict(pl.from_arrow(arrow))) == said
    again = named(missing="impute", random_state=0).fit(arrow, y)
    assert again.network_.to_bytes() == model.network_.to_bytes()


def test_targets_and_weights_of_pyarrow_are_taken():
    table, y = frame()
    model = named(random_state=0, calibration=None, missing="impute").fit(table, y)
    again = named(random_state=0, calibration=None, missing="impute")
    assert again.fit(table, pa.array(y)).network_.to_bytes() == model.network_.to_bytes()
    numbers = {"u": table["size"].to_numpy(), "v": np.arange(60.0)}
    of_numpy = QuantizedRegressor(random_state=0, scaling="standardize", missing="impute")
    of_arrow = QuantizedRegressor(random_state=0, scaling="standardize", missing="impute")
    of_numpy.fit(table, np.column_stack(list(numbers.values())), np.ones(60))
    of_arrow.fit(table, pa.table(numbers), pa.array(np.ones(60)))
    assert np.array_equal(of_arrow.predict(table), of_numpy.predict(table))


def test_a_lazy_frame_is_asked_to_be_collected():
    with pytest.raises(InputError, match=r"a lazy frame has no rows yet: .*collect\(\)"):
        named().fit(pl.LazyFrame({"size": [1.0, 2.0]}), ["a", "b"])


def test_decimals_are_numbers():
    table, y = frame()
    exact = [Decimal(f"{value:.3f}") for value in table["size"]]
    exact[5] = None
    model = named(missing="impute", random_state=0).fit(pd.DataFrame({"size": exact}), y)
    (column,) = model.network_.preprocessing.layout.columns
    assert column.categories is None
    plain = [None if value is None else float(value) for value in exact]
    arrow = pa.table({"size": pa.array(exact, pa.decimal128(10, 3))})
    said = list(model.network_.predict({"size": plain}))
    for other in ({"size": exact}, arrow, pl.from_arrow(arrow)):
        assert list(model.network_.predict(other)) == said


def test_categorical_columns_by_name_or_position_and_missing_values():
    table, y = frame()
    numbers = np.column_stack([table["size"], table["count"].fillna(0).astype(int)])
    for column, where in (("x1", numbers), (1, numbers)):
        model = named(categorical=[column], calibration=None).fit(where, y)
        second = model.network_.preprocessing.layout.columns[1]
        assert second.categories == ("0", "1", "2", "3", "4")
    frame_model = named(categorical=["count"], missing="impute", calibration=None)
    frame_model.fit(table[["size", "count"]], y)
    assert frame_model.network_.preprocessing.layout.columns[1].categories is not None
    gaps = numbers.astype(float)
    gaps[0, 0] = np.nan
    model = named(missing="impute", calibration=None, random_state=0).fit(gaps, y)
    assert model.score(gaps, y) > 0.7
    with pytest.raises(ValueError, match="NaN"):
        named().fit(gaps, y)
    with pytest.raises(InputError, match="categorical columns not in the data: shoe"):
        named(categorical=["shoe"]).fit(table, y)
    with pytest.raises(InputError, match="column 'count' has missing values in 1 row"):
        named().fit(table, y)


@pytest.mark.parametrize("scaling", ["standardize", "thermometer", "quantile"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_integer_sample_weights_are_repeated_rows(scaling, loss):
    X, y = rows()
    counts = np.random.default_rng(2).integers(0, 4, len(y))
    often = np.repeat(np.arange(len(y)), counts)
    options = {"scaling": scaling, "loss": loss, "random_state": 0}
    weighted = named(**options).fit(X, y, sample_weight=counts)
    repeated = named(**options).fit(X[often], y[often])
    np.testing.assert_allclose(
        weighted.decision_function(X), repeated.decision_function(X), atol=1e-7
    )
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)
    assert weighted.upper_bound_ == pytest.approx(repeated.upper_bound_)
    kept = counts > 0
    matrix = weighted.network_.preprocessing.transform(X[kept])
    coded = np.where(y[kept] == "yes", 1.0, -1.0)
    np.testing.assert_array_equal(weighted.certificate_.weights, counts[kept])
    assert verify(weighted.certificate_, matrix, coded) >= weighted.lower_bound_


def test_balanced_classes_find_the_rare_one():
    """Two clouds, 1 in 30 positive: unweighted training says no to all, which is 97 % right."""
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(290, 2)), rng.normal(size=(10, 2)) + 1.6])
    y = np.repeat(["often", "rare"], [290, 10])
    options = {"beta_fraction": 0.3, "random_state": 0, "calibration": None}
    plain = named(**options).fit(X, y)
    balanced = named(class_weight="balanced", **options).fit(X, y)
    by_hand = named(class_weight={"rare": 29.0}, **options).fit(X, y)
    recall = {
        name: float(np.mean(model.predict(X)[290:] == "rare"))
        for name, model in {"plain": plain, "balanced": balanced, "by hand": by_hand}.items()
    }
    assert recall["plain"] < 0.2
    assert min(recall["balanced"], recall["by hand"]) > 0.7
    weights = balanced.certificate_.weights
    assert weights[:290].sum() == pytest.approx(weights[290:].sum())
    assert balanced.lower_bound_ <= balanced.upper_bound_


def test_a_regressor_takes_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    y = np.where(np.arange(50) < 25, 2.0 * X[:, 0], -2.0 * X[:, 0])
    first = QuantizedRegressor(random_state=0)
    first.fit(X, y, sample_weight=np.where(np.arange(50) < 25, 1.0, 1e-3))
    assert first.score(X[:25], y[:25]) > 0.9
    with pytest.raises(ValueError, match="at least one non-zero number"):
        first.fit(X, y, sample_weight=np.zeros(50))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        first.fit(X, y, sample_weight=-np.ones(50))


@pytest.mark.parametrize("method", ["temperature", "sigmoid", "isotonic"])
def test_probabilities_are_calibrated_on_rows_that_were_held_out(method):
    """Labels that nothing tells: a network that has learned them by heart is not believed."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(80, 12)), rng.integers(0, 2, 80)
    model = named(calibration=method, beta_fraction=0.01, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.85
    found = model.predict_proba(X)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert log_loss(y, found) > 0.4
    fresh, labels = rng.normal(size=(400, 12)), rng.integers(0, 2, 400)
    assert log_loss(labels, np.clip(model.predict_proba(fresh), 1e-3, None)) < 1.0


@pytest.mark.parametrize("classes", [2, 3])
def test_a_chosen_setting_is_calibrated_without_another_bound(classes, monkeypatch):
    """One proof for each output of the network, none for those of the folds."""
    trained = []

    def counted(problem, *args, **options):
        trained.append(problem.n)
        return train(problem, *args, **options)

    monkeypatch.setattr(estimator_base, "train", counted)
    monkeypatch.setattr(outputs, "train", counted)
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(60, 6)), np.arange(60) % classes
    options = {"loss": "logistic", "width": 2, "multi_class": "one_vs_one", "random_state": 0}
    model = named(beta_fraction="auto", **options).fit(X, y)
    assert trained == ([60] if classes == 2 else [40, 40, 40])
    assert model.score(X, y) > 1.2 / classes
    fresh, labels = rng.normal(size=(400, 6)), rng.integers(0, classes, 400)
    found = model.predict_proba(fresh)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert log_loss(labels, found) < 1.05 * np.log(classes)
    np.testing.assert_array_equal(model.classes_[found.argmax(axis=1)], model.predict(fresh))


@pytest.mark.parametrize(("weights", "score"), [(None, 0.9), ("balanced", 0.5), ({1: 9.0}, 0.5)])
def test_a_setting_is_chosen_by_rows_that_count_by_their_class(weights, score):
    X, y = np.random.default_rng(0).normal(size=(100, 3)), (np.arange(100) % 10 == 0).astype(int)
    chosen = {"scaling": "thermometer", "thresholds": "auto", "beta_fraction": 1.0}
    model = QuantizedClassifier(
        class_weight=weights, calibration=None, width=2, random_state=1, **chosen
    )
    assert model.fit(X, y).choice_.cells[0].score == pytest.approx(score, abs=0.1)


def test_three_classes_have_probabilities():
    rng = np.random.default_rng(3)
    y = np.repeat(["a", "b", "c"], 20)
    X = rng.normal(size=(60, 2)) + np.repeat([[0, 0], [3, 0], [0, 3]], 20, axis=0)
    model = named(random_state=0).fit(X, y)
    found = model.predict_proba(X)
    assert found.shape == (60, 3)
    assert model.score(X, y) > 0.85
    np.testing.assert_array_equal(model.classes_[found.argmax(axis=1)], model.predict(X))


def test_folds_hold_equal_rows_together_and_follow_the_classes():
    matrix = np.repeat(np.arange(12.0), 3)[:, None]
    y = (matrix[:, 0] >= 6).astype(int)
    folds = held_out_folds(matrix, y, 3)
    for value in range(12):
        assert len(set(folds[matrix[:, 0] == value])) == 1
    for label in (0, 1):
        assert np.bincount(folds[y == label]).tolist() == [6, 6, 6]
    assert held_out_folds(np.array([[0.0], [1.0], [1.0]]), np.array([0, 1, 1]), 3) is None
    with pytest.raises(InputError, match="calibration_folds must be a whole number"):
        check_calibration("temperature", 1)


def test_without_probabilities_what_is_said():
    X, y = rows()
    with pytest.raises(AttributeError):
        named(calibration=None).fit(X, y).predict_proba(X)
    few = named().fit(X[:3], ["no", "no", "yes"])
    np.testing.assert_allclose(few.predict_proba(X), np.tile([2 / 3, 1 / 3], (60, 1)))
    with pytest.raises(InputError, match=r"sigmoid, isotonic or None \(got 'platt'\)"):
        named(calibration="platt").fit(X, y)


def test_ensembles_and_scores_of_scikit_learn_work():
    X, y = rows()
    one = named(random_state=0)
    soft = VotingClassifier([("own", one), ("other", LogisticRegression())], voting="soft")
    assert soft.fit(X, y).score(X, y) > 0.7
    boosted = AdaBoostClassifier(one.set_params(calibration=None), n_estimators=3, random_state=0)
    assert boosted.fit(X, y).score(X, y) > 0.7
    outside = CalibratedClassifierCV(one, cv=2).fit(X, y)
    assert outside.predict_proba(X).shape == (60, 2)
    scores = cross_val_score(named(random_state=0), X, y, scoring="neg_log_loss", cv=2)
    assert np.isfinite(scores).all()


def test_a_mapping_is_refused_in_one_line() -> None:
    X, y = rows()
    model = named(width=4, random_state=0).fit(X, y)
    columns = {f"x{j}": X[:, j] for j in range(X.shape[1])}
    for call in (model.predict, model.decision_function, lambda given: named().fit(given, y)):
        with pytest.raises(InputError, match=r"X is a mapping; give an array .* a data frame"):
            call(columns)
