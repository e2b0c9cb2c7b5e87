"""Figures of a study of quantization: what is kept against the file's bytes, a line a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.reports.figures.chart import Axis, Chart, Level, Line, Mark, Panel
from pipeline.reports.figures.palette import AMBER, BLUE, GREEN, INK, PURPLE, RED, SOFT
from pipeline.studies.quantization.summary import Point

COLOURS = {"kbest": BLUE, "descent": GREEN, "gptq": AMBER, "adaquant": PURPLE, "rtn": RED,
           "rtn_range": SOFT}  # fmt: skip
MARKERS = {"kbest": "o", "descent": "D", "gptq": "s", "adaquant": "^", "rtn": "v", "rtn_range": "x"}
_LEAST = 1e-12


def divergence_figure(found: Sequence[Point]) -> Chart:
    """Divergence on rows held out against bytes, a panel a model."""
    axis = Axis("divergence", log=True)
    return _panels(found, lambda point: max(point.divergence, _LEAST), axis, best=-1.0)


def kept_figure(found: Sequence[Point]) -> Chart:
    """Accuracy, or agreement with the float network, against bytes, a panel a model."""
    labelled = any(point.accuracy is not None for point in found)
    words = "accuracy" if labelled else "rows of the float network's class"
    shown = [point for point in found if point.kept is not None]
    axis = Axis(words, unit=" %")
    return _panels(shown, lambda point: 100.0 * (point.kept or 0.0), axis, best=1.0)


def _panels(
    found: Sequence[Point], height: Callable[[Point], float], axis: Axis, best: float
) -> Chart:
    models = list(dict.fromkeys(point.model for point in found))
    if not models:
        return Chart(empty="No classes in these networks.")
    panels = []
    for model in models:
        own = [point for point in found if point.model == model]
        marks: list[Mark] = [*_frontier(own, height, best), *_lines(own, height)]
        if not axis.log and own[0].float_accuracy is not None:
            marks.append(Level(100.0 * own[0].float_accuracy, INK, "float network", "dashed"))
        size = Axis("bytes of the file", log=True)
        panels.append(Panel(size, axis, tuple(marks), model))
    return Chart(tuple(panels))


def _frontier(own: Sequence[Point], height: Callable[[Point], float], best: float) -> list[Line]:
    """A broad line through what no network of fewer bytes equals; best: 1 if high is good, else -1.

    None where there is only one method or one such network.
    """
    x: list[float] = []
    y: list[float] = []
    for point in sorted(own, key=lambda p: (p.file_bytes, -best * height(p))):
        if not y or best * height(point) > best * y[-1]:
            x.append(point.file_bytes)
            y.append(height(point))
    several = len({point.method for point in own}) > 1 and len(x) > 1
    return [Line(x, y, SOFT, width=11.0, opacity=0.22)] if several else []


def _lines(own: Sequence[Point], height: Callable[[Point], float]) -> list[Line]:
    found = []
    for method, colour in COLOURS.items():
        line = sorted((p for p in own if p.method == method), key=lambda p: p.file_bytes)
        if line:
            x, y = [p.file_bytes for p in line], [height(p) for p in line]
            found.append(Line(x, y, colour, method, marker=MARKERS[method]))
    return found
