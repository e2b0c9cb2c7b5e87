"""Figures of a study of quantization: what is kept against the file's bytes, a line a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reports.figures.drawing import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SOFT,
    grid,
    log_x,
    new_figure,
    plain_log_y,
    say_nothing,
    style,
)
from pipeline.studies.quantization.summary import Point

COLOURS = {"kbest": BLUE, "descent": GREEN, "gptq": ORANGE, "adaquant": PURPLE, "rtn": RED,
           "rtn_range": SOFT}  # fmt: skip
_LEAST = 1e-12


def divergence_figure(found: Sequence[Point]) -> Figure:
    """Divergence on rows held out against bytes, a panel a model."""
    return _panels(found, lambda point: max(point.divergence, _LEAST), "divergence", True)


def kept_figure(found: Sequence[Point]) -> Figure:
    """Accuracy, or agreement with the float network, against bytes, a panel a model."""
    labelled = any(point.accuracy is not None for point in found)
    words = "accuracy, %" if labelled else "rows of the float network's class, %"
    shown = [point for point in found if point.kept is not None]
    return _panels(shown, lambda point: 100.0 * (point.kept or 0.0), words, False)


def _panels(
    found: Sequence[Point], height: Callable[[Point], float], words: str, logarithmic: bool
) -> Figure:
    models = list(dict.fromkeys(point.model for point in found))
    with style():
        if not models:
            return say_nothing(*new_figure(8.6, 2.0), "no classes in these networks")
        across, down = grid(len(models))
        figure = Figure(figsize=(max(6.2, 3.4 * across), 3.6 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False)
        for place, axes in enumerate(panels.flat):
            if place >= len(models):
                axes.set_axis_off()
                continue
            own = [point for point in found if point.model == models[place]]
            _draw(axes, own, height)
            axes.set_title(models[place], fontsize=9)
            axes.set_ylabel(words)
            axes.set_xlabel("bytes of the file")
            if logarithmic:
                axes.set_yscale("log")
                plain_log_y(axes, "")
            elif own[0].float_accuracy is not None:
                axes.axhline(100.0 * own[0].float_accuracy, color=INK, linewidth=0.8, ls="--")
        panels[0, 0].legend(frameon=False)
    return figure


def _draw(axes: Axes, own: Sequence[Point], height: Callable[[Point], float]) -> None:
    for method, colour in COLOURS.items():
        line = sorted((p for p in own if p.method == method), key=lambda p: p.file_bytes)
        if line:
            x, y = [p.file_bytes for p in line], [height(p) for p in line]
            axes.plot(x, y, color=colour, marker="o", markersize=4, label=method, zorder=3)
    log_x(axes, np.array([p.file_bytes for p in own]))
