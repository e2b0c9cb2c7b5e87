"""The relaxation by ADMM on the symmetric reduction."""

__all__ = ["estimates", "loop", "ridge", "search", "splitting", "starts"]
