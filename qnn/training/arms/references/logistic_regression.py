"""scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from qnn.training.arms.references.cross_validation import best_by_cross_validation


def logistic_regression(X: np.ndarray, labels: np.ndarray, seed: int) -> LogisticRegression:
    """Fitted on X (n, d) and labels (n,); the strength of its penalty is cross-validated."""
    model = LogisticRegression(max_iter=2000, random_state=seed)
    return best_by_cross_validation(model, {"C": [1.0, 0.01, 0.1, 10.0]}, X, labels, seed)
