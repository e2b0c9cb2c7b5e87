"""Metrics against scikit-learn's, intervals against what they promise."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn import metrics as reference

from pipeline.results.measures import HeldOutMeasures, PartMeasures
from pipeline.results.metrics import Scored, metrics
from pipeline.results.metrics.classes import reliability
from pipeline.results.metrics.intervals import mean_of_independent, rank_share, wilson
from pipeline.results.record import RESULTS_SCHEMA
from pipeline.results.schema import part_of
from qnn.training.sigmoid import Sigmoids


def labelled(
    seed: int, classes: int, rows: int = 60
) -> tuple[np.ndarray, np.ndarray, Scored, np.ndarray]:
    """Targets, predictions, what is scored, and probabilities, of skewed classes."""
    rng = np.random.default_rng(seed)
    codes = np.minimum(rng.geometric(0.5, rows) - 1, classes - 1)
    codes[:classes] = np.arange(classes)
    scores = np.round(rng.standard_normal((rows, classes)) + 1.5 * np.eye(classes)[codes], 1)
    given = np.round(scores[:, 1] - scores[:, 0], 1) if classes == 2 else scores
    said = (given > 0).astype(int) if classes == 2 else scores.argmax(axis=1)
    calibration = Sigmoids.fit(given, codes, classes)
    scored = Scored(classes, given, calibration)
    return codes, said, scored, calibration.probabilities(given)


@pytest.mark.parametrize(("seed", "classes"), list(itertools.product(range(4), (2, 3, 5))))
def test_class_metrics_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    target, predicted, scored, probabilities = labelled(seed, classes)
    found = metrics("test", predicted, target, scored)
    average: Any = {"average": "macro", "zero_division": 0}
    if classes == 2:
        average = {"pos_label": 1, "zero_division": 0}
    assert scored.scores is not None
    wanted = [1] if classes == 2 else range(classes)
    columns = [scored.scores] if classes == 2 else scored.scores.T
    areas = [
        reference.roc_auc_score(target == k, column)
        for k, column in zip(wanted, columns, strict=True)
    ]
    expected = {
        "accuracy": reference.accuracy_score(target, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(target, predicted),
        "precision": reference.precision_score(target, predicted, **average),
        "recall": reference.recall_score(target, predicted, **average),
        "f1": reference.f1_score(target, predicted, **average),
        "roc_auc": np.mean(areas),
        "log_loss": reference.log_loss(target, probabilities, labels=range(classes)),
        "brier": _brier(probabilities, target, range(classes)),
        "majority_share": np.unique(target, return_counts=True)[1].max() / len(target),
        "rows": len(target),
    }
    for name, value in expected.items():
        assert found[f"test_{name}"] == pytest.approx(value, abs=1e-12), name
    table = reference.confusion_matrix(target, predicted, labels=range(classes))
    assert found["test_confusion"] == tuple(table.ravel())
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "brier"):
        low, high = found[f"test_{name}_low"], found[f"test_{name}_high"]
        assert 0.0 <= low <= found[f"test_{name}"] <= high <= 1.0, name
        assert low < high, name


def _brier(probabilities: np.ndarray, target: np.ndarray, classes: Any) -> float:
    """By scikit-learn, class by class."""
    each = [
        reference.brier_score_loss(target == label, probabilities[:, k])
        for k, label in enumerate(classes)
    ]
    return float(each[1] if len(each) == 2 else sum(each))


@pytest.mark.parametrize("seed", range(4))
def test_reliability_counts_the_rows_of_each_tenth(seed: int) -> None:
    target, predicted, scored, probabilities = labelled(seed, 2)
    counts = np.reshape(metrics("test", predicted, target, scored)["test_reliability"], (10, 2))
    positive = target == 1
    edges = np.linspace(0.0, 1.0, 11)
    rows = np.histogram(probabilities[:, 1], edges)[0]
    assert counts[:, 0].tolist() == rows.tolist()
    assert counts[:, 1].tolist() == np.histogram(probabilities[positive, 1], edges)[0].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_reliability_of_more_classes_is_of_the_predicted_one(seed: int) -> None:
    target, predicted, scored, probabilities = labelled(seed, 4)
    counts = np.reshape(metrics("test", predicted, target, scored)["test_reliability"], (10, 2))
    top, edges = probabilities[np.arange(len(target)), predicted], np.linspace(0.0, 1.0, 11)
    assert counts[:, 0].tolist() == np.histogram(top, edges)[0].tolist()
    right = predicted == target
    assert counts[:, 1].tolist() == np.histogram(top[right], edges)[0].tolist()
    assert 0 < right.sum() < len(target)


def test_reliability_has_ends_and_an_edge() -> None:
    found = reliability(np.array([0.0, 0.5 - 1e-13, 0.5, 1.0]), np.array([False, True, True, True]))
    assert np.reshape(found, (10, 2))[[0, 5, 9]].tolist() == [[1, 0], [2, 2], [1, 1]]


@pytest.mark.parametrize("targets", [1, 3])
def test_number_metrics_are_those_of_scikit_learn(targets: int) -> None:
    rng = np.random.default_rng(targets)
    target = rng.standard_normal((50, targets)) * [10.0**k for k in range(targets)]
    predicted = target + rng.standard_normal((50, targets))
    scale = target.std(axis=0)
    if targets == 1:
        found = metrics("validation", predicted[:, 0], target[:, 0])
        assert found["validation_mae"] == pytest.approx(
            reference.mean_absolute_error(target, predicted)
        )
        assert found["validation_rmse"] == pytest.approx(
            reference.root_mean_squared_error(target, predicted)
        )
    else:
        found = metrics("validation", predicted, target, None, scale)
        assert found["validation_mae"] == pytest.approx(
            reference.mean_absolute_error(target / scale, predicted / scale)
        )
        squares = np.mean(((target - predicted) / scale) ** 2)
        assert found["validation_rmse"] == pytest.approx(np.sqrt(squares))
    assert found["validation_r2"] == pytest.approx(reference.r2_score(target, predicted))
    for name in ("rmse", "mae", "r2"):
        low, high = found[f"validation_{name}_low"], found[f"validation_{name}_high"]
        assert low < found[f"validation_{name}"] < high


def test_of_the_rows_that_were_fitted_to_no_interval_is_told() -> None:
    target, predicted, scored, _ = labelled(0, 2)
    assert not any(name.endswith("_low") for name in metrics("train", predicted, target, scored))
    assert metrics("test", predicted[:0], target[:0], scored) == {}


def test_every_metric_has_a_typed_column() -> None:
    for classes in (2, 3):
        target, predicted, scored, _ = labelled(1, classes)
        for part in ("train", "validation", "test"):
            assert set(metrics(part, predicted, target, scored)) <= set(RESULTS_SCHEMA.names)
    assert set(metrics("test", np.ones(3), np.arange(3.0))) <= set(RESULTS_SCHEMA.names)
    assert str(RESULTS_SCHEMA.field("test_confusion").type) == "list<item: int64>"
    assert str(RESULTS_SCHEMA.field("validation_roc_auc_low").type) == "double"


def test_what_a_part_without_a_class_cannot_tell_is_not_told() -> None:
    target = np.zeros(9, dtype=np.int64)
    scored = Scored(2, np.arange(9.0) - 8.5)
    found = metrics("test", target, target, scored)
    assert found["test_accuracy"] == found["test_majority_share"] == 1.0
    assert [found[f"test_{name}"] for name in ("precision", "recall", "f1", "roc_auc")] == [
        None
    ] * 4
    measures = part_of(HeldOutMeasures, found, "test_")
    assert measures.is_constant
    assert measures.lacks_a_class
    assert not PartMeasures().is_constant
    mixed = np.array([0, 1])
    other = part_of(PartMeasures, metrics("train", mixed, mixed, Scored(2)), "train_")
    assert not other.is_constant
    assert not other.lacks_a_class


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_platts(classes: int) -> None:
    target, _, scored, probabilities = labelled(2, classes, rows=200)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert scored.calibration is not None
    assert scored.scores is not None
    columns = scored.scores[:, None] if classes == 2 else scored.scores
    for k, (slope, offset) in enumerate(
        zip(scored.calibration.slope, scored.calibration.offset, strict=True)
    ):
        own = target == (1 if classes == 2 else k)
        wanted = np.where(own, (own.sum() + 1) / (own.sum() + 2), 1 / ((~own).sum() + 2))

        def loss(at: np.ndarray, f: np.ndarray = columns[:, k], t: np.ndarray = wanted) -> float:
            value = at[0] * f + at[1]
            return float(np.sum(np.logaddexp(0.0, value) - t * value))

        found = minimize(loss, [0.0, 0.0], tol=1e-14)
        assert loss(np.array([slope, offset])) <= found.fun + 1e-9
        np.testing.assert_allclose([slope, offset], found.x, atol=1e-3)


@pytest.mark.parametrize("scores", [np.ones(6), np.array([-3.0, -2, -1, 1, 2, 3]),
                                    np.array([1e-300, 0, 1, 1e300, 2, 5])])  # fmt: skip
def test_probabilities_of_constant_separated_and_extreme_scores_are_finite(scores) -> None:
    codes = np.array([0, 0, 0, 1, 1, 1])
    found = Sigmoids.fit(scores, codes, 2).probabilities(scores)
    assert np.isfinite(found).all()
    assert (found >= 0.0).all()


def test_wilsons_interval_is_as_tables_have_it() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for (hits, rows), ends in {
        (81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():  # fmt: skip
        assert wilson(hits, rows) == pytest.approx(ends, abs=5e-5)


def test_intervals_hold_what_they_promise() -> None:
    rng = np.random.default_rng(0)
    inside = {"balanced": 0, "area": 0}
    rounds = 400
    for _ in range(rounds):
        hits = [int(rng.binomial(12, 0.9)), int(rng.binomial(40, 0.7))]
        shares = [hits[0] / 12, hits[1] / 40]
        low, high = mean_of_independent(shares, [wilson(hits[0], 12), wilson(hits[1], 40)])
        inside["balanced"] += low <= 0.8 <= high
        positive, negative = rng.standard_normal(15) + 1.0, rng.standard_normal(40)
        area = float(np.mean(positive[:, None] > negative))
        low, high = rank_share(area, 15, 40)
        # P(x + 1 > y) of two standard normal numbers.
        inside["area"] += low <= 0.7602499389 <= high
    assert all(count >= 0.92 * rounds for count in inside.values()), inside
    assert rank_share(1.0, 5, 9)[0] < 0.95
    assert rank_share(1.0, 5, 9)[1] == 1.0
