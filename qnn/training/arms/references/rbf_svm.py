"""scikit-learn's support vector machine with the Gaussian kernel."""

from __future__ import annotations

import numpy as np
from sklearn.svm import SVC

from qnn.training.arms.references.cross_validation import best_by_cross_validation


def rbf_svm(X: np.ndarray, labels: np.ndarray, seed: int) -> SVC:
    """Fitted on X (n, d) and labels (n,); penalty and kernel width are cross-validated."""
    d = X.shape[1]
    grid = {"C": [1.0, 10.0, 100.0], "gamma": ["scale", 0.25 / d, 0.05 / d]}
    return best_by_cross_validation(SVC(random_state=seed), grid, X, labels, seed)
