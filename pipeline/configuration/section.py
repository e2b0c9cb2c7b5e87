"""What every section of a configuration is, and the numbers that several of them hold."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)
from pydantic_core import PydanticCustomError

from qnn.errors import InputError
from qnn.features.scalings import MOST_BIAS, check_bias
from qnn.numerics.weights import LEAST, MOST

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Radius = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Column = Annotated[str, Field(min_length=1)]

# Of the name of a run, as a folder's name must not be longer.
_MOST_LETTERS, _MOST_BYTES = 100, 240
# What an editor checks: JSON Schema's patterns know no letters but the listed ones.
_NAME = r"^[^\u0000-/:-@\[-`{-\u007f][^\u0000-,/:-@\[-^`{-\u007f]{0,99}$"


def _name(text: str) -> str:
    name = unicodedata.normalize("NFC", text)
    if not name or not name[0].isalnum() or not all(map(_may_hold, name)):
        raise PydanticCustomError("name", "must be a name")
    if len(name) > _MOST_LETTERS or len(name.encode()) > _MOST_BYTES:
        raise PydanticCustomError(
            "long_name",
            "must have at most {letters} letters, and {bytes} bytes in UTF-8",
            {"letters": _MOST_LETTERS, "bytes": _MOST_BYTES},
        )
    return name


def _may_hold(letter: str) -> bool:
    """Whether a name may hold it: a letter or digit of any script, a mark on one, a sign."""
    return letter.isalnum() or letter in "._-" or unicodedata.category(letter).startswith("M")


def name_of(text: str) -> str:
    """A name as a config may have it, of any text; "" where that has no letter and no digit."""
    letters = unicodedata.normalize("NFC", text)
    found = re.sub("\0+", "-", "".join(x if _may_hold(x) else "\0" for x in letters))
    found = found.strip("-._")
    while found and not found[0].isalnum():
        found = found[1:]
    return found[:_MOST_LETTERS].encode()[:_MOST_BYTES].decode(errors="ignore")


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": _NAME})]


# The last is not MLflow's own rule, but its filters find no name that has one.
_NO_MODEL_NAME = "/:'"


def _model_name(text: str) -> str:
    if set(text) & set(_NO_MODEL_NAME) or text.strip() in ("", ".", ".."):
        raise PydanticCustomError("model_name", "must be a name without '/', ':' and apostrophe")
    return text


ModelName = Annotated[
    str, AfterValidator(_model_name), Field(json_schema_extra={"pattern": r"^[^/:']+$"})
]


def how_told(value: Any) -> str:
    """Which branch of a union is meant: one for all columns, or one by name."""
    return "by_name" if isinstance(value, dict) else "of_all"


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] <= ends[1]:
        raise PydanticCustomError("fits", "must be two numbers, the lowest first")
    return ends


Ends = Annotated[tuple[float, float], AfterValidator(_ascending)]


def _bias(value: Any) -> int:
    try:
        return check_bias(value)
    except InputError:
        most = {"most": MOST_BIAS}
        raise PydanticCustomError(
            "bias", "must be true, false or a whole number up to {most}", most
        ) from None


Bias = Annotated[bool | Annotated[int, Field(ge=2, le=MOST_BIAS)], BeforeValidator(_bias)]
Valid = Annotated[
    Annotated[Ends, Tag("of_all")] | Annotated[dict[Column, Ends], Tag("by_name")],
    Discriminator(how_told),
]
Weight = Annotated[float, Field(ge=LEAST, le=MOST, allow_inf_nan=False)]
ClassWeight = Annotated[
    Annotated[Literal["balanced"], Tag("of_all")]
    | Annotated[dict[Column, Weight], Field(min_length=1), Tag("by_name")],
    Discriminator(how_told),
]


def refuse_repeated(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values; an error of pydantic's where one occurs twice."""
    twice = sorted({repr(value) for value in values if values.count(value) > 1})
    if twice:
        raise PydanticCustomError("distinct", "{twice} occurs twice", {"twice": ", ".join(twice)})
    return values


Distinct = AfterValidator(refuse_repeated)
NonEmpty = Field(min_length=1)


def one_or_several(value: Any) -> str:
    """Which branch of a union is meant: one value, or a list."""
    return "several" if isinstance(value, (list, tuple)) else "one"


def listed(value: Any) -> tuple[Any, ...]:
    """One value, or several, as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def alone(values: tuple[Any, ...]) -> Any:
    """A list of one is that one: it means the same, so that ids are the same."""
    return values[0] if len(values) == 1 else values


class Section(BaseModel):
    """A part of the configuration: immutable, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
