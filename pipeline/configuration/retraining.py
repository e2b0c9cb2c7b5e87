"""The section of retraining: what is trained on, what judges, what a network must pass."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from pipeline.configuration.section import (
    Column,
    Fraction,
    Positive,
    Radius,
    Section,
    Seed,
    Valid,
    how_told,
)


class AllPartitions(Section):
    """Train on every partition."""

    kind: Literal["all"]


class LastPartitions(Section):
    """Train on the last so many partitions."""

    kind: Literal["last"]
    partitions: Annotated[int, Field(ge=1)]


class RollingRows(Section):
    """Train on the last so many rows, the oldest partition cut where it must be."""

    kind: Literal["rolling"]
    rows: Annotated[int, Field(ge=2)]


class FreshestPartitions(Section):
    """Judge on the last partitions, which nothing is trained on until newer ones come."""

    kind: Literal["freshest"]
    partitions: Annotated[int, Field(ge=1)] = 1


class FractionOfNew(Section):
    """Judge on a share of the rows of each new partition; the others are trained on."""

    kind: Literal["fraction"]
    fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed = 0


Window = Annotated[AllPartitions | LastPartitions | RollingRows, Field(discriminator="kind")]
Judges = Annotated[FreshestPartitions | FractionOfNew, Field(discriminator="kind")]


class RobustnessGate(Section):
    """How many of the judging rows must be provably correct whatever happens within a radius.

    `radius`: of all columns, or by name; the other keys are those of a study of robustness.
    """

    radius: Annotated[
        Annotated[Radius, Tag("of_all")]
        | Annotated[dict[Column, Radius], Field(min_length=1), Tag("by_name")],
        Discriminator(how_told),
    ]
    certified_accuracy: Annotated[float, Field(ge=0, le=1)]
    norm: Literal["linf", "l2"] = "linf"
    unit: Literal["raw", "scale", "range"] = "raw"
    limits: Valid | None = None
    flip: tuple[Column, ...] = ()
    effort: Literal["interval", "crown", "dual", "exact"] = "exact"
    nodes: Annotated[int, Field(ge=0)] = 2_000


class RetrainConfig(Section):
    """What `qnn retrain` trains on, and what a network must pass to replace the champion.

    `tolerance`: accuracy that may be lost, or the share by which the RMSE may grow; `significance`:
    the p-value up to which a loss counts; `drift_threshold`: a PSI above it is reported;
    `keep_runs`: the newest runs whose folders stay (None: all).
    """

    window: Window = AllPartitions(kind="all")
    hold_out: Judges = FreshestPartitions(kind="freshest")
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.01
    significance: Fraction = 0.05
    max_bytes: Annotated[int, Field(ge=1)] | None = None
    drift_threshold: Positive = 0.25
    keep_runs: Annotated[int, Field(ge=1)] | None = 30
    robustness: RobustnessGate | None = None
