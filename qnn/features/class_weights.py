"""Class weights: what the rows of each class count for in the loss, from words or numbers.

`balanced` is n / (classes · rows of the class), as scikit-learn has it, of the rows at hand, each
counted as its own weight says where rows have one; a mapping gives numbers by label, 1 for those
that it does not name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from numbers import Real
from typing import Any, Literal, NoReturn

import numpy as np

from qnn.errors import InputError, shown
from qnn.features import tables
from qnn.features.targets import Label, plain
from qnn.numerics.weights import LEAST, MOST

#: "balanced", or a number for each class, in the order of the table's classes
ClassWeights = Literal["balanced"] | tuple[float, ...]


def class_weights(
    asked: Literal["balanced"] | Mapping[str, float] | None, classes: Sequence[Label] | None
) -> ClassWeights | None:
    """What is asked, for classes in their order; None where nothing is, or there are none.

    Raises InputError where the mapping names a label that there is not, or one of them twice.
    """
    if asked is None or classes is None:
        return None
    if asked == "balanced":
        return asked
    found: dict[Label, float] = {}
    for name, weight in asked.items():
        label = _label(name, classes)
        if label in found:
            raise InputError(f"class_weight names the class {tables.brief(label)} twice")
        found[label] = weight
    return tuple(float(found.get(label, 1.0)) for label in classes)


def check_class_weight(asked: Any) -> None:
    """Raise InputError for what is none: None, "balanced" or positive numbers by label."""
    if asked is None or (isinstance(asked, str) and asked == "balanced"):
        return
    if not isinstance(asked, Mapping):
        raise InputError(
            f"class_weight must be None, 'balanced' or a dict of numbers by label (got "
            f"{shown(asked)})"
        )
    for label, weight in asked.items():
        number = isinstance(weight, Real) and not isinstance(weight, bool | np.bool_)
        if not number or not LEAST <= weight <= MOST:
            raise InputError(
                f"class_weight of {tables.brief(label)} must be a number from {LEAST:g} to "
                f"{MOST:g} (got {shown(weight)}); of a class that is not to count leave out the "
                "rows"
            )


def weights_of_labels(asked: Any, classes: np.ndarray) -> ClassWeights | None:
    """What an estimator is asked, as `check_class_weight` takes it, for its classes in order.

    Raises InputError where a mapping leaves out a class and names a label that there is not.
    """
    if not isinstance(asked, Mapping):
        return "balanced" if asked == "balanced" else None
    labels = [plain(label) for label in classes]
    unknown = [label for label in asked if label not in labels]
    if unknown and len(asked) - len(unknown) < len(labels):
        _refuse_unknown(unknown[0], labels)
    return tuple(float(asked.get(label, 1.0)) for label in labels)


def balanced(codes: np.ndarray, count: int, weights: np.ndarray | None = None) -> np.ndarray:
    """What each of `count` classes counts for (count,), by the rows' classes (n,) and weights."""
    rows = np.bincount(codes, weights, minlength=count)
    # A class that the rows lack has no row to count.
    return np.asarray(rows.sum() / (count * np.where(rows > 0, rows, 1)))


def row_weights(weights: ClassWeights | None, targets: np.ndarray) -> np.ndarray | None:
    """What each training row counts for (n,), None where all count 1.

    targets: as `class_codes` takes them. All outputs have the same row weights.
    """
    if weights is None:
        return None
    codes, count = class_codes(targets)
    if weights == "balanced":
        return balanced(codes, count)[codes]
    if len(weights) != count:
        raise InputError(f"class_weight is of {len(weights)} classes, the targets of {count}")
    return np.asarray(weights, dtype=np.float64)[codes]


def class_codes(targets: np.ndarray) -> tuple[np.ndarray, int]:
    """The number of each row's class, int64 (n,), and how many classes there are.

    targets: ±1 (n,) of two classes, the second +1; (n, C) of C, column c +1 on class c; or (n, P)
    of all P pairs of classes, −1 on a pair's first, +1 on its second, 0 on others: of three classes
    or more each row has a 0, which no other coding has. Raises InputError where they are none.
    """
    if targets.ndim == 1:
        return (targets > 0.0).astype(np.int64), 2
    if np.all(targets):
        return targets.argmax(axis=1), targets.shape[1]
    count = (1 + math.isqrt(1 + 8 * targets.shape[1])) // 2
    pairs = list(combinations(range(count), 2))
    if len(pairs) != targets.shape[1]:
        raise InputError(f"{targets.shape[1]} columns with zeros are no pairs of classes")
    won = np.zeros((len(targets), count), dtype=np.int64)
    for column, (first, second) in zip(targets.T, pairs, strict=True):
        won[:, first] += column < 0.0
        won[:, second] += column > 0.0
    return won.argmax(axis=1), count


def _label(name: str, classes: Sequence[Label]) -> Label:
    """The class that a key of the mapping means, in which numbers became text."""
    for label in classes:
        if name in (str(label), json.dumps(label)) or _equal_number(name, label):
            return label
    _refuse_unknown(name, classes)


def _refuse_unknown(name: Any, classes: Sequence[Label]) -> NoReturn:
    known = tables.shorten(list(map(tables.brief, classes)))
    raise InputError(f"class_weight: {tables.brief(name)} is no label of the target ({known})")


def _equal_number(name: str, label: Label) -> bool:
    if isinstance(label, bool):
        return name == str(int(label))
    if isinstance(label, str):
        return False
    try:
        return float(name) == label
    except ValueError:
        return False
