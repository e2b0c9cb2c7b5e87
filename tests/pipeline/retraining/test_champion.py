"""The champion's labels beside those of the rows that judge."""

from typing import Any

import numpy as np
import pytest

import qnn
from pipeline.retraining.champion import Champion
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout


def champion_of(classes: tuple[Any, ...] | None) -> tuple[Champion, dict[str, np.ndarray]]:
    """A network that gives rows by the sign of their number the first or second class."""
    rows = {"a": np.array([-2.0, -1.0, 1.0, 2.0])}
    label: np.ndarray = np.array([-2.0, -1.0, 1.0, 2.0])
    if classes is not None:
        label = np.array([classes[0]] * 2 + [classes[1]] * 2, dtype=object)
    prepared = FeatureLayout.from_table(rows).fit(rows, label, classes)
    problem = qnn.Problem(prepared.transform(rows), prepared.encode_target(label), beta=0.01)
    own = qnn.train(problem, seed=0).network
    network = qnn.QuantizedNetwork(own.U, own.V, own.alpha, preprocessing=prepared)
    return Champion(network, "1"), rows


@pytest.mark.parametrize(
    ("classes", "spelt"),
    [
        ((0, 1), ("0", "1")),
        (("0", "1"), (0, 1)),
        ((0, 1), ("0", "x")),
        ((0.0, 1.0), (0, 1)),
        ((False, True), ("false", "true")),
        (("a", "b"), ("a", "b")),
    ],
)
def test_labels_that_say_the_same_are_the_same(classes: Any, spelt: Any) -> None:
    champion, rows = champion_of(classes)
    target = np.array([spelt[0], spelt[1]] * 2, dtype=object)
    right = champion.predict(rows, target, spelt) == target
    # Where the second of its classes is none of theirs it is right on the first alone.
    assert right.tolist() == [True, False, False, spelt != ("0", "x")]


@pytest.mark.parametrize(("classes", "names"), [((0, 1), ("no", "yes")), (("a", "b"), (0, 1))])
def test_a_champion_of_other_labels_cannot_be_compared(classes: Any, names: Any) -> None:
    champion, rows = champion_of(classes)
    target = np.array([names[0], names[1]] * 2, dtype=object)
    own, theirs = (", ".join(map(repr, labels)) for labels in (classes, names))
    with pytest.raises(InputError, match=f"it knows the labels {own}, and the rows have {theirs}"):
        champion.predict(rows, target, names)


def test_labels_of_the_challenger_count_though_no_row_that_judges_has_them() -> None:
    champion, rows = champion_of(("a", "b"))
    target = np.array(["c"] * 4, dtype=object)
    assert not (champion.predict(rows, target, ("a", "b", "c")) == target).any()


def test_numbers_and_labels_are_not_compared() -> None:
    champion, rows = champion_of((0, 1))
    with pytest.raises(InputError, match="it predicts labels, no numbers"):
        champion.predict(rows, np.arange(4.0), None)
    champion, rows = champion_of(None)
    assert champion.predict(rows, np.arange(4.0), None).shape == (4,)
    with pytest.raises(InputError, match="the network predicts a number, no label"):
        champion.predict(rows, np.array(["a", "b"] * 2, dtype=object), ("a", "b"))
