"""Unquantized models, most from scikit-learn, to see what accuracy the data allow."""

__all__ = ["cross_validation", "float_mlp", "gradient_boosting", "logistic_regression", "rbf_svm"]
