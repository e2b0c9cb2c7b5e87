"""A float ReLU network of two hidden layers, trained by Adam on the cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.training.arms.orthonormal import Orthogonality
from qnn.training.arms.orthonormal_study import Mlp, at_best_rate

Array = np.ndarray

HIDDEN = (64, 32)
STEPS = 1000


@dataclass(frozen=True, eq=False)
class FloatMlp:
    """A trained network, its weights of 32 bits, and the classes (k,) that its outputs stand for.

    As scikit-learn's classifiers: `decision_function` gives (n,) for two classes, else (n, k).
    """

    network: Mlp
    classes_: Array

    def decision_function(self, X: Array) -> Array:
        """Scores of rows (n, d)."""
        return as_scores(self.network.scores(X))

    def predict(self, X: Array) -> Array:
        """The class of each row (n, d)."""
        found: Array = self.classes_[self.network.scores(X).argmax(axis=1)]
        return found

    @property
    def size_in_bytes(self) -> int:
        """4 bytes a weight and a bias."""
        return 4 * sum(part.size for part in (*self.network.weights, *self.network.biases))


def as_scores(outputs: Array) -> Array:
    """Outputs (n, k) as a classifier's scores: their difference where there are two."""
    return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs


def float_mlp(X: Array, labels: Array, seed: int, setting: Orthogonality | None = None) -> FloatMlp:
    """Fitted on X (n, d) and labels (n,); Adam's rate is the best of three on a fifth of the rows.

    setting: how the weights of all layers but the last are kept near orthonormal; None: not at all.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    sizes = (X.shape[1], *HIDDEN, len(classes))
    limit = {"steps": STEPS}
    trained = at_best_rate(X, codes, sizes, setting or Orthogonality(), seed, limit).network
    weights, biases = (
        [part.astype(np.float32).astype(np.float64) for part in parts]
        for parts in (trained.weights, trained.biases)
    )
    return FloatMlp(Mlp(weights, biases, trained.steps), classes)
