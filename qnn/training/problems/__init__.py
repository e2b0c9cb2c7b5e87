"""The training problem, over one output or several, and the levels of proof it can have."""

__all__ = ["levels", "problem", "vector"]
