"""From numbers to places on an axis, and which numbers are written there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.reports.figures.chart import Axis

Array = np.ndarray
# So many values of an axis are all written on it; of more, round numbers are.
MOST_VALUES = 8
CHARACTER = 7.0
"""Pixels that a character of the figures' text takes at most, in the mean; of bold text `BOLD`."""
BOLD = 8.0


@dataclass(frozen=True)
class Scale:
    """An axis between two places in pixels; `low` and `high` are numbers, above 0 where `log`."""

    axis: Axis
    low: float
    high: float
    start: float
    end: float

    def place(self, values: Sequence[float] | Array) -> Array:
        """Where numbers lie, (n,) to (n,); what is not positive on a logarithm, at its low end."""
        numbers = np.asarray(values, dtype=float)
        low, high = self.low, self.high
        if self.axis.log:
            numbers = np.log(np.where(numbers > 0, np.maximum(numbers, low), low))
            low, high = np.log(low), np.log(high)
        share = (numbers - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, spacing: float) -> list[tuple[float, str]]:
        """Places and texts, so that about so many pixels lie between them."""
        most = max(2, int(abs(self.end - self.start) / spacing))
        if self.axis.names:
            texts = list(zip(self.axis.values, self.axis.names, strict=True))
        else:
            texts = [(value, written(value) + self.axis.unit) for value in self._numbers(most)]
        if self.axis.log and self.axis.floor is not None:
            above = [(value, text) for value, text in texts if value > 1.5 * self.low]
            texts = [(self.low, f"0{self.axis.unit}"), *above]
        return [(float(self.place([value])[0]), text) for value, text in texts]

    def _numbers(self, most: int) -> list[float]:
        found = self._round_numbers(most)
        return [value for value in found if value % 1 == 0] if self.axis.whole else found

    def _round_numbers(self, most: int) -> list[float]:
        inside = (self.low * (1 - 1e-9) if self.axis.log else self.low, self.high)
        if self.axis.values and len(self.axis.values) <= min(most, MOST_VALUES):
            return [v for v in self.axis.values if inside[0] <= v <= inside[1] * (1 + 1e-9)]
        if self.axis.log and self.high / self.low >= 4.0:
            return decades(self.low, self.high, most)
        return even_steps(self.low, self.high, most)


def scale_of(axis: Axis, values: Array, start: float, end: float, margin: float = 0.04) -> Scale:
    """The scale that an axis needs for these numbers; what is not finite is left out."""
    numbers = values[np.isfinite(values)]
    if axis.log:
        numbers = numbers[numbers > 0]
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (1.0, 2.0)
    if axis.log:
        if axis.floor is not None:
            low = min(low, axis.floor)
        wide = max((high / low) ** margin, 1.0 if spread(low, high) else 2.0)
        low, high = (low if axis.floor is not None else low / wide), high * wide
    else:
        wide = margin * spread(low, high) or 0.5 * abs(high) or 0.5
        low, high = low - wide, high + wide
    if axis.whole:
        # So that two of its numbers at least are whole.
        low, high = max(np.floor(low), 1.0 if axis.log else -np.inf), np.ceil(high)
    low = low if axis.low is None else axis.low
    high = high if axis.high is None else axis.high
    if not spread(low, high) > 0.0:
        high = 2.0 * low if low > 0 else low + 1.0
    return Scale(axis, low, high, start, end)


def spread(low: float, high: float) -> float:
    """How far two numbers are apart; 0 where that may be their rounding, which no tick can tell."""
    return high - low if high - low > 1e-9 * max(abs(low), abs(high)) else 0.0


def even_steps(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two, at most so many, at equal distances."""
    rough = (high - low) / max(most, 1)
    size = 10.0 ** np.floor(np.log10(rough))
    step = next(size * k for k in (1, 2, 2.5, 5, 10, 20) if size * k >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    found = step * np.arange(first, np.floor(high / step + 1e-9) + 1)
    return [0.0 if abs(value) < 1e-9 * step else float(f"{value:.10g}") for value in found]


def decades(low: float, high: float, most: int) -> list[float]:
    """Powers of ten between two numbers, with 3 or 2 and 5 between them where there is room."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for parts in ((1, 2, 5), (1, 3), (1,)):
        found = [float(f"{p}e{e}") for e in exponents for p in parts]
        found = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


_UPPER = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def written(value: float) -> str:
    """A number as an axis has it: 0.03, 250, 12k, 10⁻⁶."""
    size = abs(value)
    if size and size < 1e-4:
        digits, exponent = f"{value:.0e}".split("e")
        power = f"10{str(int(exponent)).translate(_UPPER)}"
        return power if digits == "1" else f"{digits}·{power}"
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if size >= 1e4 else f"{value:.4g}"


def wrapped(text: str, pixels: float) -> list[str]:
    """Text broken at blanks into lines of about so many pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and CHARACTER * len(longer) > pixels:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
