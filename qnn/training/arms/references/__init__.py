"""Unquantized models from scikit-learn, to see what accuracy the data allow."""

__all__ = ["cross_validation", "gradient_boosting", "logistic_regression", "rbf_svm"]
