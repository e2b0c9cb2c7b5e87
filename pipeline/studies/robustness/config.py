"""The config of a study of robustness."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pipeline.configuration.section import Column, Name, Radius, Section, Valid, how_told
from pipeline.configuration.settings import Resources, TrackingConfig

Norm = Literal["linf", "l2"]
Radii = Annotated[
    Annotated[tuple[Radius, ...], Field(min_length=1), Tag("of_all")]
    | Annotated[dict[Column, Radius], Field(min_length=1), Tag("by_name")],
    Discriminator(how_told),
]


class NetworkConfig(Section):
    """A network's npz file, an ONNX model, or the folder of a training sweep.

    Of a folder: of its last refit the network with the lowest training objective; with `each` of
    its first shard one for every kind of problem, β and width.
    """

    name: Name
    source: Annotated[str, Field(min_length=1)]
    each: bool = False


class RowsConfig(Section):
    """The file of the raw rows; `limit`: the first so many."""

    source: Annotated[str, Field(min_length=1)]
    target: str | None = None
    limit: Annotated[int, Field(ge=1)] | None = None


class RobustnessConfig(Section):
    """Networks × norms × radii × blocks of rows; see `qnn.robustness.certify`.

    radii: of all columns, or one by name, times each of `factors` (others stay). unit "range": of
    the radius, each column's largest less smallest value in the file. limits: the values that
    columns may have. flip: categorical columns that may change, all at once. largest: also each
    row's largest certified radius (by name: factor).
    """

    kind: Literal["robustness"]
    name: Name
    networks: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)]
    data: RowsConfig
    radii: Radii
    factors: Annotated[tuple[Radius, ...], Field(min_length=1)] = (1.0,)
    norms: Annotated[tuple[Norm, ...], Field(min_length=1)] = ("linf",)
    unit: Literal["raw", "scale", "range"] = "raw"
    effort: Literal["interval", "crown", "dual", "exact"] = "exact"
    solver: Literal["auto", "second_order", "first_order"] = "auto"
    limits: Valid | None = None
    flip: tuple[Column, ...] = ()
    largest: bool = False
    nodes: Annotated[int, Field(ge=0)] = 2_000
    block: Annotated[int, Field(ge=1, le=100_000)] = 25
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _fits_together(self) -> RobustnessConfig:
        if self.factors != (1.0,) and not isinstance(self.radii, dict):
            raise PydanticCustomError("fits", "factors go with radii by column name")
        if self.limits is not None and "l2" in self.norms:
            raise PydanticCustomError("fits", "limits go with the norm linf, not with l2")
        if len(set(self.flip)) < len(self.flip):
            raise PydanticCustomError("fits", "flip: a column occurs twice")
        return self

    @property
    def shape(self) -> dict[str, float] | None:
        """The radii by column, None for one of all columns."""
        return dict(self.radii) if isinstance(self.radii, dict) else None

    @property
    def steps(self) -> tuple[float, ...]:
        """The radii of all columns, or the factors of those by column, ascending."""
        steps = self.factors if isinstance(self.radii, dict) else self.radii
        return tuple(sorted(set(steps)))

    @property
    def experiment(self) -> str:
        """The MLflow experiment's name."""
        return self.tracking.experiment or self.name
