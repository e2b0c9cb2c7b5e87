"""What every section of a configuration is, and the numbers that several of them hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

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


class Section(BaseModel):
    """A part of the configuration: immutable, no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
