"""The relaxation of rows that lie in blocks on many machines: only sums of them come together."""

__all__ = ["compressed", "factors", "low_rank", "proving", "result", "solve"]
