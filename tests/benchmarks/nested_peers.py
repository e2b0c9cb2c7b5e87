"""What accuracy is measured beside in nested cross-validation: large peers, and small ones.

Peers of so many bytes have numbers of `NUMBER` bytes, really rounded: to whole numbers of 16 bits
with a sign, times a power of two that costs nothing (ours share one a column, which costs). They
are those that meet raw columns: coefficients with the scaling multiplied in, thresholds, leaves
times the learning rate, what an output starts from. One column or tree is taken where none fits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit, softmax
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC

from qnn.features.preprocessing import FeatureLayout, Preprocessing

# Of a peer of equal bytes: a number, and the name of a column.
NUMBER, NAME = 2, 1
SIGNIFICANT = 15

# Estimators of any size, and the settings that three inner folds choose from.
LARGE: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "logistic regression": (LogisticRegression(max_iter=1000), {"C": [0.01, 0.1, 1.0, 10.0]}),
    "RBF-SVM": (SVC(), {"C": [1, 10, 100], "gamma": ["scale", "narrow"]}),
    "boosting": (
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.15, random_state=0),
        {"max_leaf_nodes": [4, 16]},
    ),
}

Part = tuple[pd.DataFrame, np.ndarray]
#: accuracy on the test part, bytes, and what else is worth keeping
Result = dict[str, Any]
Arm = Callable[[Part, Part, int, int], Result]


def share(predicted: np.ndarray, target: np.ndarray) -> float:
    """Of rows that are right."""
    return float(np.mean(predicted == target))


def standardized(train: Part, test: Part) -> tuple[Preprocessing, np.ndarray, np.ndarray]:
    """What standardizes the columns, fitted to `train`, and both parts' matrices."""
    layout = FeatureLayout.from_table(train[0])
    preprocessing = layout.fit(train[0], train[1], list(np.unique(train[1])))
    return preprocessing, preprocessing.transform(train[0]), preprocessing.transform(test[0])


def searched(estimator: Any, grid: dict[str, list[Any]]) -> Arm:
    """The estimator with the best of these settings by three inner folds."""

    def arm(train: Part, test: Part, seed: int, budget: int) -> Result:
        _, X, T = standardized(train, test)
        best = best_of(estimator, grid, X, train[1])
        return {"accuracy": share(best.predict(T), test[1]), "bytes": bytes_of(best, X.shape[1])}

    return arm


def best_of(estimator: Any, grid: dict[str, list[Any]], X: np.ndarray, y: np.ndarray) -> Any:
    """The estimator refitted with the best setting; a value "narrow" is a quarter over columns."""
    filled = {
        name: [0.25 / X.shape[1] if value == "narrow" else value for value in values]
        for name, values in grid.items()
    }
    return GridSearchCV(estimator, filled, cv=3).fit(X, y).best_estimator_


def bytes_of(estimator: Any, d: int) -> int:
    """Of a peer on d standardized features, the constant included: 8 a number, 9 a split."""
    if isinstance(estimator, LogisticRegression):
        return 8 * (estimator.coef_.size - estimator.coef_.shape[0] + estimator.intercept_.size)
    if isinstance(estimator, SVC):
        kept = estimator.support_vectors_
        vectors = kept.size - len(kept)
        return 8 * (vectors + estimator.dual_coef_.size + estimator.intercept_.size + 2 * (d - 1))
    trees = [tree.nodes for stage in estimator._predictors for tree in stage]
    leaves = sum(int(nodes["is_leaf"].sum()) for nodes in trees)
    return 9 * (sum(map(len, trees)) - leaves) + 8 * leaves


