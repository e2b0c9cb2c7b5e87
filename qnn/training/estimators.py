"""The scikit-learn face: a classifier and a regressor with a certified gap."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from qnn.errors import InputError
from qnn.features.preprocessing import THRESHOLDS, Preprocessing
from qnn.losses import get_loss
from qnn.networks.activations import Activation
from qnn.numerics.arguments import check_limits, check_seed
from qnn.training.fit import Trained, train
from qnn.training.outputs import TrainedOutputs, train_outputs
from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem
from qnn.training.selection.choice import choose
from qnn.training.selection.kinds import AUTO, SECOND_LAYER, Wanted


class _QuantizedEstimator(BaseEstimator):
    """What the two estimators share: parameters, and training behind the preprocessing."""

    # The scaling where none is named.
    _scaling = "standardize"

    def __init__(
        self,
        *,
        beta_fraction: float | str | None = None,
        beta: float | None = None,
        width: int | str | None = AUTO,
        loss: str | None = None,
        loss_parameter: float | None = None,
        activation: str | Activation = "bilinear",
        alphabet: str | int = "binary",
        second_layer: str | int | None = None,
        scaling: str | None = None,
        clip: float | None = None,
        thresholds: int | None = None,
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
        self.scaling = scaling
        self.clip = clip
        self.thresholds = thresholds
        self.tol = tol
        self.time_limit = time_limit
        self.random_state = random_state

    def _fit(self, X: np.ndarray, target: np.ndarray, classes: np.ndarray | None) -> None:
        check_limits(self.tol, self.time_limit)
        seed = _seed_of(self.random_state)
        labels = None if classes is None else list(classes)
        wanted = self._wanted()
        self.choice_ = choose(X, target, labels, wanted, seed)
        kind = self.choice_.kind
        preprocessing = wanted.layout_of(kind, X).fit(X, target, labels)
        matrix = preprocessing.transform(X)
        coded = preprocessing.encode_target(target)
        options: dict[str, Any] = {
            "seed": seed,
            "width": self.choice_.width,
            "time_limit": self.time_limit,
            "tol": self.tol,
            "second_layer": self._grid(wanted),
        }
        described: dict[str, Any] = {
            "beta": 1.0 if self.beta is None else self.beta,
            "loss": get_loss(kind.loss, self.loss_parameter),
            "activation": self.activation,
            "alphabet": self.alphabet,
        }
        if coded.ndim == 1:
            problem = Problem(matrix, coded, **described)
            trained = train(problem.with_beta(self._beta(problem)), **options)
            self.certificate_ = trained.certificate
            self._keep(trained, (trained,), preprocessing)
        else:
            several = VectorProblem(matrix, coded, **described)
            joined = train_outputs(several.with_beta(self._beta(several)), **options)
            self._keep(joined, joined.outputs, preprocessing)

    def _wanted(self) -> Wanted:
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
            activation=self.activation,
            alphabet=self.alphabet,
            layout=(("categorical", []), ("constant_columns", "keep"), ("clip", self.clip)),
        )

    def _grid(self, wanted: Wanted) -> str | int:
        if self.second_layer is None:
            return SECOND_LAYER if wanted.scaling == AUTO else "float"
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

    def _rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "network_")
        return validate_data(self, X, dtype=np.float64, reset=False)


def _seed_of(random_state: Any) -> int:
    """Estimators take RandomState by convention; the library takes a seed."""
    if not (random_state is None or isinstance(random_state, np.random.RandomState)):
        check_seed("random_state", random_state, 2**32, "a numpy RandomState or None")
    return int(check_random_state(random_state).randint(2**31 - 1))


class QuantizedClassifier(ClassifierMixin, _QuantizedEstimator):
    """Classifier of two or more classes: a network with quantized weights, and certificates.

    Features are standardized (or encoded as `scaling` says) and a constant column is appended; two
    classes are coded −1 and +1, more than two one against the rest, with one output each that share
    their neurons. The objective is the loss plus the penalty `βd Σ|α|`, summed over the outputs.

    Unless `scaling` or `beta` are given, what is left out of `thresholds`, `loss`, `beta_fraction`
    and `width` is chosen with the encoding by cross-validation on the rows of `fit`
    (`qnn.training.selection`), at the logistic loss; each can also be asked for as "auto". With a
    scaling or a `beta` they are 3, "squared", 0.05 and None.

    Parameters: `beta_fraction` in (0, 1], β as a fraction of the β at which the network becomes
    zero; `beta`, the number itself, instead; `width`, most neurons that an output uses (None: as
    many as the optimum does); `loss`, `loss_parameter`, `activation` and `alphabet` as
    `qnn.Problem` takes them, `second_layer` as `qnn.train` does (None: 8 bits where the encoding is
    chosen, else "float"); `scaling` ("auto", "standardize",
    "none", "quantile" or "thermometer"), `clip` and `thresholds` as `FeatureLayout.from_table`
    takes them; `tol`, relative gap to which the relaxation is solved; `time_limit` in seconds, for
    what follows the choice; `random_state`.

    After `fit`: `choice_`, the setting and the cells it was chosen from (none where all was given
    or fewer than 12 rows make no folds); `classes_`, `n_features_in_`, `network_` (with its
    preprocessing: it can be saved
    and predicts from raw rows), `lower_bound_` (verified, below the objective of every such
    network), `upper_bound_` (this network's objective), `gap_`, `certificates_` (one an output, in
    the order of `classes_` where there are more than two; their bounds sum to `lower_bound_`) and,
    of a single output, `certificate_`, `beta_`, `relaxation_value_`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = QuantizedClassifier(beta_fraction=0.3, random_state=0).fit(X, y)
    >>> bool(model.lower_bound_ <= model.upper_bound_)
    True
    """

    _scaling = AUTO

    def fit(self, X: Any, y: Any) -> "QuantizedClassifier":
        """Train on X (n, d) and labels y (n,) of at least two classes; ValueError otherwise."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise InputError(
                "the classifier needs samples of two classes; the data contain one class, "
                f"{self.classes_[0]!r}"
            )
        self._fit(X, y, self.classes_)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores (n,), above 0 for the second of two `classes_`; (n, C) for C > 2 of them."""
        rows = self._rows(X)
        return self.network_.scores(rows)

    def predict(self, X: Any) -> np.ndarray:
        """Labels (n,): of more than two classes that of the largest score, the first of equals."""
        scores = self.decision_function(X)
        return self.classes_[
            scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
        ]


class QuantizedRegressor(RegressorMixin, _QuantizedEstimator):
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

    def fit(self, X: Any, y: Any) -> "QuantizedRegressor":
        """Train on X (n, d) and numbers y, (n,) or (n, C); ValueError otherwise."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self._fit(X, y.astype(np.float64), None)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predictions (n,) or (n, C) in units of the targets."""
        rows = self._rows(X)
        return self.network_.predict(rows)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
