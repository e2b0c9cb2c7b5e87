"""What a figure shows, without how it is drawn: panels of lines, bands, dots and words.

A figure is made of results as a `Chart`; `layout` places its shapes for a width, `svg` writes them
into a page, `picture` into a PNG. So one figure is legible on a desktop, on a phone and in MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.reports.figures.palette import BLUE, INK, SOFT

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Axis:
    """An axis: `label`; `log`; `unit`, written after each number.

    `low` and `high`, None: as the marks need. `values`: what stands on it, where these few are all
    there is. On a logarithmic axis `floor` is where what is not positive is drawn, with a tick that
    says 0. `whole`: of what is counted; no tick is at a part of one.
    """

    label: str = ""
    log: bool = False
    unit: str = ""
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    floor: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class Line:
    """A line; `name` is written at its right end, or in the legend where `keyed`."""

    x: Numbers
    y: Numbers
    colour: str = BLUE
    name: str = ""
    dash: str = ""
    marker: str = ""
    width: float = 2.0
    opacity: float = 1.0
    keyed: bool = False


@dataclass(frozen=True)
class Band:
    """What lies between two lines."""

    x: Numbers
    low: Numbers
    high: Numbers
    colour: str = BLUE
    opacity: float = 0.16


@dataclass(frozen=True)
class Dots:
    """Points; `name` stands in the legend, `titles` are shown when one points at them.

    `low`, `high`: ends of a bar through each. `marker`: one of `o s ^ v D * x -`; `size` is its
    half width in pixels.
    """

    keyed: ClassVar[bool] = True

    x: Numbers
    y: Numbers
    colour: str = BLUE
    name: str = ""
    marker: str = "o"
    size: float = 3.5
    opacity: float = 1.0
    hollow: bool = False
    titles: tuple[str, ...] = ()
    low: Numbers = ()
    high: Numbers = ()


@dataclass(frozen=True)
class Level:
    """A line across the panel, at a height or, `upright`, at a place; `name` beside it."""

    at: float
    colour: str = INK
    name: str = ""
    dash: str = ""
    upright: bool = False


@dataclass(frozen=True)
class Note:
    """Words at a place; `anchor` says which part of them is there: start, middle, end."""

    x: float
    y: float
    text: str
    colour: str = SOFT
    anchor: str = "middle"
    lift: float = 0.0


@dataclass(frozen=True)
class Tiles:
    """Rectangles of one colour: from x0 to x1, from y0 to y1; `name` stands in the legend."""

    keyed: ClassVar[bool] = True

    x0: Numbers
    x1: Numbers
    y0: Numbers
    y1: Numbers
    colour: str = BLUE
    name: str = ""


Mark = Line | Band | Dots | Level | Note | Tiles


@dataclass(frozen=True)
class Panel:
    """A pair of axes and what is on them, the first mark below the others.

    `rows`: names of places 0, 1, … downwards on the y axis, which then has no numbers; `even`: one
    unit is as long on both axes; `height`: of the whole in pixels, None: as usual. `heading` stands
    over the names of the lines.
    """

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    title: str = ""
    heading: str = ""
    rows: tuple[str, ...] = ()
    even: bool = False
    height: float | None = None

    def lines(self, name: str = "") -> list[Line]:
        """Its lines, or those of a name."""
        found = [mark for mark in self.marks if isinstance(mark, Line)]
        return [line for line in found if not name or line.name == name]


@dataclass(frozen=True)
class Chart:
    """A figure: panels side by side where there is room; `empty` says why there are none."""

    panels: tuple[Panel, ...] = ()
    empty: str = ""

    @property
    def key(self) -> list[Line | Dots | Tiles]:
        """What the legend explains, each name once."""
        found: dict[str, Line | Dots | Tiles] = {}
        for panel in self.panels:
            for mark in panel.marks:
                if isinstance(mark, Line | Dots | Tiles) and mark.keyed and mark.name:
                    found.setdefault(mark.name, mark)
        return list(found.values())
