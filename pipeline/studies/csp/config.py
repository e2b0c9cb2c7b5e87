"""The config of a study of constraint satisfaction over pairs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.configuration.section import Distinct, Name, Positive, Section, Seed
from pipeline.configuration.settings import Resources, TrackingConfig

Rule = Literal["auto", "corr", "corr_dual", "dual", "undecided", "random"]
Cuts = Literal["auto", "none", "triangles", "odd"]


class PlantedConfig(Section):
    """Unique games with a hidden assignment that breaks a share `noise`, one of each seed."""

    n: Annotated[int, Field(ge=2)]
    k: Annotated[int, Field(ge=2)]
    degree: Positive
    noise: Annotated[float, Field(ge=0, le=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), Distinct] = (0,)


class CspConfig(Section):
    """Instances × rounds × rules × seeds of the solver.

    `instances`: names as g05_60.0, or files in rudy's format or of WCSP, beside the config or else
    in the current folder. `exact`: also the tree that goes on until the maximum is proven.
    `time_limit`: seconds of a solve; with one, results depend on the machine.
    """

    kind: Literal["csp"]
    name: Name
    instances: Annotated[tuple[str, ...], Distinct] = ()
    planted: tuple[PlantedConfig, ...] = ()
    rounds: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Distinct
    ] = (0, 1, 2)  # fmt: skip
    exact: bool = False
    rules: Annotated[tuple[Rule, ...], Field(min_length=1), Distinct] = ("auto",)
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), Distinct] = (0,)
    cuts: Cuts = "auto"
    time_limit: Positive | None = None
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _any_instance(self) -> Self:
        if not self.instances and not self.planted:
            raise PydanticCustomError("some", "give instances, planted, or both")
        if not self.rounds and not self.exact:
            raise PydanticCustomError("some", "rounds must not be empty unless exact is true")
        return self

    @property
    def depths(self) -> tuple[int | None, ...]:
        """The numbers of rounds; None for the exact tree."""
        return (*self.rounds, None) if self.exact else self.rounds

    @property
    def experiment(self) -> str:
        """The MLflow experiment's name."""
        return self.tracking.experiment or self.name
