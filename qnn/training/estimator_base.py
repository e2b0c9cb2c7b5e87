"""What the two estimators share: parameters, reading of rows, training, and what is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from qnn.errors import InputError, shown
from qnn.features import tables
from qnn.features.class_weights import ClassWeights
from qnn.features.columns import Missing
from qnn.features.preprocessing import THRESHOLDS, Preprocessing
from qnn.features.targets import ONE_VS_REST
from qnn.losses import get_loss
from qnn.networks.activations import Activation, get_activation
from qnn.networks.alphabets import get_alphabet
from qnn.networks.second_layers import check_second_layer
from qnn.numerics.arguments import check_limits, check_seed
from qnn.numerics.arrays import plain_array
from qnn.training.fit import Trained, train
from qnn.training.outputs import TrainedOutputs, train_outputs
from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem, problem_of
from qnn.training.rows import check_positive, different, row_count
from qnn.training.selection.choice import choose
from qnn.training.selection.kinds import AUTO, SECOND_LAYER, Wanted
from qnn.training.selection.paths import path


class QuantizedEstimator(BaseEstimator):
    """What the two estimators share: parameters, and training behind the preprocessing."""

    # The scaling where none is named.
    _scaling = "standardize"
    # How classes become outputs, where the estimator has classes.
    multi_class: str | None = None

    def __init__(
        self,
        *,
        beta_fraction: float | str | None = None,
        beta: float | None = None,
        width: int | str | None = AUTO,
        loss: str | None = None,
        loss_parameter: float | None = None,
        activation: str | Activation | None = None,
        alphabet: str | int = "binary",
        second_layer: str | int | None = None,
        max_bytes: int | None = None,
        scaling: str | None = None,
        clip: float | None = None,
        thresholds: int | None = None,
        categorical: Sequence[str | int] | None = None,
        missing: Missing = "refuse",
        tol: float = 1e-3,
        time_limit: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.beta_fraction = beta_fraction
        self.beta = beta
        self.width = width
        self.loss = loss
        self.loss_parameter = loss_parameter
        self.activation = activation
        self.alphabet = alphabet
        self.second_layer = second_layer
        self.max_bytes = max_bytes
        self.scaling = scaling
        self.clip = clip
        self.thresholds = thresholds
        self.categorical = categorical
        self.missing = missing
        self.tol = tol
        self.time_limit = time_limit
        self.random_state = random_state

    def _check(self) -> None:
        """Raise InputError for parameters that cannot be, whatever the data are."""
        check_limits(self.tol, self.time_limit)
        if self.beta is not None and self.beta_fraction is not None:
            raise InputError(
                f"beta is {shown(self.beta)} and beta_fraction {shown(self.beta_fraction)}: give "
                "one of them"
            )
        if self.activation is not None and self.activation != AUTO:
            get_activation(self.activation)
        get_alphabet(self.alphabet)
        if self.second_layer is not None:
            check_second_layer(self.second_layer)

    def _read(self, X: Any, reset: bool) -> tables.Table:
        """X as a table: a data frame's own columns, or a checked 2-D array."""
        if np.ma.isMaskedArray(X):
            X = plain_array(X, "X")
        if tables.is_named(X) and not issparse(X):  # SciPy's keyed matrix is a mapping too
            if isinstance(X, Mapping):
                raise InputError(
                    "X is a mapping; give an array (n, d) or a data frame, such as "
                    "pandas.DataFrame(X)"
                )
            validate_data(self, X, skip_check_array=True, reset=reset)
            named = tables.column_names(X)
            return tables.get_columns(X, named, named)
        if self.categorical is not None and len(self.categorical) > 0:
            return validate_data(self, X, dtype=object, ensure_all_finite=False, reset=reset)
        if getattr(getattr(X, "dtype", None), "kind", "f") in "mM":
            raise InputError("X holds dates or times: make numbers of them (days since the first)")
        finite: bool | str = "allow-nan" if self.missing == "impute" else True
        try:
            return validate_data(self, X, dtype=np.float64, ensure_all_finite=finite, reset=reset)
        except OverflowError:
            raise InputError("X has a number beyond ±1.8e308: correct it") from None

    def _fit(
        self,
        table: tables.Table,
        target: np.ndarray,
        classes: np.ndarray | None,
        weights: np.ndarray | None,
    ) -> None:
        # Of an earlier fit; it is set for a single output alone.
        self.__dict__.pop("certificate_", None)
        labels = None if classes is None else list(classes)
        self._seed = _seed_of(self.random_state)
        self._fixed = replace(self._wanted(table), class_weight=self._class_weights())
        once, all_rows = different(table, target, weights), (table, target, weights)
        self.choice_ = choose(*once, labels, self._fixed, self._seed, all_rows=all_rows)
        trained, outputs, preprocessing = self._trained(table, target, classes, weights)
        if len(outputs) == 1 and outputs[0] is trained:
            self.certificate_ = outputs[0].certificate
        self._keep(trained, outputs, preprocessing)

    def _class_weights(self) -> ClassWeights | None:
        """What the classes count for while a setting is chosen."""
        return None

    def _posed(
        self,
        table: tables.Table,
        target: np.ndarray,
        classes: np.ndarray | None,
        weights: np.ndarray | None,
    ) -> tuple[Problem | VectorProblem, Preprocessing]:
        """What is to be trained on these rows, at any β, and what is before it."""
        kind = self.choice_.kind
        labels = None if classes is None else list(classes)
        layout = self._fixed.layout_of(kind, table)
        preprocessing = layout.fit(table, target, labels, weights=weights).coded(kind.multi_class)
        coded = preprocessing.encode_target(target)
        problem = problem_of(
            preprocessing.transform(table),
            coded,
            1.0 if self.beta is None else self.beta,
            get_loss(kind.loss, self.loss_parameter),
            kind.activation,
            self.alphabet,
            weights,
        )
        return problem, preprocessing

    def _trained(
        self,
        table: tables.Table,
        target: np.ndarray,
        classes: np.ndarray | None,
        weights: np.ndarray | None,
    ) -> tuple[Trained | TrainedOutputs, tuple[Trained, ...], Preprocessing]:
        """What training on these rows gives: as a whole, by outputs, and what is before it."""
        problem, preprocessing = self._posed(table, target, classes, weights)
        problem = problem.with_beta(self._beta(problem))
        options: dict[str, Any] = {
            "seed": self._seed,
            "width": self.choice_.width,
            "time_limit": self.time_limit,
            "tol": self.tol,
            "second_layer": self._fixed.second_layer,
            # What the choice was measured with; the other takes many times as long.
            "rounding": "refined" if self._fixed.chooses else "graduated",
        }
        if isinstance(problem, Problem):
            trained = train(problem, **options)
            return trained, (trained,), preprocessing
        joined = train_outputs(problem, **options)
        return joined, joined.outputs, preprocessing

    def _held_out_scores(
        self,
        inside: tables.Table,
        outside: tables.Table,
        target: np.ndarray,
        classes: np.ndarray,
        weights: np.ndarray | None,
    ) -> np.ndarray:
        """Scores (k,) or (k, C) of the rows inside, of a network of the rows outside.

        Where the setting was chosen it is one as the choice was made with, which solves no SDP.
        """
        if not self.choice_.cells:
            trained, _, preprocessing = self._trained(outside, target, classes, weights)
            network = replace(trained.network, preprocessing=preprocessing)
            return np.asarray(network.class_scores(inside))
        problem, preprocessing = self._posed(outside, target, classes, weights)
        width = self.choice_.width or self._fixed.widths[0]
        rng = np.random.default_rng(self._seed)
        networks = next(path(problem, (self.choice_.fraction,), width, rng))
        scores = networks.scores(preprocessing.transform(inside))
        coding = preprocessing.target
        return coding.class_scores(scores) if coding.shape else scores[:, 0]

    def _categorical(self, table: tables.Table) -> list[str] | None:
        """The categorical columns' names; None, where a frame's are those that hold text."""
        if self.categorical is None:
            return None if tables.is_named(table) else []
        names = tables.column_names(table)
        return [_name_of(one, names) for one in self.categorical]

    def _counted(self, sample_weight: Any, table: tables.Table) -> np.ndarray | None:
        """Sample weights (n,), 0 or of moderate size; None where all are 1, or none are given."""
        if sample_weight is None:
            return None
        rows = row_count(table)
        index = np.empty((rows, 1))
        weights = _check_sample_weight(sample_weight, index, ensure_non_negative=True)
        check_positive(weights)
        return None if np.all(weights == 1.0) else np.asarray(weights, dtype=np.float64)

    def _wanted(self, table: tables.Table) -> Wanted:
        """What the parameters fix; those left out are chosen where the scaling is."""
        scaling = self.scaling or (self._scaling if self.beta is None else "standardize")
        automatic = scaling == AUTO
        if self.beta is not None and AUTO in (scaling, self.thresholds, self.loss):
            raise InputError(
                "beta is a number in units of one loss and one encoding: name both, or give "
                "beta_fraction instead"
            )

        def given(value: Any, default: Any) -> Any:
            return (AUTO if automatic else default) if value is None else value

        chooses = automatic or AUTO in (self.thresholds, self.loss, self.beta_fraction)
        return Wanted(
            scaling=scaling,
            thresholds=given(self.thresholds, THRESHOLDS),
            loss=given(self.loss, "squared"),
            beta_fraction=given(self.beta_fraction, 0.05),
            width=None if self.width == AUTO and not chooses else self.width,
            loss_parameter=self.loss_parameter,
            activation=given(self.activation, "bilinear"),
            multi_class=given(self.multi_class, ONE_VS_REST),
            alphabet=self.alphabet,
            second_layer=self._grid(automatic),
            max_bytes=self.max_bytes,
            layout=(
                ("categorical", self._categorical(table)),
                ("missing", self.missing),
                ("constant_columns", "keep"),
                ("clip", self.clip),
            ),
        )

    def _grid(self, automatic: bool) -> str | int:
        if self.second_layer is None:
            return SECOND_LAYER if automatic else "float"
        return self.second_layer

    def _beta(self, problem: Problem | VectorProblem) -> float:
        if self.beta is not None:
            return problem.beta
        # A target that is constant after centring has beta_max 0: any beta gives the 0 network.
        return self.choice_.fraction * problem.beta_max or 1.0

    def _keep(
        self,
        trained: Trained | TrainedOutputs,
        outputs: tuple[Trained, ...],
        preprocessing: Preprocessing,
    ) -> None:
        self.network_ = replace(trained.network, preprocessing=preprocessing)
        self.lower_bound_ = trained.lower_bound
        self.upper_bound_ = trained.objective
        self.gap_ = trained.gap
        self.certificates_ = tuple(output.certificate for output in outputs)
        self.beta_ = self.certificates_[0].beta
        self.relaxation_value_ = sum(output.relaxation.upper_bound for output in outputs)

    def _rows(self, X: Any) -> tables.Table:
        check_is_fitted(self, "network_")
        return self._read(X, reset=False)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "impute"
        tags.input_tags.categorical = self.categorical is not None
        return tags


def _name_of(column: Any, names: Sequence[str]) -> str:
    """The name of a categorical column that is given by its name or its position."""
    if isinstance(column, bool | np.bool_):
        raise InputError("categorical must be names or positions of columns, not a mask")
    if not isinstance(column, Integral):
        return str(column)
    if not -len(names) <= int(column) < len(names):
        raise InputError(
            f"categorical: there is no column {column}, positions are 0 to {len(names) - 1}"
        )
    return names[int(column)]


def _seed_of(random_state: Any) -> int:
    """Estimators take RandomState by convention; the library takes a seed."""
    if not (random_state is None or isinstance(random_state, np.random.RandomState)):
        check_seed("random_state", random_state, 2**32, "a numpy RandomState or None")
    return int(check_random_state(random_state).randint(2**31 - 1))
