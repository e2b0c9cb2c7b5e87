"""How the figures look: colours, axes with plain numbers, names beside lines, SVG and PNG bytes.

Drawn without pyplot, so nothing global is touched and no display is needed. Colours are those of
Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

BLUE, ORANGE, GREEN, PURPLE, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"
INK, SOFT, RULE = "#1f2933", "#66717d", "#d9dee4"
ROUNDING_COLOURS = (RED, BLUE, GREEN, PURPLE, ORANGE)
MOST_ACROSS = 3

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    # Names of data sets and columns are text, whatever dollar signs they hold.
    "text.parse_math": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    # Without a salt the ids in an SVG are random and equal reports would differ.
    "svg.hashsalt": "qnn",
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the style of this project within the block."""
    with matplotlib.rc_context(STYLE):
        yield


def to_svg(figure: Figure) -> bytes:
    """The figure as an SVG document; equal figures give equal bytes."""
    return _save(figure, format="svg", dpi=180, metadata={"Date": None})


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG picture."""
    return _save(figure, format="png", dpi=dpi, metadata={"Software": None})


def _save(figure: Figure, **how: Any) -> bytes:
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, **how)
    return stream.getvalue()


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def grid(count: int) -> tuple[int, int]:
    """Panels side by side, and one below the other, for so many."""
    across = min(count, MOST_ACROSS)
    return across, -(-count // across)


def say_nothing(figure: Figure, axes: Axes, why: str) -> Figure:
    """A figure that says why it is empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", color=SOFT, transform=axes.transAxes)
    return figure


def log_x(axes: Axes, values: np.ndarray, least_ticks: int = 2) -> None:
    """A logarithmic x axis with plain numbers; linear where a value is not positive."""
    plain = FuncFormatter(lambda value, _: f"{value:g}" if value < 1e5 else _thousands(value))
    values = np.unique(values[np.isfinite(values)])
    if not len(values) or values[0] <= 0:
        axes.xaxis.set_major_formatter(plain)
        return
    axes.set_xscale("log")
    if len(values) <= 4 and least_ticks <= len(values):
        axes.xaxis.set_major_locator(FixedLocator(values.tolist()))
    else:
        axes.xaxis.set_major_locator(_locator(float(values[0]), float(values[-1])))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if len(values) == 1:
        axes.set_xlim(values[0] / 3, values[0] * 3)


def _locator(low: float, high: float) -> LogLocator | MaxNLocator:
    decades = np.log10(high / low)
    if decades < 0.7:
        return MaxNLocator(6, steps=[1, 2, 5, 10])
    if decades < 2.5:
        return LogLocator(subs=(1.0, 2.0, 5.0))
    return LogLocator(subs=(1.0, 3.0) if decades < 3 else (1.0,))


def _thousands(value: float) -> str:
    return f"{value / 1e3:g}k" if value < 1e6 else f"{value / 1e6:g}M"


def plain_log_y(axes: Axes, unit: str) -> None:
    """Plain numbers and a unit on a logarithmic y axis whose limits are set."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(_locator(low, high))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{unit}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def end_labels(
    axes: Axes,
    x: float,
    labels: Sequence[tuple[float, str, Any]],
    *,
    most: int | None = None,
    heading: str | None = None,
) -> None:
    """Write names at the right ends of lines, moved apart where they would cover one another."""
    labels = [label for label in labels if np.isfinite(label[0])]
    if not labels:
        return
    if most is not None and len(labels) > most:
        keep = np.unique(np.linspace(0, len(labels) - 1, most).round().astype(int))
        labels = [labels[k] for k in keep]
    step = 12.5
    height = axes.get_window_extent().height * 72.0 / axes.figure.dpi
    to_points = axes.transData
    place = np.array([to_points.transform((x, y))[1] for y, _, _ in labels])
    place = (place - axes.get_window_extent().y0) * 72.0 / axes.figure.dpi
    order = np.argsort(place, kind="stable")
    target = place[order].copy()
    for k in range(1, len(target)):
        target[k] = max(target[k], target[k - 1] + step)
    # Push the stack down where it would stick out at the top.
    target -= max(0.0, target[-1] - height)
    for k in range(len(target) - 2, -1, -1):
        target[k] = min(target[k], target[k + 1] - step)
    for position, k in zip(target, order, strict=True):
        y, text, colour = labels[k]
        axes.annotate(
            text, (x, y), (9, position - place[k]), textcoords="offset points", va="center",
            color=colour, fontsize=9, annotation_clip=False,
        )  # fmt: skip
    if heading:
        axes.annotate(
            heading, (x, labels[order[-1]][0]), (9, target[-1] - place[order[-1]] + step + 1),
            textcoords="offset points", va="center", color=SOFT, fontsize=8.5,
            annotation_clip=False,
        )  # fmt: skip
