"""Weights of rows by their class: as scikit-learn has them, and as a mapping says."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from qnn.errors import InputError
from qnn.features.class_weights import class_codes, class_weights, row_weights
from qnn.features.targets import TargetCoding


def targets_of(codes: np.ndarray, count: int) -> np.ndarray:
    if count == 2:
        return np.where(codes == 1, 1.0, -1.0)
    return np.where(codes[:, None] == np.arange(count), 1.0, -1.0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_they_are_those_of_scikit_learn(count):
    rng = np.random.default_rng(count)
    drawn = rng.choice(count, 97, p=rng.dirichlet(np.ones(count)))
    codes = np.concatenate([np.arange(count), drawn])
    targets = targets_of(codes, count)
    balanced = row_weights("balanced", targets)
    np.testing.assert_array_equal(balanced, compute_sample_weight("balanced", codes))
    by_class = dict(enumerate(rng.uniform(0.1, 9.0, count)))
    found = row_weights(tuple(by_class.values()), targets)
    np.testing.assert_array_equal(found, compute_sample_weight(by_class, codes))
    if count > 2:
        pairs = TargetCoding(classes=tuple(range(count)), pairs=True).encode(codes)
        np.testing.assert_array_equal(class_codes(pairs)[0], codes)
        np.testing.assert_array_equal(row_weights("balanced", pairs), balanced)
        np.testing.assert_array_equal(row_weights(tuple(by_class.values()), pairs), found)
    assert row_weights(None, targets) is None


def test_a_class_without_rows_changes_nothing_of_the_others():
    assert row_weights("balanced", np.ones(4)).tolist() == [0.5] * 4


@pytest.mark.parametrize(
    ("classes", "asked", "found"),
    [
        (("no", "yes"), {"yes": 5.0}, (1.0, 5.0)),
        (("yes", "no"), {"yes": 5.0, "no": 2.0}, (5.0, 2.0)),
        ((0, 1), {"1": 7.0}, (1.0, 7.0)),
        ((0.0, 1.5), {"0": 2.0, "1.5": 7.0}, (2.0, 7.0)),
        ((False, True), {"true": 3.0}, (1.0, 3.0)),
        ((1, 2, 10), {"10": 3.0, "2": 4.0}, (1.0, 4.0, 3.0)),
    ],
)
def test_labels_are_found_by_their_text(classes, asked, found):
    assert class_weights(asked, classes) == found
    assert class_weights("balanced", classes) == "balanced"
    assert class_weights(None, classes) is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"maybe": 1.0}, r"^class_weight: 'maybe' is no label of the target \('0', 1\)$"),
        ({"1": 1.0, "1.0": 2.0}, "^class_weight names the class 1 twice$"),
        ({"nan": 1.0}, "is no label"),
    ],
)
def test_other_labels_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        class_weights(asked, ("0", 1))


def test_weights_of_another_number_of_classes_are_refused():
    with pytest.raises(InputError, match="of 3 classes, the targets of 2"):
        row_weights((1.0, 2.0, 3.0), np.ones(4))


def test_columns_with_zeros_that_are_no_pairs_are_refused():
    with pytest.raises(InputError, match="4 columns with zeros"):
        class_codes(np.array([[1.0, 0.0, -1.0, 1.0]]))
