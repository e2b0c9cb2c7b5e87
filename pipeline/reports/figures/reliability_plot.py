"""Whether the chosen network's probabilities are right: shares of rows against them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.reports.figures.chart import Axis, Chart, Dots, Line, Mark, Panel
from pipeline.reports.figures.palette import BLUE, INK
from pipeline.results import summary
from pipeline.results.metrics.intervals import wilson
from pipeline.results.record import PARTS

MISSING = "No network has probabilities of classes on rows that it was not trained on."
# What the probability is of, and what the share counts.
TWO = ("probability of the positive class", "share of positive rows")
MORE = ("probability of the predicted class", "share of rows predicted right")


def reliability_figure(
    results: pa.Table | pd.DataFrame, champion: str | None = None, *, chosen: bool = True
) -> Chart:
    """Share of positive rows in each tenth of the probability, with Wilson's 95 % interval.

    Of more than two classes: share of right rows in each tenth of the predicted class's. Of the
    chosen network, on the test rows, else on the validation rows. Where probabilities are right
    every line crosses the diagonal within its interval. Empty where `chosen` is false.
    """
    data = summary.frame(results)
    shown = summary.champion_of(data, champion) if chosen and len(data) else None
    panels = [] if shown is None else [_panel(shown, part) for part in reversed(PARTS[1:])]
    known = tuple(panel for panel in panels if panel is not None)
    return Chart(known[:1], "" if known else MISSING)


def _panel(shown: summary.Shown, part: str) -> Panel | None:
    told = shown.row.columns[f"{part}_reliability"]
    if told is None or not len(told):
        return None
    rows, counted = np.reshape(np.asarray(told, dtype=int), (-1, 2)).T
    edges, used = np.linspace(0.0, 100.0, len(rows) + 1), np.flatnonzero(rows)
    share = 100.0 * counted[used] / rows[used]
    ends = [wilson(int(counted[k]), int(rows[k])) for k in used]
    low, high = (100.0 * np.array(some) for some in zip(*ends, strict=True))
    middle = 0.5 * (edges[used] + edges[used + 1])
    titles = tuple(f"{counted[k]} of {rows[k]} rows" for k in used)
    spans = [
        Line(edges[k : k + 2], [height] * 2, BLUE, width=3.0)
        for k, height in zip(used, share, strict=True)
    ]
    marks: tuple[Mark, ...] = (
        Line([0.0, 100.0], [0.0, 100.0], INK, dash="dashed"),
        *spans,
        Dots(middle, share, BLUE, titles=titles, low=low, high=high),
    )
    confusion = shown.row.columns[f"{part}_confusion"]
    of, shared = TWO if confusion is None or len(confusion) == 4 else MORE
    x = Axis(of, unit=" %", low=0.0, high=100.0)
    y = Axis(shared, unit=" %", low=0.0, high=100.0)
    brier = shown.row.columns[f"{part}_brier"]
    score = "" if brier is None else f", Brier score {brier:.3g}"
    return Panel(x, y, marks, f"{part}: {rows.sum():,} rows{score}")
