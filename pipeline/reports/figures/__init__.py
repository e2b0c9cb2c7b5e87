"""Figures: charts made of results, drawn for a page of any width and as pictures."""

__all__ = [
    "chart",
    "layout",
    "palette",
    "picture",
    "plots",
    "reliability_plot",
    "scales",
    "svg",
    "width_plots",
]
