"""From a raw row and what may happen to it to the inputs that a network may see.

The preprocessing is read here a second time, from its JSON. A row of float64 numbers goes through
steps that are correctly rounded and monotone (subtract, divide, clip, compare), so the images of a
column's lowest and highest number bound those of all between, without any allowance; a table of
normal scores is monotone piece by piece, and the ends of all its pieces are looked at. Of a ball
("l2") the image is contained in an ellipsoid: clipping brings no two numbers further apart, and the
roundings of the preprocessing widen the axes; under quantiles and thermometers the box around the
ball is taken.

A numeric column under "thermometer" becomes bits, +1 up to some level and -1 above: a *chain*.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from qnn.certificates.robustness.question import Question
from qnn.errors import CertificateError
from qnn.numerics.floating import UNIT

Array = np.ndarray

MOST_CELLS = 10_000
_SMALLEST = 2.0**-1074
_SCALINGS = ("standardize", "weighted", "none", "quantile", "thermometer")
# Text that a network reads as a missing value where it is no category of its column.
MISSING_WORDS = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"),
)
_UNREADABLE = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, OverflowError
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """The inputs that a network may see: of each cell (L of them) a box, or an ellipsoid.

    low, high (L, d): the box; of an ellipsoid both are its centre. axes (d,): the ellipsoid's, 0 of
    a box. chains (d,): the numeric column whose bits these are, -1 for an input that is no bit.
    """

    low: Array
    high: Array
    axes: Array
    chains: Array


def region_of(question: Question, preprocessing: str, d: int) -> Region:
    """The region of a question; ``preprocessing`` is its JSON, or the empty text for none.

    Raises CertificateError for a question that does not fit, or whose region is not finite.
    """
    _check(question)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            region = _read(question, preprocessing, d)
    except _UNREADABLE as error:
        raise CertificateError(
            f"the preprocessing cannot be read ({type(error).__name__})"
        ) from None
    arrays = (region.low, region.high, region.axes)
    if not all(np.isfinite(array).all() for array in arrays) or np.any(region.low > region.high):
        raise CertificateError("the region is not finite: give radii or limits that are")
    return region


def _check(question: Question) -> None:
    count = question.numbers.shape
    numbers = (question.radii, question.lowest, question.highest)
    if len(count) != 1 or any(array.shape != count for array in numbers):
        raise CertificateError("numbers, radii and limits are not of one length")
    if question.norm not in ("linf", "l2"):
        raise CertificateError(f"unknown norm {question.norm!r}")
    if np.isnan(numbers).any() or np.any(question.radii < 0.0) or question.swaps < 0:
        raise CertificateError("radii must not be negative, nor radii or limits missing")
    present = ~np.isnan(question.numbers)
    inside = (question.lowest <= question.numbers) & (question.numbers <= question.highest)
    if np.isinf(question.numbers).any() or not inside[present].all():
        raise CertificateError("the row has numbers that are infinite or outside their limits")
    if np.any(question.radii[~present] != 0.0):
        raise CertificateError("a missing number stays missing: its radius must be 0")
    limited = np.isfinite(question.lowest).any() or np.isfinite(question.highest).any()
    if question.norm == "l2" and (limited or not np.isfinite(question.radii).all()):
        raise CertificateError("limits of the values, and infinite radii, belong to the norm linf")
    if len(question.choices) != len(question.categories):
        raise CertificateError("there must be a list of choices for each category")


def _read(question: Question, preprocessing: str, d: int) -> Region:
    low, high = _ends(question)
    if not preprocessing:
        if len(question.numbers) != d or question.categories or np.isnan(question.numbers).any():
            raise CertificateError(f"the network reads {d} numbers and no categories")
        axes = np.zeros(d)
        if question.norm == "l2":
            low = high = question.numbers
            axes = question.radii
        return Region(low[None], high[None], axes, np.full(d, -1))
    record = json.loads(preprocessing)
    if (record.get("target") or {}).get("pairs"):
        raise CertificateError("the network tells classes in pairs: its largest score is none")
    layout = _Layout(record)
    if len(question.numbers) != len(layout.numeric) or len(question.categories) != len(
        layout.categorical
    ):
        raise CertificateError("the row does not have the columns that the network reads")
    layout.refuse_other_words(question)
    missing = bool(np.isnan(question.numbers).any()) or None in question.categories
    if missing and not layout.imputes:
        raise CertificateError("the row has missing values, which the network refuses")
    if question.norm == "l2" and layout.scaling in ("standardize", "weighted", "none"):
        return layout.ellipsoid(question, d)
    # Of a ball too: each number is within its radius, and a table of scores or bits bends the rest.
    return layout.box(question, low, high, d)


def _ends(question: Question) -> tuple[Array, Array]:
    """The lowest and highest number of each column, rounded outwards; NaN where it is missing."""
    still = question.radii == 0.0
    low = np.nextafter(question.numbers - question.radii, -np.inf)
    high = np.nextafter(question.numbers + question.radii, np.inf)
    low = np.where(still, question.numbers, np.maximum(low, question.lowest))
    return low, np.where(still, question.numbers, np.minimum(high, question.highest))


class _Layout:
    """The columns of a preprocessing and their numbers, as its JSON has them."""

    def __init__(self, record: dict[str, Any]) -> None:
        layout = record["layout"]
        kept = [column for column in layout["columns"] if not column["dropped"]]
        self.columns = list(zip(kept, record["fill"], strict=True))
        self.numeric = [column for column in kept if column["categories"] is None]
        self.categorical = [column for column in kept if column["categories"] is not None]
        self.scaling, self.bias = layout["scaling"], float(layout["bias"])
        self.imputes = layout["missing"] == "impute"
        self.words = {*MISSING_WORDS, *map(str, layout.get("missing_values", ()))}
        self.clip = math.inf if layout["clip"] is None else float(layout["clip"])
        self.means = np.array(record["means"], dtype=np.float64)
        self.scales = np.array(record["scales"], dtype=np.float64)
        self.encoder = record.get("encoder", {})
        finite = np.isfinite(self.means).all() and np.isfinite(self.scales).all()
        if not finite or np.any(self.scales <= 0.0) or not self.clip > 0.0:
            raise ValueError("scales")
        if not math.isfinite(self.bias) or self.scaling not in _SCALINGS:
            raise ValueError("bias or scaling")
        for column in self.categorical:
            names = column["categories"]
            texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
            if not texts or len(set(names)) != len(names):
                raise ValueError("categories")

    def refuse_other_words(self, question: Question) -> None:
        """Raise CertificateError for text that the network reads as something else than it says."""
        every = zip(self.categorical, question.categories, question.choices, strict=True)
        for column, own, choice in every:
            known = column["categories"]
            if own in self.words and own not in known:
                raise CertificateError("a category is text that the network reads as missing")
            if not set(choice) <= set(known):
                raise CertificateError("a choice is no category of its column")

    def box(self, question: Question, low: Array, high: Array, d: int) -> Region:
        """The cells of boxes: one for each choice of categories."""
        ends = [
            [self._numbers(values, side) for side in (0, 1)] for values in self._filled(low, high)
        ]
        cells = cells_of(question)
        lows, highs = (
            np.array([self._row([column[side] for column in ends], cell) for cell in cells])
            for side in (0, 1)
        )
        chains = np.concatenate(
            [
                np.full(len(column[0]), index if self.scaling == "thermometer" else -1)
                for index, column in enumerate(ends)
            ]
            or [np.zeros(0, dtype=np.int64)]
        )
        place = self._row([np.full(len(column[0]), 1.0) for column in ends], cells[0], mark=True)
        full = np.full(d, -1)
        full[place == 1.0] = chains
        bits = full >= 0
        if lows.shape[1] != d or not np.all(np.abs([lows[:, bits], highs[:, bits]]) == 1.0):
            raise ValueError("columns")
        return Region(lows, highs, np.zeros(d), full)

    def ellipsoid(self, question: Question, d: int) -> Region:
        """The cells of ellipsoids, around the row as the preprocessing gives it."""
        centre = [self._numbers(v, 0) for v in self._filled(question.numbers, question.numbers)]
        rows = np.array([self._row(centre, cell) for cell in cells_of(question)])
        place = self._row([np.ones(1) for _ in centre], cells_of(question)[0], mark=True) == 1.0
        radii, scales = question.radii, self._per_number(self.scales)
        far = np.abs(np.nan_to_num(question.numbers)) + radii + np.abs(self._per_number(self.means))
        moved = radii > 0.0
        # Two roundings of a number, of which none is larger than far / scale; and of the radius.
        errors = 16.0 * UNIT * far[moved] / np.minimum(radii[moved], far[moved])
        # Below the normal numbers a quotient is off by half of the smallest one, whatever its size.
        errors += 8.0 * _SMALLEST * scales[moved] / radii[moved]
        axes = np.zeros(d)
        axes[place] = radii / scales * (1.0 + 1.01 * math.sqrt(float(errors @ errors)) + 8.0 * UNIT)
        if rows.shape[1] != d:
            raise ValueError("columns")
        return Region(rows, rows.copy(), axes, np.full(d, -1))

    def _filled(self, low: Array, high: Array) -> list[tuple[int, float, float]]:
        fill = [float(value) for column, value in self.columns if column["categories"] is None]
        pairs = zip(low.tolist(), high.tolist(), fill, strict=True)
        return [
            (j, value, value) if math.isnan(a) else (j, a, b)
            for j, (a, b, value) in enumerate(pairs)
        ]

    def _numbers(self, column: tuple[int, float, float], side: int) -> Array:
        """The features of a numeric column at its lowest (side 0) or highest number."""
        index, low, high = column
        end = (low, high)[side]
        if self.scaling == "thermometer":
            thresholds = np.array(self.encoder["thresholds"][index], dtype=np.float64)
            if not _ascending(thresholds):
                raise ValueError("thresholds")
            return np.where(end >= thresholds, 1.0, -1.0)
        if self.scaling != "quantile":
            return np.array([end])
        knots, scores, slopes = (self.encoder[k][index] for k in ("knots", "scores", "slopes"))
        values = _scores(knots, scores, slopes, low, high)
        return np.array([values.min() if side == 0 else values.max()])

    def _per_number(self, features: Array) -> Array:
        place = self._row([np.ones(1) for _ in self.numeric], [None] * len(self.categorical), True)
        return features[place[: len(features)] == 1.0]

    def _row(self, numbers: list[Array], cell: list[str | None], mark: bool = False) -> Array:
        """The network's input of one row; with ``mark`` 1 where a number stands and 0 elsewhere."""
        absent = -1.0 if self.scaling == "thermometer" and not mark else 0.0
        parts, number, category = [], iter(numbers), iter(cell)
        for column, fill in self.columns:
            if column["categories"] is None:
                parts.append(next(number))
                continue
            block = np.full(len(column["categories"]), absent)
            value = next(category)
            value = fill if value is None else value
            if value in column["categories"] and not mark:
                block[column["categories"].index(value)] = 1.0
            parts.append(block)
        row = np.concatenate(parts)
        if not mark:
            row = np.clip((row - self.means) / self.scales, -self.clip, self.clip)
        return np.append(row, 0.0 if mark else self.bias) if self.bias else row


