"""scikit-learn's gradient boosting of trees."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier

from qnn.training.arms.references.cross_validation import best_by_cross_validation


def gradient_boosting(X: np.ndarray, labels: np.ndarray, seed: int) -> GradientBoostingClassifier:
    """Fitted on X (n, d) and labels (n,): 100 trees; depth and share of rows cross-validated."""
    model = GradientBoostingClassifier(random_state=seed)
    grid: dict[str, list[float]] = {"max_depth": [3, 2], "subsample": [1.0, 0.5]}
    return best_by_cross_validation(model, grid, X, labels, seed)
