"""Classes in pairs: one output for each two, whose rows alone have a part in it."""

from dataclasses import replace

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.features.targets import TargetCoding, coding_from_record

LABELS = ("a", "b", "c", "d")
CODING = TargetCoding(classes=LABELS).coded("one_vs_one")


def test_a_row_is_told_apart_from_each_other_class_and_has_no_part_in_the_rest():
    coded = CODING.encode(["a", "c", "d"])
    # (a, b), (a, c), (a, d), (b, c), (b, d), (c, d)
    assert coded.tolist() == [
        [-1.0, -1.0, -1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 1.0, 0.0, -1.0],
        [0.0, 0.0, 1.0, 0.0, 1.0, 1.0],
    ]
    assert CODING.shape == (6,)
    assert CODING.outputs[1] == "a / c"
    assert CODING.output(4) == TargetCoding(classes=("b", "d"))


def test_the_class_that_loses_by_the_least_in_sum_is_told():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 6))
    found = CODING.class_scores(scores)
    for row, own in zip(scores, found, strict=True):
        lost = dict.fromkeys(range(4), 0.0)
        for score, (first, second) in zip(row, CODING.pair_codes.tolist(), strict=True):
            lost[first if score > 0.0 else second] += abs(score)
        assert np.allclose(own, [-lost[k] for k in range(4)])
    assert (CODING.chosen(scores) == found.argmax(axis=1)).all()
    # What is coded is read back, and a row on which nothing is said is of the first class.
    assert CODING.decode(CODING.encode(LABELS)).tolist() == list(LABELS)
    assert CODING.decode(np.zeros((1, 6))).tolist() == ["a"]


def test_two_classes_and_numbers_make_no_pairs():
    two = TargetCoding(classes=("a", "b"))
    assert two.coded("one_vs_one") == two
    assert TargetCoding().coded("one_vs_one") == TargetCoding()
    assert CODING.coded("one_vs_rest") == TargetCoding(classes=LABELS)
    with pytest.raises(InputError, match="three classes or more"):
        replace(two, pairs=True)
    with pytest.raises(InputError, match="one_vs_rest or one_vs_one"):
        two.coded("pairs")


def test_the_record_has_pairs_where_there_are_some_alone():
    X, y = np.arange(12.0).reshape(12, 1), np.array(["a", "b", "c"] * 4, dtype=object)
    plain = FeatureLayout.from_table(X).fit(X, y, ["a", "b", "c"])
    assert '"pairs"' not in plain.to_json()
    paired = plain.coded("one_vs_one")
    assert Preprocessing.from_json(paired.to_json()) == paired
    assert (paired.transform(X) == plain.transform(X)).all()
    # Records from before there were pairs have no such key.
    assert not coding_from_record({"classes": list("xyz"), "offset": 0.0, "scale": 1.0}).pairs
