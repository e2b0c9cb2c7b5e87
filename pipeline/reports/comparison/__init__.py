"""Ours beside other ways to train, over several runs."""

__all__ = ["figures", "page", "sets"]
