"""The fields of a sweep's configuration, one frozen record a section.

What a field may hold stands here alone, but for the names of losses, solvers, arms and their like,
which are those of the registries (`vocabularies.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pipeline.configuration.beta import BetaConfig
from pipeline.configuration.kinds import (
    Activation,
    Kind,
    Orthogonalities,
    baseline_problems,
    network_problems,
    orthogonality_problems,
)
from pipeline.configuration.metric import METRICS, MetricName, metric_for
from pipeline.configuration.retraining import RetrainConfig
from pipeline.configuration.section import (
    Bias,
    ClassWeight,
    Distinct,
    ModelName,
    Name,
    NonEmpty,
    Positive,
    Section,
    Seed,
    alone,
    listed,
    one_or_several,
)
from pipeline.configuration.vocabularies import (
    Alphabet,
    Baseline,
    Certify,
    Loss,
    Rounding,
    Scaling,
    SecondLayer,
    Solver,
)
from qnn.features.noise import Noise
from qnn.features.scalings import SCALINGS
from qnn.features.targets import ONE_VS_REST
from qnn.losses import LOSSES, takes_parameter
from qnn.losses.base import MarginLoss
from qnn.training.arms import ARMS

Task = Literal["classification", "regression"]

Label = str | int | float | bool


class DataConfig(Section):
    """Where the table is and what its columns are; several targets are those of a regression."""

    source: Annotated[str, Field(min_length=1)]
    target: Annotated[
        Annotated[str, Tag("one")]
        | Annotated[tuple[str, ...], NonEmpty, Distinct, AfterValidator(alone), Tag("several")],
        Discriminator(one_or_several),
    ] = "target"
    positive: Label | None = None
    features: Annotated[tuple[str, ...], NonEmpty, Distinct] | None = None
    exclude: Annotated[tuple[str, ...], Distinct] = ()
    categorical: Annotated[tuple[str, ...], Distinct] | None = None
    missing: Literal["refuse", "impute"] = "refuse"
    missing_values: tuple[str, ...] = ()
    missing_target: Literal["refuse", "drop"] = "refuse"
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] | None = None
    thousands: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: str | None = None
    comment: Annotated[str, Field(min_length=1)] | None = None
    constant_columns: Literal["drop", "keep"] = "drop"

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns, one or several."""
        return listed(self.target)


class PreprocessingConfig(Section):
    """What is done to the features; fitted on training rows only."""

    scaling: Scaling = "standardize"
    thresholds: Annotated[int, Field(ge=1, le=255)] = 3
    clip: Positive | None = None
    bias: Bias = True
    compact: bool = False
    columns: Annotated[tuple[str, ...], NonEmpty, Distinct] | None = None

    @model_validator(mode="after")
    def _numbers_that_round(self) -> PreprocessingConfig:
        if self.compact and not SCALINGS[self.scaling].rounds:
            raise PydanticCustomError(
                "fits",
                "compact means nothing to this scaling; remove it, or choose standardize, "
                "weighted or thermometer",
            )
        return self

    @model_validator(mode="after")
    def _no_clip_of_bits(self) -> PreprocessingConfig:
        if self.clip is not None and SCALINGS[self.scaling].bits:
            raise PydanticCustomError(
                "fits", "clip means nothing to bits; remove it, or choose another scaling"
            )
        return self


class HoldOut(Section):
    """Rows that are never used to choose anything; fraction 0: none.

    `column`: they are the rows where this column is 1 or true; fraction and seed are not used.
    """

    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.2
    seed: Seed = 0
    column: str | None = None


class NoiseConfig(Section):
    """Each training row once more for each copy, with noise in its numbers: for robustness."""

    deviation: Annotated[float, Field(gt=0, le=100)] = 1.0
    copies: Annotated[int, Field(ge=1, le=100)] = 3
    seed: Seed = 0

    @property
    def of_rows(self) -> Noise:
        """What makes the rows."""
        return Noise(self.deviation, self.copies, self.seed)


class KFold(Section):
    """Every row is in one validation fold, and in the training part of all other shards."""

    kind: Literal["kfold"]
    count: Annotated[int, Field(ge=2)]
    seed: Seed = 0


class Parts(Section):
    """Disjoint parts, each split into training and validation rows."""

    kind: Literal["parts"]
    count: Annotated[int, Field(ge=1)]
    seed: Seed = 0
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


class ByColumn(Section):
    """One part for each value of a column (a date, a site), split as `Parts` are."""

    kind: Literal["column"]
    column: str
    seed: Seed = 0
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2


Shards = Annotated[KFold | Parts | ByColumn, Field(discriminator="kind")]


