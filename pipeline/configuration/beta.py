"""β as a person writes it: a number, or a fraction of the β from which on nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from pipeline.configuration.section import Fraction, NonEmpty, Positive, Section, refuse_repeated
from qnn.errors import InputError

BetaForm = Literal["fractions", "values"]


@dataclass(frozen=True)
class Beta:
    """A point of a path: `written` is a fraction of β_max or a value, as `form` says.

    `maximum` is β_max, None before any data are seen.
    """

    written: float
    form: BetaForm
    maximum: float | None = None

    def resolve(self, maximum: float) -> Beta:
        """The same for data on which all networks are zero from `maximum` on.

        Raises `InputError` for a fraction of 0.
        """
        if self.form == "fractions" and maximum <= 0:
            raise InputError(
                "beta_max is 0 on this shard (all targets are 0), so fractions of it mean nothing; "
                "give beta.values"
            )
        return replace(self, maximum=maximum)

    @property
    def value(self) -> float | None:
        """The price of a neuron; None as long as it hangs on β_max."""
        if self.form == "values":
            return self.written
        return None if self.maximum is None else self.written * self.maximum

    @property
    def fraction(self) -> float | None:
        """The share of β_max; None as long as that is not known. A value is no fraction of 0."""
        if self.form == "fractions":
            return self.written
        if self.maximum is None or self.maximum <= 0:
            return None
        return self.written / self.maximum

    @property
    def columns(self) -> dict[str, Any]:
        """The point as the columns of a row."""
        return {"beta": self.value, "beta_fraction": self.fraction, "beta_max": self.maximum}


def column_of(form: BetaForm) -> str:
    """The column of the results that has β as it was written."""
    return "beta_fraction" if form == "fractions" else "beta"


class LogSpacing(Section):
    """Points evenly spaced in the logarithm, from `start` to `stop`."""

    start: Fraction
    stop: Fraction
    count: Annotated[int, Field(ge=2, le=1000)]

    def points(self) -> tuple[Beta, ...]:
        """The points to 6 digits, so that they are the same numbers on every machine."""
        step = (self.stop / self.start) ** (1 / (self.count - 1))
        inner = (float(f"{self.start * step**k:.6g}") for k in range(1, self.count - 1))
        return tuple(Beta(one, "fractions") for one in (self.start, *inner, self.stop))


@dataclass(frozen=True)
class _ReadAs:
    """Of a number in a config: it is read as a β of this form, and written as the number."""

    form: BetaForm
    number: Any

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda number: Beta(number, self.form),
            handler.generate_schema(self.number),
            serialization=core_schema.plain_serializer_function_ser_schema(
                attrgetter("written"), return_schema=core_schema.float_schema()
            ),
        )


def _refuse_repeated(points: tuple[Beta, ...]) -> tuple[Beta, ...]:
    refuse_repeated(tuple(point.written for point in points))
    return points


_DistinctBetas = AfterValidator(_refuse_repeated)


def _how_given(value: Any) -> str:
    spaced = isinstance(value, (dict, LogSpacing))
    return "spaced" if spaced else "listed"


class BetaConfig(Section):
    """β as fractions of each shard's beta_max, listed or log-spaced, or as plain values."""

    fractions: (
        Annotated[
            Annotated[
                tuple[Annotated[Beta, _ReadAs("fractions", Fraction)], ...],
                NonEmpty,
                _DistinctBetas,
                Tag("listed"),
            ]
            | Annotated[LogSpacing, Tag("spaced")],
            Discriminator(_how_given),
        ]
        | None
    ) = None
    values: (
        Annotated[
            tuple[Annotated[Beta, _ReadAs("values", Positive)], ...], NonEmpty, _DistinctBetas
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _one_of_two(self) -> BetaConfig:
        if (self.fractions is None) == (self.values is None):
            raise PydanticCustomError("one_of", "give either fractions or values, not both or none")
        _refuse_repeated(self._given)
        return self

    @property
    def form(self) -> BetaForm:
        """Which of the two was given."""
        return "values" if self.values is not None else "fractions"

    @property
    def points(self) -> tuple[Beta, ...]:
        """Every β, from large to small: the order of the path."""
        return tuple(sorted(self._given, key=attrgetter("written"), reverse=True))

    @property
    def _given(self) -> tuple[Beta, ...]:
        given = self.values or self.fractions or ()
        return given.points() if isinstance(given, LogSpacing) else given
