"""The target of blocks: which labels there are, and what each becomes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.datasets.spellings import same_label
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.targets import Label, TargetCoding, plain


def labels_in(values: np.ndarray, name: str, before: int = 0) -> frozenset[Any]:
    """The labels of a piece (n,) with so many rows before it; InputError where one is missing."""
    text = values.dtype == object
    gaps = [value is None for value in values] if text else np.isnan(values)
    absent = np.flatnonzero(gaps)
    if len(absent):
        raise InputError(
            f"the target '{name}' is missing in {tables.rows_text(before + absent)}; fill it, or "
            "remove such rows"
        )
    tables.refuse_bad_values(values, name, "refuse", before)
    return frozenset(plain(label) for label in np.unique(_told(values)))


def coding_of(found: Collection[Any], target: str, positive: Label | None) -> TargetCoding:
    """The coding of a target with these labels: two classes, or ``positive`` against the others.

    Raises InputError where that is not so, or where ``positive`` is none of them, or several.
    """
    labels = sorted(found, key=lambda label: (str(type(label)), label))
    if all(isinstance(label, float) and label.is_integer() for label in labels):
        labels = [int(label) for label in labels]
    if positive is None and len(labels) == 2:
        return TargetCoding(classes=tuple(labels))
    if positive is None:
        raise InputError(
            f"the target '{target}' has {len(labels)} classes: say in data.positive which one is "
            "learned against the others"
        )
    meant = [label for label in labels if _is(label, positive)]
    if not meant:
        known = tables.shorten(map(tables.brief, labels))
        raise InputError(f"data.positive: {positive!r} is no label of '{target}' (labels: {known})")
    if len(meant) > 1:
        several = " or ".join(map(tables.brief, meant))
        raise InputError(f"data.positive: {positive!r} may be {several}: write it in quotes")
    return TargetCoding(classes=(False, True))


@dataclass(frozen=True)
class TargetReading:
    """How the target column becomes the solver's numbers."""

    name: str
    coding: TargetCoding
    positive: Label | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(n,) float64."""
        if self.positive is None:
            return self.coding.encode(_told(values))
        labels, places = np.unique(_told(values), return_inverse=True)
        hits = np.array([_is(plain(label), self.positive) for label in labels], dtype=bool)
        return np.where(hits[places], 1.0, -1.0)


def _told(values: np.ndarray) -> np.ndarray:
    return values if values.dtype != object else values.astype(str)


def _is(label: Any, positive: Label) -> bool:
    """Whether a label is the one that is asked for: a whole number has no point."""
    whole = isinstance(label, float) and label.is_integer()
    return same_label(int(label) if whole else label, positive)
