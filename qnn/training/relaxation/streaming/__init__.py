"""The relaxation of a problem whose rows are read once, in blocks."""

__all__ = ["compression", "moments", "small", "solve"]
