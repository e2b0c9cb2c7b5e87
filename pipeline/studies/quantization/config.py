"""The config of a study of post-training quantization."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.configuration.section import Name, Section
from pipeline.configuration.settings import Resources, TrackingConfig

Method = Literal["rtn_range", "rtn", "gptq", "descent", "adaquant", "kbest"]
Source = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0)]


class ModelConfig(Section):
    """A float network: an ONNX file."""

    source: Source


class LabelsConfig(Section):
    """The class of each row, a whole number from 0: a file of one column. Only for the accuracy."""

    source: Source


class RowsConfig(Section):
    """The networks' inputs, a file of rows; `held_out` of them never reach the calibration.

    `calibration`: the most rows that a quantization is given.
    """

    source: Source
    labels: LabelsConfig | None = None
    held_out: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.25
    calibration: Annotated[int, Field(ge=8)] = 1024


class QuantizationConfig(Section):
    """Models × methods × budgets (stored bits a weight) × seeds of the split."""

    kind: Literal["quantization"]
    name: Name
    data: RowsConfig
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)]
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = ("rtn", "gptq", "kbest")
    budgets: Annotated[tuple[float, ...], Field(min_length=1)] = (2.0, 3.0, 4.0)
    bits: Annotated[tuple[int, ...], Field(min_length=1)] = (2, 3, 4, 8)
    certify: Literal["none", "bound", "scale", "joint"] = "scale"
    group: Literal["neuron", "layer"] = "neuron"
    tune: Literal["bias", "statistics", "both", "none"] = "bias"
    activation_bits: Literal[4, 8] = 8
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()

    @property
    def experiment(self) -> str:
        """The MLflow experiment's name."""
        return self.tracking.experiment or self.name
