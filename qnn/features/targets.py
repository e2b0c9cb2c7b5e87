"""Coding of targets: classes to ±1, regression targets to zero mean and unit variance.

Two classes, and one regression target, make one output (n,). More classes, and a table of
regression targets, make C outputs (n, C): classes one against the rest, targets each on its own.
Classes in pairs make C(C−1)/2, one a pair: one-vs-one (S. Knerr, L. Personnaz, G. Dreyfus, 1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qnn.errors import InputError, shown
from qnn.features import tables
from qnn.features.statistics import mean_and_scale

Label = str | int | float | bool

#: How more than two classes become outputs.
ONE_VS_REST, ONE_VS_ONE = MULTI_CLASS = ("one_vs_rest", "one_vs_one")


@dataclass(frozen=True)
class TargetCoding:
    """How targets become numbers: classes to −1 and +1, or (y − offset) / scale.

    Of two classes the second is +1. Of C > 2, output c is +1 on class c and −1 on the rest; with
    `pairs` the outputs are the pairs of classes in their order, each −1 on its first class, +1 on
    its second and 0 on the others, whose rows have no part in it. Several regression targets have
    an offset and a scale each, and `names` where their table has some.
    """

    classes: tuple[Label, ...] | None = None
    offset: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    names: tuple[str, ...] | None = None
    pairs: bool = False

    def __post_init__(self) -> None:
        if self.classes is not None and len(set(self.classes)) < max(len(self.classes), 2):
            raise InputError(
                f"at least two different classes are needed, got {tables.shorten(self.classes)}"
            )
        shape = np.shape(self.offset)
        if np.shape(self.scale) != shape or 0 in shape or (shape and self.classes):
            raise InputError("offset and scale of the target do not fit each other or its classes")
        if not np.isfinite([self.offset, self.scale]).all() or np.min(self.scale) <= 0.0:
            raise InputError("offset and scale of the target must be finite, the scale positive")
        if self.names is not None and (len(self.names),) != shape:
            raise InputError("the names of the targets do not fit their offsets")
        if self.pairs and len(self.classes or ()) < 3:
            raise InputError("only three classes or more make pairs")

    @property
    def numbers(self) -> int:
        """How many numbers a predictor must carry of it."""
        return 0 if self.classes else 2 * int(np.size(self.offset))

    @property
    def outputs(self) -> tuple[Label, ...]:
        """What several outputs are called, class or target; () for one output, or no names."""
        if self.pairs:
            labels = self.classes or ()
            return tuple(f"{labels[a]} / {labels[b]}" for a, b in self.pair_codes.tolist())
        return (self.classes or () if self.shape else ()) or self.names or ()

    @property
    def shape(self) -> tuple[int, ...]:
        """What a row of targets is for the solver: () one number, (C,) a number for each output."""
        if self.classes is None:
            return np.shape(self.offset)
        if self.pairs:
            return (len(self.pair_codes),)
        return () if len(self.classes) == 2 else (len(self.classes),)

    @property
    def pair_codes(self) -> np.ndarray:
        """The numbers of the two classes of each pair, (C(C−1)/2, 2)."""
        return np.stack(np.triu_indices(len(self.classes or ()), 1), axis=1)

    def coded(self, multi_class: str) -> TargetCoding:
        """The coding of the same target by "one_vs_rest" or "one_vs_one".

        They differ for more than two classes only. Raises InputError for another word.
        """
        if multi_class not in MULTI_CLASS:
            known = " or ".join(MULTI_CLASS)
            raise InputError(f"multi_class must be {known} (got {shown(multi_class)})")
        several = len(self.classes or ()) > 2
        return replace(self, pairs=several and multi_class == ONE_VS_ONE)

    def output(self, index: int) -> TargetCoding:
        """The coding of one of several outputs: its target's, its pair's, or True for its class."""
        if self.pairs:
            labels = self.classes or ()
            return TargetCoding(classes=tuple(labels[code] for code in self.pair_codes[index]))
        if self.classes is not None:
            return TargetCoding(classes=(False, True))
        offset, scale = (np.ravel(value)[index].item() for value in (self.offset, self.scale))
        return TargetCoding(None, offset, scale)

    def encode(self, target: Any) -> np.ndarray:
        """Targets as float64 (n,) or (n, C): ±1 for labels (n,), else centred and scaled.

        Raises InputError for unknown labels, targets that are not finite, and another shape.
        """
        if self.classes is None:
            values = _finite_target(target)
            if values.shape[1:] != self.shape:
                expected = f"(n, {self.shape[0]})" if self.shape else "(n,)"
                raise InputError(f"the target has shape {values.shape} but must be {expected}")
            return (values - np.asarray(self.offset)) / np.asarray(self.scale)
        codes = self.codes(target)
        if self.pairs:
            first, second = self.pair_codes.T
            return (codes[:, None] == second) - 1.0 * (codes[:, None] == first)
        if not self.shape:
            return np.where(codes == 1, 1.0, -1.0)
        return np.where(codes[:, None] == np.arange(len(self.classes)), 1.0, -1.0)

    def codes(self, labels: Any) -> np.ndarray:
        """The number of each label's class, int64 (n,).

        Raises InputError for labels that are none of the classes.
        """
        classes = self.classes or ()
        place = {label: index for index, label in enumerate(classes)}
        given = np.asarray(labels).tolist()
        found = [place.get(label, -1) for label in given]
        if -1 in found:
            unknown = {
                tables.brief(label) for label, at in zip(given, found, strict=True) if at < 0
            }
            known = [tables.brief(label) for label in classes]
            listed = " and ".join(known) if len(known) == 2 else tables.shorten(known)
            raise InputError(
                f"unknown labels {tables.shorten(sorted(unknown))}; the classes are {listed}"
            )
        return np.array(found, dtype=np.int64)

    def chosen(self, scores: np.ndarray) -> np.ndarray:
        """The number of the class that scores (n,) or (n, C) say, int64 (n,).

        Two classes: the second where the score is positive. More: the class of the largest of
        `class_scores`, the first of them where several are equal.
        """
        if not self.shape:
            return (scores > 0).astype(np.int64)
        return self.class_scores(scores).argmax(axis=1)

    def class_scores(self, scores: np.ndarray) -> np.ndarray:
        """A score for each class, (n, C), from those of its outputs; (n,) where there is one.

        Of pairs: minus what a class loses by, summed over its pairs. Else the scores themselves.
        """
        if not self.pairs:
            return scores
        lost = np.zeros((len(scores), len(self.classes or ())))
        # In the order of the pairs, as the C code sums.
        for score, (first, second) in zip(scores.T, self.pair_codes, strict=True):
            lost[:, first] += np.maximum(score, 0.0)
            lost[:, second] += np.maximum(-score, 0.0)
        return -lost

    def decode(self, scores: np.ndarray) -> np.ndarray:
        """Scores (n,) or (n, C) as labels (n,), or in units of the targets."""
        scores = np.asarray(scores, dtype=np.float64)
        if self.classes is None:
            return np.asarray(self.offset) + np.asarray(self.scale) * scores
        return np.array(self.classes)[self.chosen(scores)]


def coding_from_record(record: dict[str, Any]) -> TargetCoding:
    """A coding from what `asdict` makes of it, after JSON; InputError where it is none."""
    classes = record["classes"]
    offset, scale = (
        tuple(map(float, value)) if isinstance(value, list) else float(value)
        for value in (record["offset"], record["scale"])
    )
    names = record.get("names")
    return TargetCoding(
        None if classes is None else tuple(classes),
        offset,
        scale,
        None if names is None else tuple(map(str, names)),
        bool(record.get("pairs", False)),
    )


def _finite_target(target: Any) -> np.ndarray:
    given = np.asarray(target)
    if given.ndim == 2:
        columns = [tables.to_numbers(given[:, c], f"target {c}") for c in range(given.shape[1])]
        values = np.stack(columns, axis=1)
    else:
        values = tables.to_numbers(given, "target")
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        raise InputError(
            f"the target is not finite in {tables.rows_text(bad)}; correct or remove them"
        )
    return values


def fit_regression(
    target: Any,
    standardize: bool,
    names: Sequence[str] | None = None,
    weights: np.ndarray | None = None,
) -> TargetCoding:
    """Coding of regression targets (n,) or (n, C): mean and standard deviation, or 0 and 1.

    names: what the C targets are called. weights: (n,), how often each row counts; None: once.
    """
    values = _finite_target(target)
    columns = values if values.ndim == 2 else values[:, None]
    count = columns.shape[1]
    means, scales = np.zeros(count), np.ones(count)
    if standardize:
        means, scales = mean_and_scale(columns, weights)
    if values.ndim == 2:
        called = None if names is None else tuple(names)
        return TargetCoding(None, tuple(means.tolist()), tuple(scales.tolist()), called)
    return TargetCoding(None, float(means[0]), float(scales[0]))


def plain(label: Any) -> Any:
    """A label as Python's own type, so that it compares, hashes and writes as JSON."""
    return label.item() if isinstance(label, np.generic) else label
