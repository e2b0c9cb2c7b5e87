"""The config of a distributed sweep: a training one with `distributed:`, on all rows at once."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipeline.configuration.beta import BetaConfig
from pipeline.configuration.section import Name, Section
from pipeline.configuration.settings import (
    DataConfig,
    PreprocessingConfig,
    RelaxationConfig,
    Resources,
    Seed,
    Task,
    TrackingConfig,
)
from pipeline.configuration.vocabularies import Loss
from pipeline.datasets.blocks.statistics import Asked
from qnn.features.scalings import SCALINGS
from qnn.losses import LOSSES, MarginLoss


class BlocksConfig(Section):
    """Into how many blocks the rows are cut, and how many actors share them.

    Results depend on `blocks`, not on `actors`. `memory`: bytes of rows that an actor may keep
    instead of reading them again; `restarts` of a lost actor, -1: as often as it takes.
    """

    blocks: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    actors: Annotated[int, Field(ge=1)] = 2
    memory: Annotated[int, Field(ge=0)] = 1 << 30
    restarts: Annotated[int, Field(ge=-1)] = -1


class DistributedConfig(Section):
    """One table of rows × βs. All rows are trained on: there are no shards and no test rows."""

    kind: Literal["distributed"] = "distributed"
    name: Name
    data: DataConfig
    task: Task = "classification"
    loss: Loss = "squared"
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    beta: BetaConfig
    relaxation: RelaxationConfig = RelaxationConfig(tol=1e-2)
    seed: Seed = 0
    distributed: BlocksConfig
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        data = self.data
        if len(data.targets) > 1:
            raise PydanticCustomError("fits", "distributed sweeps have one target")
        if data.missing_target != "refuse":
            raise PydanticCustomError("fits", "distributed sweeps refuse missing targets")
        if data.constant_columns != "drop":
            raise PydanticCustomError("fits", "distributed sweeps drop constant columns")
        if SCALINGS[self.preprocessing.scaling].weighted:
            raise PydanticCustomError(
                "fits", "distributed sweeps weight no columns: use scaling: standardize"
            )
        if self.preprocessing.compact:
            raise PydanticCustomError(
                "fits", "distributed sweeps round no means and thresholds: remove compact"
            )
        if self.preprocessing.columns is not None:
            raise PydanticCustomError(
                "fits", "distributed sweeps read all features: list them in data.features"
            )
        if self.task == "regression" and issubclass(LOSSES[self.loss], MarginLoss):
            raise PydanticCustomError("fits", "this loss takes two classes: set task or loss")
        return self

    @property
    def asked(self) -> Asked:
        """What the columns are read for."""
        data, scaled = self.data, self.preprocessing
        return Asked(
            scaled.scaling, scaled.thresholds, scaled.bias, scaled.clip, data.missing,
            data.missing_values, data.categorical,
        )  # fmt: skip

    @property
    def experiment(self) -> str:
        """The MLflow experiment's name."""
        return self.tracking.experiment or self.name
