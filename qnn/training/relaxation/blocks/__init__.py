"""The relaxation of rows that lie in blocks on many machines: only sums of them come together."""

__all__ = ["compressed", "proving", "result", "solve"]
