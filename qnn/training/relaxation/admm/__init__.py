"""The relaxation by ADMM on the symmetric reduction."""

__all__ = ["estimates", "faces", "kernels", "loop", "ridge", "search", "splitting", "starts"]
