"""Platt's sigmoid with weights of rows; without them it is tested with the metrics."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV

from qnn.training.calibration import _Scores, calibrated
from qnn.training.sigmoid import Sigmoids


def scored(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, the classes' numbers, and whole weights of 90 rows."""
    rng = np.random.default_rng(classes)
    codes = np.tile(np.arange(classes), 90)[:90]
    scores = rng.standard_normal((90, classes)) + 1.2 * np.eye(classes)[codes]
    given = scores[:, 1] - scores[:, 0] if classes == 2 else scores
    return given, codes, rng.integers(1, 5, 90).astype(float)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_row_of_weight_two_counts_as_two_rows(classes: int) -> None:
    scores, codes, weights = scored(classes)
    times = weights.astype(int)
    found = Sigmoids.fit(scores, codes, classes, weights)
    repeated = Sigmoids.fit(np.repeat(scores, times, axis=0), np.repeat(codes, times), classes)
    np.testing.assert_allclose(
        found.probabilities(scores), repeated.probabilities(scores), rtol=1e-7
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_those_of_scikit_learn(classes: int, weighted: bool) -> None:
    scores, codes, weights = scored(classes)
    given = weights if weighted else None
    rows, columns = np.arange(90), scores.reshape(90, -1)
    found = CalibratedClassifierCV(_Scores(), method="sigmoid", cv=[(rows, rows)], ensemble=False)
    wanted = found.fit(columns, codes, sample_weight=given).predict_proba(columns)
    own = calibrated(scores, codes, given, "sigmoid").predict_proba(columns)
    np.testing.assert_allclose(own, wanted, atol=1e-4)


@pytest.mark.parametrize("weight", [5e-324, 1e-300, 1e-9, 1e9, 1e150, 1e300])
def test_weights_of_any_size_give_probabilities(weight: float) -> None:
    scores, codes, weights = scored(2)
    found = Sigmoids.fit(scores, codes, 2, np.where(codes == 1, weight, weights))
    chances = found.probabilities(scores)
    assert np.isfinite(chances).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)


def test_the_probability_of_a_rows_class_is_its_column() -> None:
    for classes in (2, 3):
        scores, codes, _ = scored(classes)
        found = Sigmoids.fit(scores, codes, classes)
        expected = found.probabilities(scores)[np.arange(90), codes]
        np.testing.assert_array_equal(found.of_classes(scores, codes), expected)
