"""Where everything of a panel goes at a width: shapes in pixels, y downwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np

from pipeline.reports.figures.chart import (
    Band,
    Dots,
    Level,
    Line,
    Mark,
    Note,
    Panel,
    Tiles,
)
from pipeline.reports.figures.palette import GROUND, INK, RULE, SOFT
from pipeline.reports.figures.scales import BOLD, CHARACTER, Scale, scale_of, wrapped

Array = np.ndarray
TEXT = 12.0
LINE_HEIGHT = 15.0
# A line of its name, one of a note, and its marks.
ROW_HEIGHT = 62.0
USUAL_HEIGHT = 0.68
# Of the width, at most, for the names at the ends of lines.
NAMES_SHARE = 0.42


@dataclass(frozen=True)
class Stroke:
    """A line through points (k, 2)."""

    points: Array
    colour: str
    width: float = 1.0
    dash: str = ""
    opacity: float = 1.0


@dataclass(frozen=True)
class Area:
    """Polygons (k, 2) each, filled."""

    rings: tuple[Array, ...]
    colour: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Spots:
    """A marker at each of the points (k, 2), as `Dots` has it."""

    points: Array
    like: Dots


@dataclass(frozen=True)
class Words:
    """A line of text; `y` is its base line. `halo`: on a rim of the ground's colour."""

    x: float
    y: float
    text: str
    colour: str = INK
    anchor: str = "start"
    halo: bool = False
    bold: bool = False


Shape = Stroke | Area | Spots | Words


@dataclass(frozen=True)
class Frame:
    """A panel's two scales; the plot lies between their ends. `width` is of the whole."""

    x: Scale
    y: Scale
    width: float

    def points(self, x: Sequence[float] | Array, y: Sequence[float] | Array) -> Array:
        """Places (k, 2) of points; those that are not finite are left out."""
        first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        known = np.isfinite(first) & np.isfinite(second)
        return np.column_stack([self.x.place(first[known]), self.y.place(second[known])])

    @property
    def top(self) -> float:
        """The upper edge of the plot."""
        return min(self.y.start, self.y.end)

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return max(self.y.start, self.y.end)


