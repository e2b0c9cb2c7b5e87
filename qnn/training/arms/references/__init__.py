"""Models without our problems, most from scikit-learn: what accuracy the data allow."""

__all__ = [
    "cross_validation",
    "float_mlp",
    "gradient_boosting",
    "logistic_regression",
    "quantized_mlp",
    "rbf_svm",
]
