"""Tables of mixed columns, as the tests of preprocessing take them."""

from typing import Any

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout, Preprocessing


def mixed() -> dict[str, np.ndarray]:
    return {
        "age": np.array([20.0, 30.0, 40.0, 50.0]),
        "site": np.array(["b", "a", "b", "c"], dtype=object),
        "flat": np.full(4, 7.0),
        "size": np.array([1.0, 4.0, 2.0, 3.0]),
    }


def with_gaps() -> dict[str, np.ndarray]:
    return {
        "age": np.array([1.0, np.nan, 3.0, 10.0]),
        "site": np.array(["b", None, "a", "b"], dtype=object),
    }


LABELS = np.array(["no", "yes", "no", "yes"], dtype=object)


def fit(table: Any, **options: Any) -> Preprocessing:
    return FeatureLayout.from_table(table, **options).fit(table, LABELS, ("no", "yes"))


def message(error: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)
