"""Numbers, dates and labels as people and offices spell them, column by column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.features.tables import brief, without_words
from qnn.features.targets import Label

# A text column is taken for a spoilt numeric one where more than this share of it are numbers.
_MOSTLY = 0.5

#: how text spells true and false, in lower case
TRUTHS = {"true": 1.0, "false": 0.0}

_GROUP = "['’ \u00a0\u202f]"
_NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
_COMMA = re.compile(rf"[+-]?(\d+|\d{{1,3}}((\.|{_GROUP})\d{{3}})+),\d+", re.ASCII)
# As a number with grouped digits it would not read: the fraction has not three digits, or ….
_SURELY_COMMA = re.compile(
    rf"[+-]?(\d+,(\d{{1,2}}|\d{{4,}})|\d{{4,}},\d+|0\d*,\d+|\d{{1,3}}((\.|{_GROUP})\d{{3}})+,\d+)",
    re.ASCII,
)
_GROUPED = re.compile(rf"[+-]?\d{{1,3}}({_GROUP}\d{{3}})+(\.\d*)?", re.ASCII)
_COMMA_GROUPS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_SURELY_GROUPS = re.compile(r"[+-]?\d{1,3}((,\d{3})+\.\d*|(,\d{3}){2,})", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"
    r"|\d{1,2}[./]\d{1,2}[./]\d{2,4}( \d{1,2}:\d{2}(:\d{2})?)?",
    re.ASCII,
)

_AMOUNT = rf"[+-]?(\d[\d.,]*|\d{{1,3}}({_GROUP}\d{{3}})+([.,]\d+)?)"
_CLOCK = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?"
_UNITS = "numbers with a unit"
_QUANTITIES = {
    _UNITS: re.compile(rf"{_AMOUNT}[ \u00a0]?[%‰°€$£¥]C?|[€$£¥][ \u00a0]?{_AMOUNT}"
                                      rf"|{_AMOUNT}[ \u00a0]?[A-Za-zµ]{{1,4}}[²³23]?"),
    "times of the day": re.compile(rf"{_CLOCK}( ?[AaPp]\.?[Mm]\.?)?", re.ASCII),
    "durations": re.compile(rf"-?\d+ days?(,? {_CLOCK})?|{_CLOCK}|-?\d+:\d{{2}}:\d{{2}}", re.ASCII),
    "months": re.compile(r"\d{4}[-/](0[1-9]|1[0-2])|(0[1-9]|1[0-2])[./]\d{4}", re.ASCII),
}  # fmt: skip


def plain_numbers(
    values: np.ndarray, name: str, decimal: str | None, thousands: str | None
) -> np.ndarray:
    """A text column whose numbers have a decimal comma or grouped digits, as Python spells them.

    Other columns come back as they are. Told marks are taken out wherever they stand; marks are
    found where only one meaning fits all of the column. Raises InputError where a comma may be
    either mark.
    """
    present = [value.strip() for value in values if value is not None]
    if not present:
        return values
    if decimal is not None or thousands is not None:
        told = _told(decimal or ".", thousands)
        # A column whose text has no such mark is left alone.
        return _respelt(values, thousands, decimal or ".") if all(map(told, present)) else values
    if all(map(_WHOLE.fullmatch, present)):
        return values
    if all(_GROUPED.fullmatch(text) or _WHOLE.fullmatch(text) for text in present):
        return _respelt(values, None, ".")
    comma = all(_COMMA.fullmatch(text) or _WHOLE.fullmatch(text) for text in present)
    groups = all(_COMMA_GROUPS.fullmatch(text) or _plain(text) for text in present)
    if comma and any(map(_SURELY_COMMA.fullmatch, present)):
        return _respelt(values, ".", ",")
    if groups and any(map(_SURELY_GROUPS.fullmatch, present)):
        return _respelt(values, ",", ".")
    if comma or (groups and any("," in text for text in present)):
        row = next(row for row, value in enumerate(values) if value is not None and "," in value)
        raise InputError(
            f"column '{name}' looks like numbers with a comma, row {row + 1} {brief(values[row])}: "
            'set data.decimal or data.thousands to ","'
        )
    return values


def _plain(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d{1,3}(\.\d*)?", text, re.ASCII) is not None


def _told(decimal: str, thousands: str | None) -> Callable[[str], bool]:
    groups = "" if thousands is None else rf"({re.escape(thousands)}\d{{3}})*"
    pattern = re.compile(
        rf"[+-]?(\d+|\d{{1,3}}{groups})?({re.escape(decimal)}\d*)?(e[+-]?\d+)?", re.I | re.ASCII
    )
    return lambda text: any(map(str.isdigit, text)) and pattern.fullmatch(text) is not None


def _respelt(values: np.ndarray, thousands: str | None, decimal: str) -> np.ndarray:
    spelt = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if value is not None:
            text = re.sub(_GROUP, "", value.strip())
            text = text if thousands is None else text.replace(thousands, "")
            spelt[row] = text.replace(decimal, ".")
    return spelt


def is_number(value: str) -> bool:
    """Whether text spells a number ("nan" and "inf" do)."""
    return _NUMBER.fullmatch(value.strip()) is not None


def truth_of(value: Any) -> float:
    """A cell of true and false, or of 1 and 0, as a number; NaN where it is none."""
    if not isinstance(value, str):
        return np.nan if value is None else float(value)
    text = value.strip().lower()
    return TRUTHS.get(text, float(text) if is_number(text) else np.nan)


def looks_like_comma(value: str) -> bool:
    """Whether text is a number with a decimal comma."""
    return _COMMA.fullmatch(value.strip()) is not None


def all_dates(values: np.ndarray) -> bool:
    """Whether every present value is a date or a time stamp, and there is one."""
    present = [value for value in values if value is not None]
    return bool(present) and all(_DATE.fullmatch(value.strip()) for value in present)


def refuse_dates(values: np.ndarray, name: str) -> None:
    """Dates are no numbers, and as categories no later row would have one of them."""
    if values.dtype == object and all_dates(values):
        row = next(row for row, value in enumerate(values) if value is not None)
        raise InputError(
            f"column '{name}' holds dates (row {row + 1} {brief(values[row])}); list it in "
            "data.exclude, or all categorical columns in data.categorical to take each date for a "
            "category"
        )


def spelt_numbers(values: np.ndarray, name: str) -> bool:
    """Whether a text column is numeric; InputError where it nearly is."""
    present = [value for value in values if value is not None]
    count = sum(is_number(value) or looks_like_comma(value) for value in present)
    if _MOSTLY * len(present) < count < len(present):
        row = next(row for row, value in enumerate(values) if _is_text(value))
        raise InputError(
            f"column '{name}' looks numeric, but row {row + 1} holds {brief(values[row])}; "
            "correct it, list it in data.missing_values, or list all categorical columns in "
            "data.categorical"
        )
    return count == len(present)


def _is_text(value: Any) -> bool:
    return value is not None and not (is_number(value) or looks_like_comma(value))


def parse_numbers(
    values: np.ndarray, name: str, otherwise: str = "list the column in data.categorical"
) -> np.ndarray:
    """A column as float64; InputError, with what to do `otherwise`, where it holds other text."""
    if values.dtype != object:
        return values.astype(np.float64)
    for row, value in enumerate(values):
        if isinstance(value, str) and not is_number(value):
            raise InputError(
                f"column '{name}' should be numeric, but row {row + 1} holds "
                f"{brief(value)}; correct it, or {otherwise}"
            )
    return np.array([np.nan if value is None else float(value) for value in values])


def looks_like(values: np.ndarray) -> str | None:
    """What quantities a text column spells that are not read as numbers, with one; None: none."""
    present = [value.strip() for value in values if value is not None]
    if len(set(present)) > 2:
        for what, pattern in _QUANTITIES.items():
            units = {re.sub(r"[+\-\d.,\s'’]", "", text) for text in present}
            if len(units) > 1 and what == _UNITS:
                continue
            if all(map(pattern.fullmatch, present)):
                first = next(value for value in values if value is not None)
                return f"{what} (as {brief(first)})"
    return None


def labels_of(values: np.ndarray) -> list[Any]:
    """Labels as int where all are whole numbers, else float where all are numbers, else text.

    Text whose numbers would not tell as much stays text: see `_tell_as_much`.
    """
    if values.dtype == object:
        texts = set(values)
        if not all(map(is_number, texts)) or not _tell_as_much(texts):
            return [str(value) for value in values]
        values = np.array([float(value) for value in values])
    whole = all(float(value).is_integer() for value in values)
    return [int(value) if whole else float(value) for value in values]


def _tell_as_much(texts: set[str]) -> bool:
    """Whether numbers as float64 keep apart what texts keep apart; finite ones, whole ones exactly.

    "01" and "1" are two names, as are "1e3" and "1000"; "1", " +1" and "1.0" are one.
    """
    numbers = {float(text) for text in texts}
    if not all(map(math.isfinite, numbers)) or len(numbers) < len(set(map(_digits, texts))):
        return False
    return not any(
        float(text).is_integer() and Decimal(text.strip()) != Decimal(float(text)) for text in texts
    )


def _digits(number: str) -> tuple[str, str, str, int]:
    """Sign, digits before and after the point, and power of ten, as they stand in a text.

    Without zeros at the end of a fraction, a plus sign, and the sign of zero.
    """
    mantissa, _, power = number.strip().lower().partition("e")
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    sign = "-" if mantissa.startswith("-") and float(number) else ""
    return sign, whole or "0", fraction.rstrip("0"), int(power or 0)


def without_nan(values: np.ndarray) -> np.ndarray:
    """A column (n,) with None for NaN, however spelt, where its text spells numbers alone."""
    if values.dtype != object:
        return values
    texts = {value for value in values if value is not None}
    words = {text for text in texts if text.strip().lstrip("+-").lower() == "nan"}
    return without_words(values, words) if words and all(map(is_number, texts)) else values


def same_label(label: Label, given: Label) -> bool:
    """Whether a label is the one given, as YAML reads it: "1" is 1, and true is "true"."""
    if isinstance(label, bool) and isinstance(given, str):
        return given.lower() in (str(label).lower(), str(int(label)))
    if isinstance(label, str) and isinstance(given, bool):
        return label.lower() == str(given).lower()
    return label == given or str(label) == str(given)
