"""The scikit-learn face: a classifier and a regressor with a certified gap."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
)

from qnn.errors import InputError
from qnn.features import tables
from qnn.features.class_weights import (
    ClassWeights,
    balanced,
    check_class_weight,
    weights_of_labels,
)
from qnn.features.columns import Missing
from qnn.networks.activations import Activation
from qnn.numerics.weights import LEAST, MOST
from qnn.training.calibration import Calibrator, calibrated, check_calibration, held_out_folds
from qnn.training.estimator_base import QuantizedEstimator
from qnn.training.rows import labels_of, numbers_of, present, row_count, taken
from qnn.training.selection.kinds import AUTO


class QuantizedClassifier(ClassifierMixin, QuantizedEstimator):
    """Classifier of two or more classes: a network with quantized weights, and certificates.

    Features are standardized (or encoded as `scaling` says) and a constant column is appended; two
    classes are coded −1 and +1, more than two one against the rest, with one output each that share
    their neurons, or in pairs (`multi_class="one_vs_one"`: an output for each two, trained on their
    rows alone; the class that loses by the least in sum is told). The objective is the loss plus
    the penalty `βd Σ|α|`, summed over the outputs.

    Unless `scaling` or `beta` are given, what is left out of `thresholds`, `loss`, `activation`,
    `multi_class`, `beta_fraction` and `width` is chosen with the encoding by cross-validation on
    the rows of `fit` (`qnn.training.selection`), at the logistic loss, and the encoding's numbers
    are rounded; each can also be asked for as "auto". With a scaling or a `beta` they are 3,
    "squared", "bilinear", "one_vs_rest", 0.05 and None. Equal and weighted rows of an array in
    which nothing is missing choose once, those of a data frame as often as they stand there; by
    `class_weight` each counts as its class does.

    Parameters: `beta_fraction` in (0, 1], β as a fraction of the β at which the network becomes
    zero; `beta`, the number itself, instead; `width`, most neurons that an output uses (None: as
    many as the optimum does); `loss`, `loss_parameter`, `activation` and `alphabet` as
    `qnn.Problem` takes them, `second_layer` as `qnn.train` does (None: 8 bits where the encoding is
    chosen, else "float"); `max_bytes`, the most that packed weights, second layer and the numbers
    of the encoding may take: of the settings whose networks all fit the best is chosen, and `width`
    is at most what fits; `scaling` ("auto", "standardize", "weighted", "none", "quantile" or
    "thermometer"), `clip`, `thresholds`, `missing` ("refuse", or "impute" by median and most
    frequent category) and `categorical` (names of columns, or positions; None: in a data frame
    those that hold text) as `FeatureLayout.from_table` takes them; `class_weight`, None, "balanced"
    (every class counts the same in sum, rows as `sample_weight` says) or positive numbers by label,
    which multiply those of `fit`;
    `calibration` and `calibration_folds`, see below; `tol`, relative gap to which the relaxation is
    solved; `time_limit` in seconds, for what follows the choice; `random_state`.

    After `fit`: `choice_`, the setting and the cells it was chosen from (none where all was given
    or fewer than 12 rows make no folds); `classes_`, `n_features_in_`, `network_` (with its
    preprocessing: it can be saved and predicts from raw rows), `lower_bound_` (verified, below the
    objective of every such network), `upper_bound_` (this network's objective), `gap_`,
    `certificates_` (one an output, in the order of `classes_` where there are more than two, or of
    their pairs; their bounds sum to `lower_bound_`) and, of a single output, `certificate_`,
    `beta_`, `relaxation_value_`. Weighted rows are weighted in the bounds, and in the statistics of
    the preprocessing; rows of weight 0 are left out.

    Probabilities: `fit` trains on the rows outside each of `calibration_folds` folds too (by class,
    equal rows in one fold; without a bound where the setting was chosen), and the scores of the
    rows inside, which that network has not seen, calibrate the scores of the network trained on all
    rows: "temperature", one factor, so that the most probable class is the one that `predict` says;
    "sigmoid", a logistic curve (Platt scaling), or "isotonic", a monotone step function, each class
    against the rest and then normalized, whose most probable class may be another. Where a class
    has no two different rows, so that none can be held out, they are the classes' shares.
    `calibration=None` trains once, and has no `predict_proba`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = QuantizedClassifier(beta_fraction=0.3, random_state=0).fit(X, y)
    >>> bool(model.lower_bound_ <= model.upper_bound_)
    True
    """

    _scaling = AUTO

    def __init__(
        self,
        *,
        class_weight: str | dict[Any, float] | None = None,
        calibration: str | None = "temperature",
        calibration_folds: int = 3,
        multi_class: str | None = None,
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
        super().__init__(
            beta_fraction=beta_fraction,
            beta=beta,
            width=width,
            loss=loss,
            loss_parameter=loss_parameter,
            activation=activation,
            alphabet=alphabet,
            second_layer=second_layer,
            max_bytes=max_bytes,
            scaling=scaling,
            clip=clip,
            thresholds=thresholds,
            categorical=categorical,
            missing=missing,
            tol=tol,
            time_limit=time_limit,
            random_state=random_state,
        )
        self.class_weight = class_weight
        self.calibration = calibration
        self.calibration_folds = calibration_folds
        self.multi_class = multi_class

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "QuantizedClassifier":
        """Train on X (n, d) and labels y (n,) of at least two classes; ValueError otherwise.

        X is an array or a data frame (pandas, polars, pyarrow); sample_weight (n,), what each row
        counts for in the loss.
        """
        self._check()
        table = self._read(X, reset=True)
        y = labels_of(self, y)
        check_consistent_length(np.empty((row_count(table), 1)), y)
        check_classification_targets(y)
        weights = self._counted(sample_weight, table)
        table, y, weights = present(table, y, weights)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise InputError(
                "the classifier needs samples of two classes; the data contain one class, "
                f"{tables.brief(self.classes_[0])}"
            )
        if self.class_weight is not None:
            weights = self._weighted_by_class(y, weights)
        self._fit(table, y, self.classes_, weights)
        self._calibrate(table, y, weights)
        return self

    def _check(self) -> None:
        super()._check()
        check_class_weight(self.class_weight)
        if self.calibration is not None:
            check_calibration(self.calibration, self.calibration_folds)

    def _class_weights(self) -> ClassWeights | None:
        return weights_of_labels(self.class_weight, self.classes_)

    def _weighted_by_class(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """What rows count for (n,) by their own weights and their class."""
        asked, codes = self._class_weights(), np.searchsorted(self.classes_, y)
        if asked == "balanced":
            each = balanced(codes, len(self.classes_), weights)
        else:
            each = np.asarray(asked, dtype=np.float64)
        product = each[codes] if weights is None else weights * each[codes]
        wrong = np.flatnonzero(~((product >= LEAST) & (product <= MOST)))
        if len(wrong):
            raise InputError(
                f"a sample weight times the class_weight of {tables.brief(y[wrong[0]])} is "
                f"{product[wrong[0]]:g}: weights must be from {LEAST:g} to {MOST:g}"
            )
        return product

    def _calibrate(self, table: tables.Table, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Keep what turns scores into probabilities, fitted on scores of rows not trained on."""
        counts = np.ones(len(y)) if weights is None else weights
        shares = np.array([counts[y == label].sum() for label in self.classes_])
        self.class_shares_ = shares / shares.sum()
        self.calibrator_: Calibrator | None = None
        if self.calibration is None:
            return
        assert self.network_.preprocessing is not None, "fitted"
        matrix = self.network_.preprocessing.transform(table)
        folds = held_out_folds(matrix, y, self.calibration_folds)
        if folds is None:
            return
        several = len(self.classes_) > 2
        scores = np.empty((len(y), len(self.classes_)) if several else len(y))
        for fold in range(int(folds.max()) + 1):
            inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            own = None if weights is None else weights[outside]
            parts = taken(table, inside), taken(table, outside)
            scores[inside] = self._held_out_scores(*parts, y[outside], self.classes_, own)
        self.calibrator_ = calibrated(scores, y, weights, self.calibration)

    @available_if(lambda self: self.calibration is not None)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, C) of `classes_`, calibrated on held-out rows: see the class."""
        scores = self.decision_function(X)
        if self.calibrator_ is None:
            return np.tile(self.class_shares_, (len(scores), 1))
        return np.asarray(self.calibrator_.predict_proba(scores.reshape(len(scores), -1)))

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (n,), above 0 for the second of two `classes_`; (n, C) for C > 2 of them."""
        rows = self._rows(X)
        return self.network_.class_scores(rows)

    def predict(self, X: Any) -> np.ndarray:
        """Labels (n,): of more than two classes that of the largest score, the first of equals."""
        scores = self.decision_function(X)
        return self.classes_[
            scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
        ]


