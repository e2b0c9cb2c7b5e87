"""Ours beside other ways to train, over several runs."""
