"""The config of a study of Bell scenarios."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.configuration.section import Name, Section
from pipeline.configuration.settings import Resources, TrackingConfig

Set = Literal["U", "N", "B", "plane"]
Level = Literal["1", "1+AB", "2", "3"]
AtLeastOne = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
# The hidden layers of an architecture.
Width = Annotated[int, Field(ge=1, le=4096)]
Hidden = Annotated[tuple[Width, ...], Field(min_length=1, max_length=7)]


def refuse_set(section: Section, names: tuple[str, ...], why: str) -> None:
    """Raise PydanticCustomError for the first of these fields that is not what it is by default."""
    for name in names:
        if getattr(section, name) != type(section).model_fields[name].default:
            raise PydanticCustomError("unused", f"{name} {why}")


class BehavioursConfig(Section):
    """Which behaviours: sample sets, or a Parquet file, a behaviour a row.

    `count` behaviours of each set and seed; "plane" has instead a grid of `points` by `points`.
    """

    source: Annotated[str, Field(min_length=1)] | None = None
    sets: tuple[Set, ...] = ()
    count: AtLeastOne = 10_000
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    points: Annotated[int, Field(ge=2, le=2001)] = 101

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.source is None) == (not self.sets):
            raise PydanticCustomError("one_of", "give either source, a Parquet file, or sets")
        if self.source is not None:
            refuse_set(
                self, ("count", "seeds", "points"), "is about sets: a source has its own rows"
            )
        return self


class NetworksConfig(Section):
    """Networks that foretell where the steps start: architectures × training budgets × seeds.

    `cold`: the steps without one too, to compare; `shipped`: the package's network too.
    """

    widths: tuple[Hidden, ...] = ()
    training: Annotated[tuple[AtLeastOne, ...], Field(min_length=1)] = (12_000,)
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    shipped: bool = False
    cold: bool = True

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.widths and not self.shipped:
            raise PydanticCustomError("one_of", "give widths, as [[64, 64]], or shipped: true")
        if not self.widths:
            refuse_set(self, ("training", "seeds"), "is about networks to train: give widths too")
        return self


class BellConfig(Section):
    """Scenarios × levels × sets × seeds × steps × networks; some certificates of a block are kept.

    `certificates`: how many of each block.
    """

    kind: Literal["bell"]
    name: Name
    data: BehavioursConfig
    scenarios: Annotated[tuple[str, ...], Field(min_length=1)] = ("2222",)
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = ("1+AB",)
    steps: Annotated[tuple[AtLeastOne, ...], Field(min_length=1)] = (30,)
    networks: NetworksConfig | None = None
    fallback: Literal["clarabel"] | None = "clarabel"
    block: Annotated[int, Field(ge=1, le=1_000_000)] = 5_000
    certificates: Annotated[int, Field(ge=0, le=10_000)] = 4
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()

    @property
    def experiment(self) -> str:
        """The MLflow experiment's name."""
        return self.tracking.experiment or self.name
