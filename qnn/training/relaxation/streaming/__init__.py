"""The relaxation of a problem whose rows are read once, in blocks."""

__all__ = ["compression", "small", "solve"]