def small_boosting(train: Part, test: Part, seed: int, budget: int) -> Result:
    """Boosting with as many trees as `budget` bytes hold, of the better depth of two."""
    preprocessing, X, T = standardized(train, test)
    outputs = _outputs(train[1])
    candidates = []
    for depth in (1, 2):
        tree = (NUMBER + NAME) * (2**depth - 1) + NUMBER * 2**depth
        count = max(1, (budget - NUMBER * outputs) // (tree * outputs))
        candidates.append(
            GradientBoostingClassifier(
                max_depth=depth, n_estimators=min(count, 150), learning_rate=0.3, random_state=seed
            )
        )
    best = _better(candidates, X, train[1])
    exact = share(best.predict(T), test[1])
    round_trees(best, *_scaling(preprocessing))
    hits = share(best.predict(raw(preprocessing, test)), test[1])
    return {"accuracy": hits, "exact": exact, "bytes": bytes_of_trees(best)}


def round_trees(
    boosting: GradientBoostingClassifier, means: np.ndarray, scales: np.ndarray
) -> None:
    """Make it one of raw columns and rounded numbers, in place.

    Its numbers are the thresholds, the leaves times the learning rate, and what each output starts
    from. `means` and `scales` (d − 1,) are those of its columns but the constant, which is last.
    """
    for tree in (stage.tree_ for stage in boosting.estimators_.ravel()):
        inner = tree.feature >= 0
        # The constant column is never split.
        mean, scale = means[tree.feature[inner]], scales[tree.feature[inner]]
        tree.threshold[inner] = rounded(tree.threshold[inner] * scale + mean)
        tree.value[:] = rounded(boosting.learning_rate * tree.value)
    boosting.learning_rate = 1.0
    shares = boosting.init_.class_prior_
    if len(shares) == 2:
        second = expit(rounded(logit(shares[1])))
        boosting.init_.class_prior_ = np.array([1.0 - second, second])
    else:
        boosting.init_.class_prior_ = softmax(rounded(np.log(shares)))


def bytes_of_trees(boosting: GradientBoostingClassifier) -> int:
    """2 a threshold, the name of its column, 2 a leaf, and 2 for what each output starts from."""
    trees = [stage.tree_ for stage in boosting.estimators_.ravel()]
    leaves = sum(int(tree.n_leaves) for tree in trees)
    splits = sum(int(tree.node_count) for tree in trees) - leaves
    starts = boosting.estimators_.shape[1]
    return (NUMBER + NAME) * splits + NUMBER * (leaves + starts)


def small_logistic(train: Part, test: Part, seed: int, budget: int) -> Result:
    """Logistic regression, of the largest coefficients only where all do not fit in `budget`."""
    preprocessing, X, T = standardized(train, test)
    means, scales = _scaling(preprocessing)
    outputs, columns = _outputs(train[1]), np.arange(len(means))
    kept = max(1, (budget - NUMBER * outputs) // ((NUMBER + NAME) * outputs))
    if kept < len(columns):
        sparse = LogisticRegression(C=0.1, max_iter=500).fit(X[:, :-1], train[1])
        columns = np.argsort(-np.abs(sparse.coef_).sum(axis=0))[:kept]
    X, T = X[:, columns], T[:, columns]
    best = _better([LogisticRegression(C=C, max_iter=500) for C in (0.1, 1.0, 10.0)], X, train[1])
    exact = share(best.predict(T), test[1])
    round_coefficients(best, means[columns], scales[columns])
    hits = share(best.predict(raw(preprocessing, test)[:, columns]), test[1])
    own = NUMBER + (NAME if len(columns) < len(means) else 0)
    size = own * best.coef_.size + NUMBER * best.intercept_.size
    return {"accuracy": hits, "exact": exact, "bytes": size}


def round_coefficients(logistic: LogisticRegression, means: np.ndarray, scales: np.ndarray) -> None:
    """Make it one of raw columns and rounded numbers, in place; of d columns, (d,) each."""
    own = logistic.coef_ / scales
    logistic.intercept_ = rounded(logistic.intercept_ - own @ means)
    logistic.coef_ = rounded(own)


def rounded(values: np.ndarray) -> np.ndarray:
    """To `SIGNIFICANT` bits each, and a sign."""
    parts, exponents = np.frexp(values)
    whole = 2.0**SIGNIFICANT
    return np.asarray(np.ldexp(np.rint(parts * whole) / whole, exponents))


def raw(preprocessing: Preprocessing, part: Part) -> np.ndarray:
    """The (n, d) columns before they are standardized, the constant one last."""
    layout = preprocessing.layout
    columns = layout.expand(layout.read(part[0]), preprocessing.fill, preprocessing.encoder)
    return np.column_stack([columns, np.ones(len(columns))])


def _scaling(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    return np.array(preprocessing.means), np.array(preprocessing.scales)


def _outputs(target: np.ndarray) -> int:
    """Of a peer: one of two classes, else one a class."""
    classes = len(np.unique(target))
    return 1 if classes == 2 else classes


def _better(candidates: list[Any], X: np.ndarray, y: np.ndarray) -> Any:
    """The best by three inner folds, fitted."""
    scores = [cross_val_score(one, X, y, cv=3).mean() for one in candidates]
    return candidates[int(np.argmax(scores))].fit(X, y)
