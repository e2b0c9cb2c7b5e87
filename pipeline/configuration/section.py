"""What every section of a configuration is, and the numbers that several of them hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from qnn.numerics.weights import LEAST, MOST

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Radius = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Column = Annotated[str, Field(min_length=1)]


def how_told(value: Any) -> str:
    """Which branch of a union is meant: one for all columns, or one by name."""
    return "by_name" if isinstance(value, dict) else "of_all"


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] <= ends[1]:
        raise PydanticCustomError("fits", "must be two numbers, the lowest first")
    return ends


Ends = Annotated[tuple[float, float], AfterValidator(_ascending)]
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
