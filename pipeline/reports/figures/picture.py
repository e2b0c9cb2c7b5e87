"""Drawings as a PNG, for MLflow and for documents, in the light colours.

Drawn without pyplot, so nothing global is touched and no display is needed.
"""

from __future__ import annotations

import io
from functools import singledispatch
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.path import Path
from matplotlib.patheffects import withStroke

from pipeline.reports.figures import layout
from pipeline.reports.figures.chart import Chart, Dots
from pipeline.reports.figures.layout import TEXT, Area, Drawing, Shape, Spots, Stroke, Words
from pipeline.reports.figures.palette import GROUND, INK, LIGHT
from pipeline.reports.figures.scales import CHARACTER, wrapped
from pipeline.reports.figures.svg import CORNERS, DASHES, STROKED, WIDE, across

PIXELS_AN_INCH = 96.0
POINT = 0.75
GUTTER = 24.0
_TITLE, _KEY = 20.0, 20.0
_ANCHORS: Any = {"start": "left", "middle": "center", "end": "right"}
# Names of data sets and columns are text, whatever dollar signs they hold.
_STYLE: Any = {"text.parse_math": False, "font.family": "DejaVu Sans"}


def to_png(chart: Chart, dpi: int = 150) -> bytes:
    """The figure as a PNG picture; equal figures give equal bytes."""
    stream = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        drawing = composed(chart)
        figure = Figure(figsize=(drawing.width / PIXELS_AN_INCH, drawing.height / PIXELS_AN_INCH))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
        axes.set_axis_off()
        for place, shape in enumerate(drawing.shapes):
            for artist in _artists(shape, axes):
                artist.set_zorder(place)
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def composed(chart: Chart) -> Drawing:
    """The panels of a figure beside and below one another, their titles and the legend above."""
    if not chart.panels:
        words = Words(WIDE[1] / 2, 40.0, chart.empty, anchor="middle")
        return Drawing(WIDE[1], 70.0, (words,))
    columns = across(chart)
    width = WIDE[columns]
    whole = columns * (width + GUTTER) + GUTTER
    shapes, y = _legend(chart, whole)
    for first in range(0, len(chart.panels), columns):
        line = chart.panels[first : first + columns]
        titles = [wrapped(panel.title, width) for panel in line]
        title_height = _TITLE * max(map(len, titles)) if any(p.title for p in line) else 0.0
        drawings = [layout.draw(panel, width) for panel in line]
        for k, (drawing, title) in enumerate(zip(drawings, titles, strict=True)):
            x = GUTTER + k * (width + GUTTER)
            shapes += [Words(x, y + 13.0 + _TITLE * n, text, INK, bold=True)
                       for n, text in enumerate(title)]  # fmt: skip
            shapes += [moved(shape, x, y + title_height) for shape in drawing.shapes]
        y += title_height + max(drawing.height for drawing in drawings) + GUTTER
    return Drawing(whole, y, tuple(shapes))


def _legend(chart: Chart, width: float) -> tuple[list[Shape], float]:
    shapes: list[Shape] = []
    x, y = GUTTER, 22.0
    for mark in chart.key:
        needed = 40.0 + CHARACTER * len(mark.name)
        if x + needed > width and x > GUTTER:
            x, y = GUTTER, y + _KEY
        dash, marker = getattr(mark, "dash", ""), getattr(mark, "marker", "s")
        if not isinstance(mark, Dots) and hasattr(mark, "dash"):
            line = np.array([[x, y], [x + 26.0, y]])
            shapes.append(Stroke(line, mark.colour, 2.0, dash))
        if marker:
            sign = Dots((), (), mark.colour, marker=marker, hollow=getattr(mark, "hollow", False))
            shapes.append(Spots(np.array([[x + 13.0, y]]), sign))
        shapes.append(Words(x + 32.0, y + 4.0, mark.name))
        x += needed
    return shapes, (y + _KEY if shapes else GUTTER)


def moved(shape: Shape, x: float, y: float) -> Shape:
    """A shape at another place."""
    step = np.array([x, y])
    match shape:
        case Words():
            return Words(shape.x + x, shape.y + y, shape.text, shape.colour, shape.anchor,
                         shape.halo, shape.bold)  # fmt: skip
        case Area():
            return Area(tuple(ring + step for ring in shape.rings), shape.colour, shape.opacity)
        case Spots():
            return Spots(shape.points + step, shape.like)
        case Stroke():
            return Stroke(shape.points + step, shape.colour, shape.width, shape.dash, shape.opacity)


@singledispatch
def _artists(shape: Shape, axes: Axes) -> list[Artist]:
    raise TypeError(f"no way to draw {type(shape).__name__}")


@_artists.register
def _(shape: Stroke, axes: Axes) -> list[Artist]:
    dash = [float(part) / max(shape.width, 1.0) for part in DASHES[shape.dash].split()]
    style: Any = (0, dash) if dash else "-"
    return [*axes.plot(shape.points[:, 0], shape.points[:, 1], color=LIGHT[shape.colour],
                       linewidth=POINT * shape.width, linestyle=style,
                       alpha=shape.opacity)]  # fmt: skip


@_artists.register
def _(shape: Area, axes: Axes) -> list[Artist]:
    colour = LIGHT[shape.colour]
    return [
        axes.add_patch(Polygon(ring, facecolor=colour, alpha=shape.opacity, lw=0))
        for ring in shape.rings
    ]


@_artists.register
def _(shape: Spots, axes: Axes) -> list[Artist]:
    like, colour = shape.like, LIGHT[shape.like.colour]
    outlined = like.hollow or like.marker in STROKED
    marker, half = _sign(like.marker)
    how: Any = {
        "facecolors": "none" if outlined else colour,
        "edgecolors": colour if outlined else "none",
        "linewidths": 1.3 if outlined else 0.0,
        "marker": marker,
        "s": (2 * POINT * like.size * half) ** 2,
    }
    return [axes.scatter(shape.points[:, 0], shape.points[:, 1], alpha=like.opacity, **how)]


def _sign(marker: str) -> tuple[str | Path, float]:
    """A marker, and how far its farthest corner is from the middle, in half widths.

    A path is scaled so that this corner is at 0.5.
    """
    if marker == "o":
        return marker, 1.0
    corners = np.array(CORNERS[marker]) * [1.0, -1.0]
    line = [Path.MOVETO, Path.LINETO] * (len(corners) // 2)
    ring = [Path.MOVETO, *[Path.LINETO] * (len(corners) - 1)]
    return Path(corners, line if marker in STROKED else ring), float(np.abs(corners).max())


@_artists.register
def _(shape: Words, axes: Axes) -> list[Artist]:
    rim: Any = [withStroke(linewidth=3, foreground=LIGHT[GROUND])] if shape.halo else None
    return [axes.text(shape.x, shape.y, shape.text, color=LIGHT[shape.colour],
                      fontsize=POINT * TEXT, ha=_ANCHORS[shape.anchor], va="baseline",
                      path_effects=rim, fontweight="bold" if shape.bold else "normal")]  # fmt: skip
