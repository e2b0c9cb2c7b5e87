"""The relaxation by ADMM on the symmetric reduction."""

__all__ = ["estimates", "kernels", "loop", "ridge", "search", "splitting", "starts"]