@dataclass(frozen=True)
class Drawing:
    """The shapes of a panel and the size of their ground, in pixels."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


def draw(panel: Panel, width: float) -> Drawing:
    """A panel at a width."""
    frame, height = _framed(panel, width)
    shapes = [*_axes(panel, frame, height)]
    notes: list[Words] = []
    for mark in panel.marks:
        if isinstance(mark, Note):
            note = _apart(_words(mark, frame), notes)
            notes += note
            shapes += note
        else:
            shapes += _shapes(mark, frame)
    shapes += [*_row_names(panel, frame), *_end_names(panel, frame)]
    return Drawing(width, height, tuple(shapes))


def _apart(note: list[Words], others: list[Words]) -> list[Words]:
    """The lines of a note, moved up until they cover none of the others."""
    while any(_cover(one, other) for one in note for other in others):
        note = [replace(one, y=one.y - LINE_HEIGHT) for one in note]
    return note


def _cover(one: Words, other: Words) -> bool:
    (a, b), (c, d) = _extent(one), _extent(other)
    return a < d and c < b and abs(one.y - other.y) < LINE_HEIGHT


def _extent(words: Words) -> tuple[float, float]:
    width = CHARACTER * len(words.text)
    start = words.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[words.anchor] * width
    return start, start + width


def _framed(panel: Panel, width: float) -> tuple[Frame, float]:
    above = LINE_HEIGHT * len(_label(panel.y.label, width)) + 8.0
    below = 22.0 + LINE_HEIGHT * len(_label(panel.x.label, width))
    height = panel.height or max(USUAL_HEIGHT * min(width, 560.0), 210.0)
    if panel.rows:
        if any(isinstance(mark, Level) and mark.upright and mark.name for mark in panel.marks):
            above += LINE_HEIGHT
        height = above + below + ROW_HEIGHT * len(panel.rows)
    x, y = _numbers(panel.marks, 0), _numbers(panel.marks, 1)
    upright = scale_of(panel.y, y, height - below, above)
    if panel.rows:
        upright = Scale(panel.y, -0.5, len(panel.rows) - 0.5, above, height - below)
    texts = [] if panel.rows else [text for _, text in upright.ticks(42.0)]
    left = max([CHARACTER * len(text) + 9.0 for text in texts], default=10.0)
    along = scale_of(panel.x, x, left, width - _room_for_names(panel, width))
    if panel.even:
        unit = (along.end - along.start) / (along.high - along.low)
        height = above + below + unit * (upright.high - upright.low)
        upright = replace(upright, start=height - below)
    return Frame(along, upright, width), height


def _label(text: str, width: float) -> list[str]:
    return wrapped(text, width - 10.0) if text else []


def _room_for_names(panel: Panel, width: float) -> float:
    names = [line.name for line in panel.lines() if line.name and not line.keyed]
    names += [panel.heading] if names else []
    longest = max([BOLD * len(name) + 16.0 for name in names], default=14.0)
    return min(longest, NAMES_SHARE * width)


def _numbers(marks: Sequence[Mark], axis: int) -> Array:
    """All numbers that an axis has to reach."""
    found: list[Array] = [np.empty(0)]
    for mark in marks:
        match mark:
            case Line() | Dots():
                found.append(np.asarray((mark.x, mark.y)[axis], dtype=float))
                if axis and isinstance(mark, Dots):
                    found += [np.asarray(ends, dtype=float) for ends in (mark.low, mark.high)]
            case Band():
                both = [mark.low, mark.high] if axis else [mark.x]
                found += [np.asarray(ends, dtype=float) for ends in both]
            case Tiles():
                ends = (mark.y0, mark.y1) if axis else (mark.x0, mark.x1)
                found += [np.asarray(end, dtype=float) for end in ends]
            case Level() if mark.upright != bool(axis):
                found.append(np.array([mark.at]))
    return np.concatenate(found)


def _axes(panel: Panel, frame: Frame, height: float) -> Iterator[Shape]:
    left, right = frame.x.start, frame.x.end
    last = -np.inf
    for x, text in frame.x.ticks(CHARACTER * 5 + 16.0):
        yield Stroke(np.array([[x, frame.top], [x, frame.bottom]]), RULE)
        half = CHARACTER * len(text) / 2
        middle = min(max(x, half), frame.width - half)
        if middle - half > last + 5.0:
            yield Words(middle, frame.bottom + 16.0, text, SOFT, "middle")
            last = middle + half
    for y, text in [] if panel.rows else frame.y.ticks(42.0):
        yield Stroke(np.array([[left, y], [right, y]]), RULE)
        yield Words(left - 6.0, y + 4.0, text, SOFT, "end")
    yield Stroke(np.array([[left, frame.bottom], [right, frame.bottom]]), SOFT)
    for k, text in enumerate(_label(panel.y.label, frame.width)):
        yield Words(1.0, 11.0 + LINE_HEIGHT * k, text, SOFT)
    lines = _label(panel.x.label, frame.width)
    for k, text in enumerate(lines):
        base = height - 5.0 - LINE_HEIGHT * (len(lines) - 1 - k)
        half = CHARACTER * len(text) / 2
        middle = min(max((left + right) / 2, half), frame.width - half)
        yield Words(middle, base, text, SOFT, "middle")


def _row_names(panel: Panel, frame: Frame) -> Iterator[Shape]:
    """The rows' names, each on a ground of its own that interrupts the lines across the panel."""
    for k, name in enumerate(panel.rows):
        top = float(frame.y.place([k - 0.5])[0])
        words = Words(frame.x.start + 1.0, top + 13.0, name, INK, halo=True)
        (left, right), low, high = _extent(words), top + 17.0, top - 2.0
        box = [[left, low], [left, high], [right + 4.0, high], [right + 4.0, low]]
        yield Area((np.array(box),), GROUND)
        yield words


def _end_names(panel: Panel, frame: Frame) -> Iterator[Shape]:
    """Names at the right ends of lines, moved apart where they would cover one another.

    A name that is moved keeps a thread to its line, dotted where that is a single point.
    """
    ends = []
    for line in panel.lines():
        points = frame.points(line.x, line.y)
        if line.name and not line.keyed and len(points):
            ends.append((points[-1], replace(line, dash="dotted" if len(points) == 1 else "")))
    places = spread([float(point[1]) for point, _ in ends], LINE_HEIGHT, frame.top - 4.0,
                    frame.bottom)  # fmt: skip
    start = frame.x.end + 10.0
    room = int((frame.width - start) / BOLD)
    for (point, line), y in zip(ends, places, strict=True):
        first = point + np.array([4.0, 0.0])
        yield Stroke(np.array([first, [start - 2.0, y]]), line.colour, 1.0, line.dash)
        yield Words(start, y + 4.0, _fitting(line.name, room), line.colour, bold=True)
    if panel.heading and ends:
        yield Words(start, min(places) - LINE_HEIGHT + 3.0, panel.heading, SOFT)


def _fitting(name: str, room: int) -> str:
    """A name, or its beginning and its end where it has more characters than there is room for."""
    if len(name) <= room:
        return name
    last = (room - 1) // 3
    return f"{name[: room - 1 - last]}…{name[len(name) - last :]}"


