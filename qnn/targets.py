"""Coding of targets: classes to ±1, regression targets to zero mean and unit variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qnn import tables
from qnn.errors import InputError
from qnn.scaling import mean_and_scale

Label = str | int | float | bool


@dataclass(frozen=True)
class TargetCoding:
    """How targets become numbers: two classes to −1 and +1, or (y − offset) / scale."""

    classes: tuple[Label, ...] | None = None
    offset: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.classes is not None and (
            len(self.classes) != 2 or self.classes[0] == self.classes[1]
        ):
            raise InputError(
                f"two different classes are needed, got {tables.shorten(self.classes)}"
            )

    def encode(self, target: Any) -> np.ndarray:
        """Targets (n,) as float64 (n,): ±1, or centred and scaled."""
        if self.classes is None:
            return (_finite_target(target) - self.offset) / self.scale
        coded = {self.classes[0]: -1.0, self.classes[1]: 1.0}
        labels = [plain(label) for label in np.asarray(target)]
        unknown = sorted({tables.brief(label) for label in labels if label not in coded})
        if unknown:
            raise InputError(
                f"unknown labels {tables.shorten(unknown)}; the classes are "
                f"{tables.brief(self.classes[0])} and {tables.brief(self.classes[1])}"
            )
        return np.array([coded[label] for label in labels])

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Scores (n,) as labels (the second class where the score is positive) or target units."""
        if self.classes is None:
            return self.offset + self.scale * np.asarray(scores, dtype=np.float64)
        return np.array(self.classes)[(np.asarray(scores) > 0).astype(int)]


def _finite_target(target: Any) -> np.ndarray:
    values = tables.to_numbers(np.asarray(target), "target")
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values))
        raise InputError(
            f"the target is not finite in {tables.rows_text(bad)}; correct or remove them"
        )
    return values


def fit_regression(target: Any, standardize: bool) -> TargetCoding:
    """Coding of a regression target: its mean and standard deviation, or 0 and 1."""
    values = _finite_target(target)
    if not standardize:
        return TargetCoding()
    mean, scale = mean_and_scale(values[:, None])
    return TargetCoding(None, float(mean[0]), float(scale[0]))


def plain(label: Any) -> Any:
    """A label as Python's own type, so that it compares, hashes and writes as JSON."""
    return label.item() if isinstance(label, np.generic) else label