class RelaxationConfig(Section):
    """How each SDP is solved; `time_limit` in seconds."""

    solver: Solver = "auto"
    tol: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    time_limit: Positive | None = None


class TrackingConfig(Section):
    """Where MLflow keeps the run; null: the sweep's name, and MLFLOW_TRACKING_URI or the folder."""

    experiment: Annotated[str, Field(min_length=1)] | None = None
    top: Annotated[int, Field(ge=0)] = 5
    registered_model: ModelName | None = None
    uri: Annotated[str, Field(min_length=1)] | None = None


class Resources(Section):
    """What a Ray task asks for, how often a lost one is retried, how many are under way at once.

    `memory_per_task` in bytes; null: as the plan estimates.
    """

    cpus_per_task: Positive = 1.0
    max_retries: Annotated[int, Field(ge=0)] = 3
    max_in_flight: Annotated[int, Field(ge=1)] | None = None
    memory_per_task: Annotated[int, Field(ge=1)] | None = None


class SweepConfig(Section):
    """One sweep: shards × kinds of problem × β × seeds × widths × roundings on one table.

    Several of `loss`, `activation` or `alphabet` make a kind of problem of each with each.
    `metric`: what the best setting is chosen by, on validation rows (None: as `chosen_by`).
    `class_weight`: what the rows of a class count for in the loss, by label (None: 1).
    `multi_class`: how more than two classes become outputs, each against the rest or in pairs.
    `certify_time_limit`: seconds that raising the bound of one SDP may take (None: 600 for exact
    proofs beyond 34 columns, where they may not end, else no limit). `bounds`: "learned"
    asks for those of a whole path first, and leaves out the SDP of a β at which the networks of the
    β before are proven to be within `prune_gap` (null: 0.05) of the best there is.
    """

    name: Name
    data: DataConfig
    task: Task = "classification"
    metric: MetricName | None = None
    class_weight: ClassWeight | None = None
    multi_class: Literal["one_vs_rest", "one_vs_one"] = "one_vs_rest"
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    noise: NoiseConfig | None = None
    test: HoldOut = HoldOut()
    shards: Shards
    beta: BetaConfig
    seeds: Annotated[tuple[Seed, ...], NonEmpty, Distinct] = (0, 1, 2, 3)
    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], NonEmpty, Distinct] = (8, 32, 128)
    rounding: Annotated[tuple[Rounding, ...], NonEmpty, Distinct] = ("krivine", "refined")
    baselines: Annotated[tuple[Baseline, ...], Distinct] = ()
    baseline_seconds: (
        Annotated[
            Annotated[Positive, Tag("one")]
            | Annotated[tuple[Positive, ...], NonEmpty, Distinct, Tag("several")],
            Discriminator(one_or_several),
        ]
        | None
    ) = None
    orthogonality: Orthogonalities | None = None
    loss: Annotated[
        Annotated[Loss, Tag("one")]
        | Annotated[tuple[Loss, ...], NonEmpty, Distinct, AfterValidator(alone), Tag("several")],
        Discriminator(one_or_several),
    ] = "squared"
    loss_parameter: Positive | None = None
    activation: Annotated[
        Annotated[Activation, Tag("one")]
        | Annotated[
            tuple[Activation, ...], NonEmpty, Distinct, AfterValidator(alone), Tag("several")
        ],
        Discriminator(one_or_several),
    ] = "bilinear"
    alphabet: Annotated[
        Annotated[Alphabet, Tag("one")]
        | Annotated[
            tuple[Alphabet, ...], NonEmpty, Distinct, AfterValidator(alone), Tag("several")
        ],
        Discriminator(one_or_several),
    ] = "binary"
    second_layer: SecondLayer = "float"
    max_bytes: Annotated[int, Field(ge=1)] | None = None
    relaxation: RelaxationConfig = RelaxationConfig()
    certify: Certify = "relaxation"
    certify_time_limit: Positive | None = None
    bounds: Literal["solver", "learned"] = "solver"
    prune_gap: Annotated[float, Field(gt=0, lt=1)] | None = None
    tracking: TrackingConfig = TrackingConfig()
    resources: Resources = Resources()
    retrain: RetrainConfig | None = None

    @property
    def chosen_by(self) -> MetricName:
        """The name of the metric that chooses the best setting.

        Where none is named: RMSE, or accuracy, or, of classes that are weighted, balanced accuracy.
        """
        if self.metric is not None:
            return self.metric
        if self.task == "regression":
            return "rmse"
        return "accuracy" if self.class_weight is None else "balanced_accuracy"

    @model_validator(mode="after")
    def _fits_together(self) -> SweepConfig:
        for problem in self._problems():
            raise PydanticCustomError("fits", "{problem}", {"problem": problem})
        return self

    def _problems(self) -> Iterator[str]:
        losses = listed(self.loss)
        if self.loss_parameter is not None and not any(map(takes_parameter, losses)):
            takers = " or ".join(filter(takes_parameter, LOSSES))
            yield (
                f"loss_parameter belongs to loss {takers}, but loss is {' and '.join(losses)}: "
                "remove it"
            )
        if metric_for(self.task, self.metric).task != self.task:
            known = [one.name for one in METRICS.values() if one.task == self.task]
            yield f"metric {self.metric} does not belong to task {self.task}: {', '.join(known)}"
        for kind in self.kinds:
            yield from network_problems(kind, self.task, self.rounding)
        yield from baseline_problems(self.baselines, self.kinds)
        if self.orthogonality is not None:
            yield from orthogonality_problems(self.baselines)
        yield from self._pruning_problems()
        data, group = self.data, self.group_column
        if self.task == "regression" and data.positive is not None:
            yield "data.positive names a class, but task is regression; remove it"
        if self.task == "regression" and self.class_weight is not None:
            yield "class_weight weighs classes, but task is regression; remove it"
        yield from self._pairing_problems()
        if len(data.targets) > 1 and self.task != "regression":
            yield (
                f"data.target lists {len(data.targets)} columns, but task is {self.task}: name one "
                "column, whose classes become outputs, or set task: regression"
            )
        if self.task == "regression" and self.retrain is not None and self.retrain.robustness:
            yield "retrain.robustness asks about labels, but task is regression; remove it"
        for target in data.targets:
            if target in (data.features or ()) or target in (data.categorical or ()):
                yield f"data.target '{target}' cannot be a feature too"
        for arm in self.baselines:
            if self.task == "regression" and ARMS[arm].family == "reference":
                yield f"baseline {arm} is a classifier, but task is regression; remove it"
        for name in data.features or ():
            if name in data.exclude:
                yield f"column '{name}' is both in data.features and in data.exclude"
        if self.test.column is not None and self.test.column in (*data.targets, group):
            yield f"test.column '{self.test.column}' is the target or shards.column; choose another"
        if group is not None and group in data.targets:
            yield f"shards.column '{group}' is the target; choose another column"
        if group is not None and group in (data.features or ()):
            yield f"shards.column '{group}' cannot be a feature too"

    def _pairing_problems(self) -> Iterator[str]:
        if self.multi_class == ONE_VS_REST:
            return
        if self.task == "regression":
            yield "multi_class one_vs_one pairs classes, but task is regression; remove it"
        for loss in listed(self.loss):
            if not issubclass(LOSSES[loss], MarginLoss):
                yield f"multi_class one_vs_one needs a loss of classes: use logistic, not {loss}"

    def _pruning_problems(self) -> Iterator[str]:
        if self.bounds == "solver":
            if self.prune_gap is not None:
                yield "prune_gap belongs to bounds: learned; set that, or remove it"
            return
        if self.certify != "relaxation":
            yield f"bounds: learned proves relaxations only, but certify is {self.certify}"
        if self.baselines:
            yield "bounds: learned leaves out work whose time baselines are given: remove them"

    @property
    def noise_of_rows(self) -> Noise | None:
        """The noise of training rows, None for none."""
        return None if self.noise is None else self.noise.of_rows

    @property
    def orthogonalities(self) -> tuple[tuple[str, int, int, bool], ...]:
        """What each arm that takes one is run with, sorted; none: as it is."""
        given = () if self.orthogonality is None else listed(self.orthogonality)
        return tuple(sorted(one.written for one in given))

    @property
    def pruned_to(self) -> float | None:
        """The gap that learned bounds may prove instead of an SDP; None: each is solved."""
        if self.bounds == "solver":
            return None
        return 0.05 if self.prune_gap is None else self.prune_gap

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind of problem: each loss with each activation and each alphabet."""
        axes = product(listed(self.loss), listed(self.activation), listed(self.alphabet))
        return tuple(
            Kind(
                loss=loss,
                loss_parameter=self.loss_parameter if takes_parameter(loss) else None,
                polynomial=None if isinstance(activation, str) else activation.coefficients,
                alphabet=str(alphabet),
            )
            for loss, activation, alphabet in axes
        )

    @property
    def group_column(self) -> str | None:
        """The column that shards are made by, if any; it is never a feature."""
        return self.shards.column if isinstance(self.shards, ByColumn) else None

    @property
    def experiment(self) -> str:
        """The MLflow experiment's name."""
        return self.tracking.experiment or self.name

    @property
    def registered_model(self) -> str:
        """The registered model's name."""
        return self.tracking.registered_model or self.name
