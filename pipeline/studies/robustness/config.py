"""The config of a study of robustness."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.configuration.section import Section
from pipeline.configuration.settings import Resources, TrackingConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Radius = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Norm = Literal["linf", "l2"]


class NetworkConfig(Section):
    """A network's npz file, an ONNX model, or the folder of a training sweep.

    Of a folder: of its last refit the network with the lowest training objective.
    """

    name: Name
    source: Annotated[str, Field(min_length=1)]


class RowsConfig(Section):
    """The file of the raw rows; `limit`: the first so many."""

    source: Annotated[str, Field(min_length=1)]
    target: str | None = None
    limit: Annotated[int, Field(ge=1)] | None = None


class RobustnessConfig(Section):
    """Networks × norms × radii × blocks of rows; see `qnn.robustness.certify`.

    unit "range": of the radius, each column's largest less smallest value in the file.
    """

    kind: Literal["robustness"]
    name: Name
    networks: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)]
    data: RowsConfig
    radii: Annotated[tuple[Radius, ...], Field(min_length=1)]
    norms: Annotated[tuple[Norm, ...], Field(min_length=1)] = ("linf",)
    unit: Literal["raw", "scale", "range"] = "raw"
    effort: Literal["interval", "crown", "dual", "exact"] = "exact"
    limits: tuple[float, float] | None = None
    nodes: Annotated[int, Field(ge=0)] = 2_000
    block: Annotated[int, Field(ge=1, le=100_000)] = 25
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()

    @property
    def experiment(self) -> str:
        """The MLflow experiment's name."""
        return self.tracking.experiment or self.name
