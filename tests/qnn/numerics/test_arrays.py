"""What numpy would drop in silence is refused in one line."""

from typing import Any

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.training.problems.problem import Problem

MASKED = np.ma.masked_array(np.ones((3, 2)), mask=[[0, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        (np.ones((3, 2)) + 1j, np.ones(3), "X has complex numbers"),
        (np.ones((3, 2)), np.ones(3) * 1j, "y has complex numbers"),
        (MASKED, np.ones(3), "X is a masked array with masked entries"),
        (np.ones((3, 2)), np.ma.masked_equal([1.0, 2.0, 3.0], 2.0), "y is a masked array"),
        (np.ones(3), np.ones(3), r"X must have rows and columns \(got shape \(3,\)\)"),
        ([[1.0], [1.0, 2.0]], np.ones(2), "X must be an array of numbers"),
    ],
)
def test_a_problem_loses_nothing_in_silence(X: Any, y: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Problem(X, y, 1.0)


def test_a_mask_that_hides_nothing_is_none() -> None:
    X = np.ma.masked_array(np.eye(2), mask=False)
    assert Problem(X, np.ones(2), 1.0).X.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_table_loses_nothing_in_silence() -> None:
    with pytest.raises(InputError, match="column 'a' has complex numbers"):
        FeatureLayout.from_table({"a": np.array([1j, 2.0])})
    with pytest.raises(InputError, match="the table is a masked array with masked entries"):
        FeatureLayout.from_table(MASKED)
