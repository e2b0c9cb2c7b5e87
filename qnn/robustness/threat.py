"""From a user's row, radius and label to a question of the checker's form, and back to rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from qnn.certificates.robustness.question import Question
from qnn.errors import InputError, shown
from qnn.features.columns import Column
from qnn.features.encoders import QuantileToNormal, Thermometer
from qnn.features.preprocessing import Preprocessing
from qnn.features.targets import plain
from qnn.networks.layered import LayeredNetwork
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.arrays import floats_of
from qnn.numerics.floating import UNIT

Array = np.ndarray
Network = QuantizedNetwork | LayeredNetwork
NORMS = ("linf", "l2")
UNITS = ("raw", "scale")


@dataclass(frozen=True)
class Threat:
    """What may happen to a row.

    radius: how far each number may move, in the units of the rows: one for all, one each, or by
    name (others 0); with ``unit="scale"`` in standard deviations of the columns, as the
    preprocessing has them. norm: "linf", each by at most its radius, or "l2",
    ``sum((delta / radius)^2) <= 1``. limits: lowest and highest value that a column may have at
    all, one pair for all or by name ("linf"). choices: by name, the categories that a column's own
    may change to (True: any); swaps: how many columns may change their category at once.
    """

    radius: Any
    norm: str = "linf"
    unit: str = "raw"
    limits: Any = None
    choices: Mapping[str, Any] | None = None
    swaps: int = 1


class Rows:
    """The rows that a network reads: their columns, and how a raw row becomes a question."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.data = network.to_bytes()
        self.digest = hashlib.sha256(self.data).hexdigest()
        self.preprocessing: Preprocessing | None = None
        if isinstance(network, QuantizedNetwork):
            self.preprocessing = network.preprocessing
        if self.preprocessing is not None and self.preprocessing.target.pairs:
            raise InputError(
                "the network tells classes in pairs (one_vs_one): its robustness is not certified; "
                "train with one_vs_rest, or ask about one output of it"
            )
        kept = () if self.preprocessing is None else self.preprocessing.layout.kept
        self.categorical = [column for column in kept if column.categories is not None]
        self.numeric = [column for column in kept if column.categories is None]
        if self.preprocessing is None:
            self.numeric = [Column(f"x{j}") for j in range(network.d)]
        self.names = [column.name for column in self.numeric]

    def question(self, x: Any, threat: Threat, label: Any) -> Question:
        """The question of one row; InputError, one line, for what does not fit the network."""
        if threat.norm not in NORMS:
            raise InputError(f"norm must be one of {', '.join(NORMS)} (got {shown(threat.norm)})")
        numbers, categories = self._read(x)
        lowest, highest = self._limits(threat.limits)
        radii = np.where(np.isnan(numbers), 0.0, self._radii(threat))
        outside = np.flatnonzero((numbers < lowest) | (numbers > highest))
        if len(outside):
            raise InputError(f"the row's {self.names[outside[0]]} lies outside its limits")
        if threat.norm == "l2" and threat.limits is not None:
            raise InputError("limits of values go with the norm linf, not with l2")
        index, band, output = self._asked(x, label)
        return Question(
            network_sha256=self.digest,
            norm=threat.norm,
            numbers=numbers,
            radii=radii,
            lowest=lowest,
            highest=highest,
            categories=categories,
            choices=self._choices(threat.choices),
            swaps=_whole("swaps", threat.swaps),
            label=index,
            band=band,
            output=output,
        )

    def predicted(self, x: Any) -> Any:
        """What the network answers for a row, as a label of it."""
        numbers, categories = self._read(x)
        target = None if self.preprocessing is None else self.preprocessing.target
        if target is not None and target.classes is None:
            return None
        scores = self.scores(numbers[None], [categories])[0]
        index = int(scores[0] > 0.0) if len(scores) == 1 else int(scores.argmax())
        if target is not None and target.classes is not None:
            return target.classes[index]
        signed = isinstance(self.network, QuantizedNetwork) and self.network.alpha.ndim == 1
        return 2 * index - 1 if signed else index

    def table(self, numbers: Array, categories: Sequence[Sequence[str | None]]) -> Any:
        """Rows as the network reads them: numbers (n, k) and their categories."""
        if self.preprocessing is None:
            return numbers
        table: dict[str, Array] = {name: numbers[:, j] for j, name in enumerate(self.names)}
        for j, column in enumerate(self.categorical):
            table[column.name] = np.array([row[j] for row in categories], dtype=object)
        return table

    def scores(self, numbers: Array, categories: Sequence[Sequence[str | None]]) -> Array:
        """The network's scores (n, outputs) of raw rows, as it computes them."""
        # What overflows is seen in the scores.
        with np.errstate(all="ignore"):
            scores = self.network.scores(self.table(numbers, categories))
        return scores.reshape(len(numbers), -1)

    def _read(self, x: Any) -> tuple[Array, tuple[str | None, ...]]:
        if self.preprocessing is None:
            numbers = floats_of(x, "x").reshape(-1)
            if numbers.shape != (self.network.d,) or not np.isfinite(numbers).all():
                raise InputError(
                    f"x must be {self.network.d} finite numbers, as the network reads them"
                )
            return numbers, ()
        table = x
        if isinstance(x, Mapping):
            table = {name: np.atleast_1d(np.asarray(value)) for name, value in x.items()}
        elif not hasattr(x, "columns"):
            table = np.asarray(x, dtype=None if isinstance(x, np.ndarray) else object)
            table = table.reshape(1, -1) if table.ndim == 1 else table
        read = self.preprocessing.layout.read(table)
        lengths = {len(values) for values in read.values()}
        if lengths != {1}:
            raise InputError("x must be one row")
        numbers = np.array([read[name][0] for name in self.names], dtype=np.float64)
        return numbers, tuple(read[column.name][0] for column in self.categorical)

    def _radii(self, threat: Threat) -> Array:
        radii = self._per_column("radius", threat.radius, 0.0)
        if np.isnan(radii).any() or np.any(radii < 0.0):
            raise InputError("radius must not be negative")
        if threat.unit == "raw":
            return radii
        if threat.unit != "scale":
            raise InputError(f"unit must be one of {', '.join(UNITS)} (got {shown(threat.unit)})")
        if self.preprocessing is None or self.preprocessing.layout.scaling != "standardize":
            raise InputError(
                "unit 'scale' needs a network with standardized columns: use raw units"
            )
        return radii * self.deviations

    @property
    def deviations(self) -> Array:
        """The standard deviation of each numeric column, as the preprocessing has it."""
        assert self.preprocessing is not None
        scales, at = [], 0
        for column in self.preprocessing.layout.kept:
            if column.categories is None:
                scales.append(self.preprocessing.scales[at])
            at += len(column.feature_names)
        return np.array(scales)

    def _limits(self, limits: Any) -> tuple[Array, Array]:
        count = len(self.names)
        low, high = np.full(count, -np.inf), np.full(count, np.inf)
        if isinstance(limits, Mapping):
            for name, pair in limits.items():
                at = self._place(name)
                low[at], high[at] = _ends(pair, ())
        elif limits is not None:
            low, high = _ends(limits, (count,))
        if np.isnan([low, high]).any() or np.any(low > high):
            raise InputError("limits must be pairs (lowest, highest)")
        return low, high

    def _per_column(self, what: str, values: Any, otherwise: float) -> Array:
        full = np.full(len(self.names), otherwise)
        try:
            if not isinstance(values, Mapping):
                return np.broadcast_to(np.asarray(values, dtype=np.float64), full.shape).copy()
            for name, value in values.items():
                full[self._place(name)] = float(value)
        except InputError:
            raise
        except (TypeError, ValueError):
            raise InputError(
                f"{what} must be a number, {len(full)} numbers, or numbers by column name"
            ) from None
        return full

    def _place(self, name: Any) -> int:
        if name not in self.names:
            raise InputError(f"the network reads no numeric column {name!r}")
        return self.names.index(name)

    def _choices(self, choices: Mapping[str, Any] | None) -> tuple[tuple[str, ...], ...]:
        if choices is not None and not isinstance(choices, Mapping):
            raise InputError(
                f"choices must be categories, or True, by column name (got {shown(choices)})"
            )
        given = dict(choices or {})
        found: list[tuple[str, ...]] = []
        for column in self.categorical:
            wanted = given.pop(column.name, ())
            known = column.categories or ()
            if wanted is not True and (isinstance(wanted, str) or not isinstance(wanted, Iterable)):
                raise InputError(
                    f"choices of {column.name!r} must be several categories, or True for any "
                    f"(got {shown(wanted)})"
                )
            allowed = known if wanted is True else tuple(map(str, wanted))
            foreign = [value for value in allowed if value not in known]
            if foreign:
                raise InputError(f"column {column.name!r} has no category {shown(foreign[0])}")
            found.append(tuple(allowed))
        if given:
            raise InputError(f"the network reads no categorical column {next(iter(given))!r}")
        return tuple(found)

    def _asked(self, x: Any, label: Any) -> tuple[int, Array, int]:
        """The label's index (or -1), the band of scores, and the output it is of."""
        if getattr(label, "shape", ()) not in ((), (1,)):
            raise InputError(f"label must be one, of this row (got {shown(label)})")
        none = np.array([np.nan, np.nan])
        coding = None if self.preprocessing is None else self.preprocessing.target
        if coding is not None and coding.classes is None:
            if not (isinstance(label, Sequence) and len(label) == 2) or coding.shape:
                raise InputError(
                    "the network predicts a number: give label=(lowest, highest), what it may be"
                )
            try:
                low, high = (float(end) for end in label)
            except (TypeError, ValueError):
                low = high = np.nan
            if not low <= high:
                raise InputError(
                    f"label must be (lowest, highest), what may be predicted (got {shown(label)})"
                )
            # Inwards, so that what is proven of scores holds of predictions.
            # Of one target, whose offset and scale are numbers: `coding.shape` is empty.
            offset, scale = float(coding.offset), float(coding.scale)  # type: ignore[arg-type]
            ends = [(end - offset) / scale for end in (low, high)]
            inside = np.array([_stepped(ends[0], np.inf), _stepped(ends[1], -np.inf)])
            return -1, inside, 0
        if coding is not None:
            assert coding.classes is not None
            chosen = plain(label)
            if chosen not in coding.classes:
                raise InputError(f"label {shown(label)} is none of the network's classes")
            return coding.classes.index(chosen), none, 0
        return self._index(label), none, 0

    def _index(self, label: Any) -> int:
        """A label of a network without classes: a sign, or a whole number."""
        outputs = self.network.outputs if isinstance(self.network, LayeredNetwork) else None
        if isinstance(self.network, QuantizedNetwork):
            outputs = None if self.network.alpha.ndim == 1 else self.network.alpha.shape[1]
        if outputs is None:
            if label not in (-1, 1):
                raise InputError(
                    f"label must be -1 or +1, the sign of the score (got {shown(label)})"
                )
            return int(label > 0)
        index = _whole("label", label)
        if index >= max(outputs, 2):
            raise InputError(f"label {index} is none of the {outputs} outputs")
        return index


