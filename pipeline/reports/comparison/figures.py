"""Figures of the comparison: objectives over the bound, accuracy against size, curves of width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.configuration.metric import Metric
from pipeline.reports.comparison.arms import NAMES, named
from pipeline.reports.comparison.sets import OWN, ComparedSet, TimeCurve, summarize, time_curves
from pipeline.reports.figures.chart import Axis, Chart, Dots, Level, Line, Mark, Note, Panel
from pipeline.reports.figures.palette import AMBER, BLUE, GREEN, INK, PURPLE, RED
from qnn.training.arms import QUANTIZED

COLOURS = {
    **dict.fromkeys(OWN, BLUE),
    "straight_through": RED,
    "rounded_floats": AMBER,
    "random_signs": PURPLE,
    "annealing": GREEN,
}
MARKERS = {"straight_through": "s", "rounded_floats": "^", "random_signs": "v", "annealing": "D"}
OTHER = {
    "logistic_regression": "s",
    "rbf_svm": "^",
    "gradient_boosting": "D",
    "spectrahedra": "v",
    "float_mlp": "*",
    "quantized_mlp": "x",
    "quantized_spectrahedra": "s",
}
# An arm this many times as far above the bound as ours, in the mean, is far off.
FAR = 4.0
OUT = ("random_signs",)


def objective_figure(sets: list[ComparedSet]) -> Chart:
    """Every quantized network's objective over the proven bound of its problem, an arm a row.

    An arm that is far off is named at the edge by its mean, so that the others can be told apart.
    """
    quantized = _run(sets, QUANTIZED)
    return Chart(tuple(_objective_panel(one, [one.own, *quantized]) for one in sets))


def _objective_panel(compared: ComparedSet, arms: list[str]) -> Panel:
    ratios = {arm: _ratios(compared, arm) for arm in arms}
    means = {arm: float(np.exp(np.mean(np.log(r)))) for arm, r in ratios.items() if len(r)}
    edge = 1.0 + FAR * (means.get(compared.own, np.inf) - 1.0)
    near = [arm for arm, mean in means.items() if mean <= edge]
    high = max([float(ratios[arm].max()) for arm in near], default=2.0)
    low = min([1.0, *(float(ratios[arm].min()) for arm in near)])
    wide = max(0.03 * (high - low), 1e-9)
    marks: list[Mark] = [Level(1.0, upright=True)]
    for place, arm in enumerate(arms):
        if arm in near:
            marks += _strip(ratios[arm], means[arm], place, COLOURS[arm])
        elif arm in means:
            marks.append(Note(high, place + 0.2, f"{means[arm]:.2f} →", COLOURS[arm], "end"))
    axis = Axis("training objective ÷ proven bound", log=True, low=low - wide, high=high + wide)
    names = ("ours", *(NAMES[arm] for arm in arms[1:]))
    return Panel(axis, Axis(), tuple(marks), compared.title.replace("\n", ": "), rows=names)


def _strip(values: np.ndarray, mean: float, place: int, colour: str) -> list[Mark]:
    heights = place + 0.24 + np.random.default_rng(0).uniform(-0.18, 0.18, len(values))
    return [
        Dots(values, heights, colour, size=2.4, opacity=0.5),
        Line([mean, mean], [place + 0.03, place + 0.45], INK),
        Note(mean, place - 0.05, f"{mean:.4g}", INK, "start"),
    ]


def _ratios(compared: ComparedSet, arm: str) -> np.ndarray:
    rows = compared.rows[compared.rows["rounding"] == arm]
    rows = rows[rows["lower_bound"] > 0]
    return (rows["upper_bound"] / rows["lower_bound"]).to_numpy()


def size_figure(sets: list[ComparedSet]) -> Chart | None:
    """The test metric against size in bytes, a panel a data set and metric, a marker an arm."""
    measured = [one for one in sets if one.rows[one.metric.column("test")].notna().any()]
    panels = dict.fromkeys((one.dataset, one.metric) for one in measured)
    return (
        Chart(
            tuple(
                _size_panel(*key, [one for one in measured if (one.dataset, one.metric) == key])
                for key in panels
            )
        )
        if panels
        else None
    )


def _size_panel(dataset: str, metric: Metric, own: list[ComparedSet]) -> Panel:
    marks: list[Mark] = []
    for compared in own:
        hollow = compared.scaling == "standardize"
        for one in summarize(compared):
            others = set(OWN) - {compared.own}
            if one.arm in others or one.arm not in {*COLOURS, *OTHER}:
                continue
            middle, half = metric.shown(np.array([one.test, np.nan_to_num(one.deviation)]))
            marks.append(
                Dots(
                    [one.bytes], [middle], COLOURS.get(one.arm, INK), named(one),
                    OTHER.get(one.arm, MARKERS.get(one.arm, "o")), 4.5,
                    hollow=hollow and one.arm in COLOURS, low=[middle - half],
                    high=[middle + half], titles=(f"{compared.name}: {named(one)}",),
                )
            )  # fmt: skip
    height = _test_axis(metric)
    return Panel(Axis("bytes", log=True, whole=True), height, tuple(marks), dataset)


def _test_axis(metric: Metric) -> Axis:
    return Axis(f"test {metric.label}", unit=metric.unit)


def width_figure(sets: list[ComparedSet]) -> Chart | None:
    """Objective over the bound against the number of neurons; None without widths.

    On a logarithm of what is above the bound, so that curves that come near to it stay apart.
    """
    curves = [one for one in sets if _widths(one.rows) >= 3]
    if not curves:
        return None
    arms = _run(curves, QUANTIZED)
    return Chart(tuple(_width_panel(one, [one.own, *arms]) for one in curves))


def _width_panel(compared: ComparedSet, arms: list[str]) -> Panel:
    rows = compared.rows[compared.rows["rounding"].isin([*COLOURS])]
    level = rows["beta_fraction"].round(10).min()
    rows = rows[(rows["beta_fraction"] - level).abs() < 1e-9]
    rows = rows[rows["shard"] == rows["shard"].min()]
    bound = float(rows["lower_bound"].max())
    rows = rows.assign(above=100 * (rows["upper_bound"] - bound) / rows["upper_bound"].abs())
    lines = []
    for arm in arms:
        some = rows[rows["rounding"] == arm].groupby("width")["above"].mean()
        lines.append(
            Line(some.index.to_numpy(dtype=float), some.to_numpy(), COLOURS[arm], NAMES[arm],
                 marker=MARKERS.get(arm, "o"), keyed=True)
        )  # fmt: skip
    widths = tuple(float(width) for width in sorted(rows["width"].unique()))
    title = f"{compared.title.replace(chr(10), ': ')}, β = {level:g} β max"
    height = Axis("above the proven bound, in % of the objective", log=True, unit=" %")
    return Panel(Axis("neurons allowed", log=True, values=widths), height, tuple(lines), title)


def time_figure(sets: list[ComparedSet]) -> Chart:
    """Objective over the bound, and the test metric beside it, against wall time; panels a set."""
    panels: list[Panel] = []
    for compared in sets:
        curves, metric = time_curves(compared), compared.metric
        panels.append(_time_panel(compared, curves))
        if np.isfinite(np.concatenate([curve.test for curve in curves])).any():
            lines = [_time_line(curve, metric.shown(curve.test)) for curve in curves]
            title = f"{compared.title}: {metric.label}"
            panels.append(Panel(_SECONDS, _test_axis(metric), tuple(lines), title))
    return Chart(tuple(panels))


_SECONDS = Axis("seconds a network", log=True)


def _time_panel(compared: ComparedSet, curves: list[TimeCurve]) -> Panel:
    # Random neurons, and Krivine's rounding before any search, would press the others together.
    shown = [c.ratio[c.arm == "ours" and len(c.ratio) > 1 :] for c in curves if c.arm not in OUT]
    low, high = float(np.min(np.concatenate(shown))), float(np.max(np.concatenate(shown)))
    edge = high + 0.1 * (high - low)
    lines = [
        _time_line(curve, np.where(curve.ratio <= edge, curve.ratio, np.nan)) for curve in curves
    ]
    height = Axis("objective ÷ proven bound", low=low - 0.1 * (high - low), high=edge)
    return Panel(_SECONDS, height, tuple(lines), compared.title)


def _time_line(curve: TimeCurve, values: np.ndarray) -> Line:
    name = NAMES.get(curve.arm, "ours: Krivine, refined, graduated")
    marker = MARKERS.get(curve.arm, "o")
    colour = COLOURS.get(curve.arm, BLUE)
    return Line(curve.seconds, values, colour, name, marker=marker, keyed=True)


def _run(sets: list[ComparedSet], arms: Sequence[str]) -> list[str]:
    """Those of the arms that any of the sets has."""
    present = {arm for one in sets for arm in one.rows["rounding"].unique()}
    return [arm for arm in arms if arm in present]


def _widths(rows: pd.DataFrame) -> int:
    return int(rows.loc[rows["rounding"].isin(OWN), "width"].nunique())