def spread(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Places as near to the wanted ones as a distance of `step` between any two allows.

    They stay between `low` and `high` where all have room there.
    """
    order = np.argsort(wanted, kind="stable")
    groups: list[tuple[float, int]] = []
    # Places that would meet stand together around their mean; such a stack may meet another.
    for place in np.asarray(wanted, dtype=float)[order]:
        groups.append((float(place), 1))
        while len(groups) > 1 and _meet(groups[-2], groups[-1], step):
            (one, first), (other, second) = groups[-2:]
            groups[-2:] = [((one * first + other * second) / (first + second), first + second)]
    found = np.concatenate(
        [[], *(centre + step * (np.arange(count) - (count - 1) / 2) for centre, count in groups)]
    )
    for k in range(len(found)):
        found[k] = max(found[k], low + step * k)
    for k in range(len(found) - 1, -1, -1):
        found[k] = min(found[k], high - step * (len(found) - 1 - k))
    places = np.empty(len(found))
    places[order] = found
    return [float(place) for place in places]


def _meet(one: tuple[float, int], other: tuple[float, int], step: float) -> bool:
    return one[0] + step * (one[1] + other[1]) / 2 > other[0]


@singledispatch
def _shapes(mark: Mark, frame: Frame) -> list[Shape]:
    raise TypeError(f"no way to draw {type(mark).__name__}")


@_shapes.register
def _(mark: Line, frame: Frame) -> list[Shape]:
    points = frame.points(mark.x, mark.y)
    found: list[Shape] = [Stroke(points, mark.colour, mark.width, mark.dash, mark.opacity)]
    if mark.marker:
        found.append(Spots(points, Dots((), (), mark.colour, marker=mark.marker)))
    return found


@_shapes.register
def _(mark: Band, frame: Frame) -> list[Shape]:
    upper, lower = frame.points(mark.x, mark.high), frame.points(mark.x, mark.low)
    return [Area((np.concatenate([upper, lower[::-1]]),), mark.colour, mark.opacity)]


@_shapes.register
def _(mark: Dots, frame: Frame) -> list[Shape]:
    points = frame.points(mark.x, mark.y)
    found: list[Shape] = []
    if len(mark.low):
        lows, highs = frame.points(mark.x, mark.low), frame.points(mark.x, mark.high)
        found += [
            Stroke(np.array([a, b]), mark.colour, 1.0) for a, b in zip(lows, highs, strict=True)
        ]
    return [*found, Spots(points, mark)]


@_shapes.register
def _(mark: Level, frame: Frame) -> list[Shape]:
    if mark.upright:
        x = float(frame.x.place([mark.at])[0])
        line = np.array([[x, frame.top], [x, frame.bottom]])
        words = Words(_beside(x, frame, mark.name), frame.top - 5.0, mark.name, mark.colour,
                      halo=True)  # fmt: skip
    else:
        y = float(frame.y.place([mark.at])[0])
        line = np.array([[frame.x.start, y], [frame.x.end, y]])
        words = Words(frame.x.end - 3.0, y - 5.0, mark.name, mark.colour, "end", halo=True)
    return [Stroke(line, mark.colour, 1.4, mark.dash), *([words] if mark.name else [])]


def _beside(x: float, frame: Frame, name: str) -> float:
    """Where a name begins that is to the right of x or, where there is no room, to its left.

    Where neither side has room for it, it is as near to the right one as the picture lets it be.
    """
    long = CHARACTER * len(name)
    if frame.x.end - x > long + 6.0:
        return x + 5.0
    return x - 5.0 - long if x > long + 6.0 else max(frame.width - long, 0.0)


def _words(mark: Note, frame: Frame) -> list[Words]:
    """The lines of a note, where its mark wants them."""
    ((x, y),) = frame.points([mark.x], [mark.y])
    lines = mark.text.split("\n")
    half = CHARACTER * max(map(len, lines)) / 2
    if mark.anchor == "middle":
        x = min(max(x, frame.x.start + half), frame.width - half)
    return [
        Words(float(x), float(y) + 4.0 - mark.lift + LINE_HEIGHT * (k - (len(lines) - 1) / 2),
              text, mark.colour, mark.anchor, halo=True)
        for k, text in enumerate(lines)
    ]  # fmt: skip


@_shapes.register
def _(mark: Tiles, frame: Frame) -> list[Shape]:
    x0, x1 = frame.x.place(mark.x0), frame.x.place(mark.x1)
    y0, y1 = frame.y.place(mark.y0), frame.y.place(mark.y1)
    rings = [np.array([[a, c], [b, c], [b, d], [a, d]])
             for a, b, c, d in zip(x0, x1, y0, y1, strict=True)]  # fmt: skip
    return [Area(tuple(rings), mark.colour)] if rings else []
