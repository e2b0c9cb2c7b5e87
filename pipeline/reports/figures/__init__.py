"""Plots as SVG."""

__all__ = ["drawing", "plots", "width_plots"]
