import numpy as np
import pytest

from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from tests.qnn.features.table_cases import LABELS, fit, message, mixed


def test_targets_of_two_classes() -> None:
    prepared = fit(mixed())
    np.testing.assert_array_equal(prepared.encode_target(LABELS), [-1, 1, -1, 1])
    assert prepared.decode(np.array([-0.1, 0.0, 0.1])).tolist() == ["no", "no", "yes"]
    with pytest.raises(InputError) as error:
        prepared.encode_target(np.array(["no", "maybe"], dtype=object))
    assert message(error) == "unknown labels 'maybe'; the classes are 'no' and 'yes'"
    layout = prepared.layout
    for classes in (("no",), ("no", "no"), ("no", "yes", "no")):
        with pytest.raises(InputError, match=r"^at least two different classes are needed, got no"):
            layout.fit(mixed(), LABELS, classes)
    numbered = layout.fit(mixed(), np.array([0, 1, 1, 0]), (np.int64(0), np.int64(1)))
    assert numbered.classes == (0, 1)
    assert numbered.decode(np.array([3.0])).tolist() == [1]


def test_targets_of_more_classes_are_one_against_the_rest() -> None:
    labels = np.array(["b", "a", "c", "b"])
    prepared = FeatureLayout.from_table(mixed()).fit(mixed(), labels, ("a", "b", "c"))
    assert prepared.target.shape == (3,)
    coded = prepared.encode_target(labels)
    np.testing.assert_array_equal(
        coded, [[-1, 1, -1], [1, -1, -1], [-1, -1, 1], [-1, 1, -1]], strict=False
    )
    assert prepared.decode(coded).tolist() == labels.tolist()
    # The first of those with the largest score.
    scores = np.array([[-3.0, -1.0, -1.0], [0.0, 0.0, 0.0], [0.1, 0.1, 0.2]])
    assert prepared.decode(scores).tolist() == ["b", "a", "c"]
    with pytest.raises(InputError) as error:
        prepared.encode_target(np.array(["d", "a"]))
    assert message(error) == "unknown labels 'd'; the classes are 'a', 'b', 'c'"
    # A training part may lack a class.
    two = prepared.layout.fit(mixed(), labels[[0, 1, 0, 1]], ("a", "b", "c"))
    np.testing.assert_array_equal(two.encode_target(labels)[:, 2], [-1, -1, 1, -1])
    assert prepared.size_in_bytes == fit(mixed()).size_in_bytes - len("noyes") + len("abc")


def test_several_targets_of_a_regression() -> None:
    target = np.array([[10.0, -1.0], [20.0, -1.0], [30.0, -4.0], [60.0, 2.0]])
    layout = FeatureLayout.from_table(mixed())
    prepared = layout.fit(mixed(), target)
    coded = prepared.encode_target(target)
    np.testing.assert_allclose(coded.mean(axis=0), 0.0, atol=1e-15)
    np.testing.assert_allclose(coded.std(axis=0), 1.0)
    np.testing.assert_allclose(prepared.decode(coded), target, rtol=1e-14)
    for column in range(2):
        alone = layout.fit(mixed(), target[:, column]).encode_target(target[:, column])
        assert alone.tobytes() == coded[:, column].tobytes()
    one = layout.fit(mixed(), target[:, :1])
    assert one.encode_target(target[:, :1]).shape == (4, 1)
    raw = FeatureLayout.from_table(mixed(), scaling="none").fit(mixed(), target)
    np.testing.assert_array_equal(raw.encode_target(target), target)
    assert prepared.size_in_bytes == 8 * 10 + 3 + 8 * 4
    assert Preprocessing.from_json(prepared.to_json()) == prepared
    for values, said in (
        (target[:, 0], "the target has shape (4,) but must be (n, 2)"),
        (target[:, [0, 1, 0]], "the target has shape (4, 3) but must be (n, 2)"),
        (target * [1.0, np.inf], "the target is not finite in 4 rows (first: row 1)"),
    ):
        with pytest.raises(InputError) as error:
            prepared.encode_target(values)
        assert message(error).startswith(said)
    with pytest.raises(InputError, match=r"^column 'target 1' should be numeric, but row 2 holds"):
        layout.fit(mixed(), np.array([[1, 2], [3, "x"], [4, 5], [6, 7]], dtype=object))
    with pytest.raises(InputError, match=r"the target has shape \(4, 2\) but must be \(n,\)"):
        layout.fit(mixed(), target[:, 0]).encode_target(target)


def test_targets_of_a_regression() -> None:
    table, target = mixed(), np.array([10.0, 20.0, 30.0, 60.0])
    prepared = FeatureLayout.from_table(table).fit(table, target)
    y = prepared.encode_target(target)
    assert (y.mean(), y.std()) == (pytest.approx(0, abs=1e-15), pytest.approx(1))
    np.testing.assert_allclose(prepared.decode(y), target, rtol=1e-14)
    raw = FeatureLayout.from_table(table, scaling="none").fit(table, target)
    np.testing.assert_array_equal(raw.encode_target(target), target)
    with pytest.raises(InputError, match=r"the target is not finite in 1 row \(first: row 2\)"):
        prepared.encode_target(np.array([1.0, np.nan]))
