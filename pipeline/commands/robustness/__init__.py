"""`qnn robustness`: rows of a network, or images of a decoder, without a sweep."""

from pipeline.commands.robustness.command import robustness

__all__ = ["robustness"]
