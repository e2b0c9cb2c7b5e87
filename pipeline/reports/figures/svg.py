"""Drawings as SVG for a page: text is text, colours are the page's, nothing is ever scaled down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from markupsafe import Markup, escape

from pipeline.reports.figures import layout
from pipeline.reports.figures.chart import Chart, Dots, Line, Panel, Tiles
from pipeline.reports.figures.layout import Area, Drawing, Shape, Spots, Stroke, Words

# Pixels that a panel has in a page on a desktop, by how many stand side by side, and on a phone.
WIDE = {1: 760.0, 2: 506.0, 3: 328.0}
NARROW = 346.0
DASHES = {"": "", "dashed": "6 3", "dotted": "2 3", "dashdot": "7 3 2 3"}


@dataclass(frozen=True)
class Picture:
    """A panel in a page: its title, and its SVG for a desktop and for a phone."""

    title: str
    wide: Markup
    narrow: Markup


def across(chart: Chart) -> int:
    """How many panels stand side by side on a desktop."""
    return min(len(chart.panels), max(WIDE))


def pictures(chart: Chart) -> list[Picture]:
    """The panels of a figure for a page."""
    return [
        Picture(panel.title, _drawn(panel, WIDE[across(chart)], "wide"),
                _drawn(panel, NARROW, "narrow"))
        for panel in chart.panels
    ]  # fmt: skip


def legend(chart: Chart) -> list[tuple[str, Markup]]:
    """What the figure's legend explains: the name and a sample of each."""
    return [(mark.name, _sample(mark)) for mark in chart.key]


def _sample(mark: Line | Dots | Tiles) -> Markup:
    middle = np.array([[13.0, 6.0]])
    shapes: list[Shape] = []
    if isinstance(mark, Line):
        line = np.array([[0.0, 6.0], [26.0, 6.0]])
        shapes.append(Stroke(line, mark.colour, mark.width, mark.dash, mark.opacity))
        if mark.marker:
            shapes.append(Spots(middle, Dots((), (), mark.colour, marker=mark.marker)))
    elif isinstance(mark, Dots):
        plain = Dots((), (), mark.colour, marker=mark.marker, hollow=mark.hollow,
                     size=max(mark.size, 3.0))  # fmt: skip
        shapes.append(Spots(middle, plain))
    else:
        box = np.array([[7.0, 0.0], [19.0, 0.0], [19.0, 12.0], [7.0, 12.0]])
        shapes.append(Area((box,), mark.colour))
    return _svg(Drawing(26.0, 12.0, tuple(shapes)), "sample")


def _drawn(panel: Panel, width: float, name: str) -> Markup:
    return _svg(layout.draw(panel, width), name)


def _svg(drawing: Drawing, name: str) -> Markup:
    width, height = f"{drawing.width:.0f}", f"{drawing.height:.0f}"
    return Markup('<svg class="{}" width="{}" height="{}" viewBox="0 0 {} {}">{}</svg>').format(
        name, width, height, width, height, Markup("").join(map(_element, drawing.shapes))
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(points: Iterable[Iterable[float]]) -> str:
    return "L".join(" ".join(map(_number, point)) for point in points)


def _attributes(**values: object) -> Markup:
    given = {name: value for name, value in values.items() if value not in ("", 1.0)}
    return Markup("").join(
        Markup(' {}="{}"').format(name.replace("_", "-"), value) for name, value in given.items()
    )


@singledispatch
def _element(shape: Shape) -> Markup:
    raise TypeError(f"no way to write {type(shape).__name__}")


@_element.register
def _(shape: Stroke) -> Markup:
    if not len(shape.points):
        return Markup("")
    further = _attributes(stroke_width=shape.width, stroke_dasharray=DASHES[shape.dash],
                          opacity=shape.opacity)  # fmt: skip
    return Markup('<path class="s-{}" d="M{}"{}/>').format(
        shape.colour, _path(shape.points), further
    )


@_element.register
def _(shape: Area) -> Markup:
    data = "".join(f"M{_path(ring)}z" for ring in shape.rings)
    return Markup('<path class="f-{}" d="{}"{}/>').format(
        shape.colour, data, _attributes(opacity=shape.opacity)
    )


@_element.register
def _(shape: Spots) -> Markup:
    like = shape.like
    kind = "s" if like.hollow or like.marker in STROKED else "f"
    start = Markup('<path class="{}-{}" d="').format(kind, like.colour)
    end = Markup('"{}').format(_attributes(opacity=like.opacity))
    if kind == "s":
        end += Markup(' stroke-width="1.8"')
    signs = [f"M{_path([point])}{_marker(like.marker, like.size)}" for point in shape.points]
    if len(like.titles) == len(signs):
        return Markup("").join(
            start + sign + end + Markup("><title>{}</title></path>").format(title)
            for sign, title in zip(signs, like.titles, strict=True)
        )
    return start + "".join(signs) + end + Markup("/>") if signs else Markup("")


@_element.register
def _(shape: Words) -> Markup:
    classes = f"f-{shape.colour}" + (" halo" if shape.halo else "") + (" b" if shape.bold else "")
    return Markup('<text class="{}" x="{}" y="{}"{}>{}</text>').format(
        classes, _number(shape.x), _number(shape.y),
        _attributes(text_anchor="" if shape.anchor == "start" else shape.anchor),
        escape(shape.text),
    )  # fmt: skip


def _marker(marker: str, size: float) -> str:
    """A marker as path data from its middle."""
    if marker == "o":
        r, d = _number(size), _number(2 * size)
        return f"m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0z"
    corners = CORNERS[marker]
    steps = np.diff(np.vstack([[0.0, 0.0], np.array(corners) * size]), axis=0)
    if marker in STROKED:
        pen = ["m", "l"] * (len(corners) // 2)
        return "".join(f"{p}{_path([step])}" for p, step in zip(pen, steps, strict=True))
    first, *rest = steps
    return f"m{_path([first])}" + "".join(f"l{_path([step])}" for step in rest) + "z"


# Markers that have no inside.
STROKED = ("x", "-")
_OUTER = [(np.sin(np.pi * k / 5) * (1.0 if k % 2 == 0 else 0.42),
           -np.cos(np.pi * k / 5) * (1.0 if k % 2 == 0 else 0.42)) for k in range(10)]  # fmt: skip
CORNERS: dict[str, list[tuple[float, float]]] = {
    "s": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "^": [(0.0, -1.1), (1.1, 0.9), (-1.1, 0.9)],
    "v": [(0.0, 1.1), (1.1, -0.9), (-1.1, -0.9)],
    "D": [(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)],
    "*": [(2.0 * x, 2.0 * y) for x, y in _OUTER],
    "x": [(-0.9, -0.9), (0.9, 0.9), (-0.9, 0.9), (0.9, -0.9)],
    "-": [(-1.4, 0.0), (1.4, 0.0)],
}
"""Corners of the markers but the circle, in half widths from the middle."""