class QuantizedRegressor(RegressorMixin, QuantizedEstimator):
    """Regressor of one or several targets: a network with quantized weights, and certificates.

    Features are standardized (or encoded as `scaling` says) and a constant column is appended;
    targets are standardized, unless `scaling="none"`. The loss is that of these targets, summed
    over them, and the bounds are in its units. Parameters and fitted attributes as for
    `QuantizedClassifier`, without `classes_`; nothing is chosen unless it is "auto".

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(20.0)[:, None]
    >>> model = QuantizedRegressor(random_state=0).fit(X, 3.0 * X[:, 0])
    >>> bool(model.score(X, 3.0 * X[:, 0]) > 0.9)
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "QuantizedRegressor":
        """Train on X (n, d) and numbers y, (n,) or (n, C); ValueError otherwise.

        X is an array or a data frame (pandas, polars, pyarrow); sample_weight (n,), what each row
        counts for in the loss.
        """
        self._check()
        table = self._read(X, reset=True)
        y = numbers_of(self, y)
        check_consistent_length(np.empty((row_count(table), 1)), y)
        table, y, weights = present(table, y, self._counted(sample_weight, table))
        self._fit(table, y, None, weights)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions (n,) or (n, C) in units of the targets."""
        rows = self._rows(X)
        return self.network_.predict(rows)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
