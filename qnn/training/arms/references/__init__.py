"""Unquantized models from scikit-learn, to see what accuracy the data allow."""