def _ends(pair: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Lowest and highest values, each a number or one a column; InputError for anything else."""
    try:
        low, high = (np.array(np.broadcast_to(np.asarray(e, float), shape)) for e in pair)
    except (TypeError, ValueError):
        raise InputError("limits must be pairs (lowest, highest)") from None
    return low, high


def _stepped(value: float, towards: float) -> float:
    """Some roundings further: `offset + scale * score` has two, and its inverse too."""
    return float(value + np.copysign(8.0 * UNIT * (1.0 + abs(value)), towards))


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{what} must be a whole number, 0 or more (got {shown(value)})")
    return int(value)


def raw_point(rows: Rows, question: Question, point: Array) -> Array:
    """The numbers of a raw row of the region whose prepared form is near a point (d,) of it."""
    layout = rows.preprocessing
    if layout is None:
        return _inside(question, point.copy())
    numbers, at, index = question.numbers.copy(), 0, 0
    ends = question.numbers - question.radii, question.numbers + question.radii
    for column in layout.layout.kept:
        width = len(column.feature_names)
        if column.categories is None:
            if question.radii[index] > 0.0:
                value = point[at : at + width] * np.array(layout.scales[at : at + width])
                value = value + np.array(layout.means[at : at + width])
                low, high = (float(end[index]) for end in ends)
                numbers[index] = _undone(layout.encoder, index, value, low, high)
            index += 1
        at += width
    return _inside(question, numbers)


def _undone(encoder: Any, index: int, value: Array, low: float, high: float) -> float:
    """A number of the column from low to high that is encoded near ``value``."""
    if isinstance(encoder, Thermometer):
        level = int((value > 0.0).sum())
        thresholds = encoder.thresholds[index]
        least = low if math.isfinite(low) else min(thresholds[0] - 1.0, high)
        return least if level == 0 else max(low, thresholds[level - 1])
    if isinstance(encoder, QuantileToNormal):
        scores, knots = encoder.scores[index], encoder.knots[index]
        found = float(np.interp(value[0], scores, knots))
        if value[0] <= scores[0]:
            return min(low, found) if math.isfinite(low) else found
        return max(high, found) if value[0] >= scores[-1] and math.isfinite(high) else found
    return float(value[0])


def _inside(question: Question, numbers: Array) -> Array:
    """The row, each number within its radius (of a ball all together) and limits, exactly."""
    present = ~np.isnan(question.numbers)
    if question.norm == "l2":
        moved = (question.radii > 0.0) & present
        for shrink in (1.0, 1.0 - 1e-15, 1.0 - 1e-12, 1.0 - 1e-9):
            delta = np.where(moved, numbers - question.numbers, 0.0) * shrink
            row = question.numbers + delta
            size = np.linalg.norm((row - question.numbers)[moved] / question.radii[moved])
            if size > 1.0:
                row = question.numbers + delta / size * shrink
            if within(question, row):
                return np.asarray(row)
        return question.numbers.copy()
    low = np.maximum(question.numbers - question.radii, question.lowest)
    high = np.minimum(question.numbers + question.radii, question.highest)
    row = np.where(present, np.clip(numbers, low, high), np.nan)
    for j in np.flatnonzero(present):
        x, own = Fraction(float(row[j])), Fraction(float(question.numbers[j]))
        if math.isfinite(question.radii[j]) and abs(x - own) > Fraction(float(question.radii[j])):
            row[j] = np.nextafter(row[j], question.numbers[j])
    return np.asarray(row)


def within(question: Question, numbers: Array) -> bool:
    """Whether a row of numbers (k,) lies in the question's region, in rational arithmetic."""
    total = Fraction(0)
    for j, (x, own) in enumerate(zip(numbers.tolist(), question.numbers.tolist(), strict=True)):
        if math.isnan(own) or x == own:
            if math.isnan(own) != math.isnan(x):
                return False
            continue
        radius = float(question.radii[j])
        delta = abs(Fraction(x) - Fraction(own))
        if not question.lowest[j] <= x <= question.highest[j]:
            return False
        if question.norm == "linf":
            if math.isfinite(radius) and delta > Fraction(radius):
                return False
        elif radius == 0.0:
            return False
        else:
            total += (delta / Fraction(radius)) ** 2
    return total <= 1
