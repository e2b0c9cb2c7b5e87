"""Ours beside other ways to train, over several runs."""

__all__ = ["arms", "figures", "orthogonality", "page", "sets"]