def _ascending(values: Array) -> bool:
    one = values.ndim == 1 and np.isfinite(values).all()
    return bool(one and np.all(values[1:] >= values[:-1]))


def _scores(knots: Any, scores: Any, slopes: Any, low: float, high: float) -> Array:
    """Values of a table of scores that bound all those of numbers from low to high."""
    table = np.array([knots, scores, slopes], dtype=np.float64)
    knots, scores, slopes = table
    if not np.isfinite(table).all() or np.any(slopes < 0.0) or not _ascending(knots):
        raise ValueError("slopes")
    low, high = (float(np.clip(end, knots[0], knots[-1])) for end in (low, high))
    first, last = (int(np.searchsorted(knots, end, side="right")) - 1 for end in (low, high))
    pieces = np.arange(first, last + 1)
    starts = np.maximum(knots[pieces], low)
    stops = np.minimum(np.append(knots, high)[pieces + 1], high)
    ends = [scores[pieces] + (at - knots[pieces]) * slopes[pieces] for at in (starts, stops)]
    return np.concatenate(ends)


def cells_of(question: Question) -> list[list[str | None]]:
    """All choices of categories with at most ``swaps`` changed, the row's own first."""
    own = list(question.categories)
    others = [
        sorted(set(choice) - {value}) for value, choice in zip(own, question.choices, strict=True)
    ]
    free = [index for index, other in enumerate(others) if other]
    cells: list[list[str | None]] = []
    for size in range(min(question.swaps, len(free)) + 1):
        for changed in itertools.combinations(free, size):
            for values in itertools.product(*(others[index] for index in changed)):
                if len(cells) == MOST_CELLS:
                    raise CertificateError(
                        f"more than {MOST_CELLS} choices of categories: allow fewer swaps"
                    )
                cell = own.copy()
                for index, value in zip(changed, values, strict=True):
                    cell[index] = value
                cells.append(cell)
    return cells
