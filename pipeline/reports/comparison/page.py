"""The comparison as one HTML page that needs no network."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.configuration.metric import Metric
from pipeline.reports.cells import Column, formatted, table_of, whole, words
from pipeline.reports.comparison.arms import NAMES, arm_table, metric_text
from pipeline.reports.comparison.figures import (
    objective_figure,
    size_figure,
    time_figure,
    width_figure,
)
from pipeline.reports.comparison.orthogonality import (
    orthogonality_table,
    orthogonality_words,
    paired_settings,
)
from pipeline.reports.comparison.sets import (
    OWN,
    AgainstReferences,
    ArmSummary,
    ComparedSet,
    against_references,
    read_sets,
    summarize,
)
from pipeline.reports.figures.chart import Chart
from pipeline.reports.figures.picture import to_png
from pipeline.reports.frame import drawn, render_page
from pipeline.results.summary import byte_text, percent
from qnn.errors import InputError
from qnn.numerics.archive import write_file
from qnn.training.arms import QUANTIZED


def write_comparison(
    folders: Sequence[str],
    out: str | os.PathLike[str],
    figure: str | os.PathLike[str] | None = None,
) -> Path:
    """Make the page of these run folders at `out`; `figure` is where its main figure goes as PNG.

    Raises InputError for a folder without results or arms, and for two sweeps of one name.
    """
    sweeps = [read_sets(folder) for folder in folders]
    names = [sets[0].name for sets in sweeps]
    if len(set(names)) < len(names):
        raise InputError(f"two of the sweeps have the same name: {', '.join(sorted(names))}")
    sets = [one for sweep in sweeps for one in sweep]
    write_file(out, render_comparison(sets).encode())
    if figure is not None:
        write_file(figure, to_png(objective_figure(_single_time(sets) or sets)))
    return Path(out)


def render_comparison(sets: list[ComparedSet]) -> str:
    """The page as text; equal results give equal pages.

    Sweeps that gave the arms several times are drawn as curves; the tables are of the others.
    """
    curves = [one for one in sets if isinstance(one.seconds, tuple)]
    everything, sets = sets, _single_time(sets)
    summaries = [summary for one in sets for summary in summarize(one)]
    references = against_references(sets)
    settings = paired_settings(sets)
    return render_page(
        "comparison_page.html",
        sets=_set_table(everything),
        sweeps=len({one.name for one in everything}),
        counts=_counts(everything, summaries, references),
        own_time=all(one.seconds is None for one in sets),
        figures=_figures(sets, curves),
        references=references,
        reference_table=_reference_table(references),
        arm_table=arm_table(summaries),
        orthogonality=orthogonality_table(settings),
        orthogonality_words=orthogonality_words(settings),
    )


def _counts(
    sets: list[ComparedSet], summaries: list[ArmSummary], references: list[AgainstReferences]
) -> dict[str, Any]:
    quantized = [one for one in summaries if one.kind == "quantized"]
    rows = [one.rows[one.rows["rounding"].isin([*OWN, *QUANTIZED])] for one in sets]
    shares = [one for one in references if one.metric.share]
    return {
        "problems": sum(len(one[["shard", "beta"]].drop_duplicates()) for one in rows),
        "networks": sum(map(len, rows)),
        "violations": sum(int((one["upper_bound"] < one["lower_bound"]).sum()) for one in rows),
        "better": sum(one.better for one in quantized),
        "equal": sum(one.equal for one in quantized),
        "worse": sum(one.worse for one in quantized),
        "within": sum(one.points >= -1 for one in shares) if shares else None,
        "shares": len(shares),
        "metrics": _labels(shares),
    }


def _time(seconds: float | tuple[float, ...] | None) -> str:
    if seconds is None:
        return "as ours"
    several = seconds if isinstance(seconds, tuple) else (seconds,)
    return ", ".join(f"{one:g}" for one in several) + " s"


def _single_time(sets: list[ComparedSet]) -> list[ComparedSet]:
    return [one for one in sets if not isinstance(one.seconds, tuple)]


def _figures(sets: list[ComparedSet], curves: list[ComparedSet]) -> list[dict[str, Any]]:
    figures: list[tuple[str, str, str, Chart | None]] = [
        (
            "objective",
            "Which arm gets lower in the same time?",
            "Training objective over the proven lower bound of its problem, a dot a network, an "
            "arm a row; 1 would be proven optimal, and nothing quantized can be left of it. An arm "
            "far off is named by its mean.",
            objective_figure(sets) if sets else None,
        ),
        (
            "width",
            "Objective against the number of neurons",
            "At the smallest β of the sweep, on a logarithm: how far the objective is above the "
            "bound that no network of any width gets below.",
            width_figure(sets),
        ),
        (
            "time",
            f"Objective and {_labels(curves)} against wall time",
            "Each arm at several times, ours with each of its roundings (the relaxation included); "
            "one core. First: objective over the proven lower bound, random neurons and Krivine's "
            "rounding alone beyond the edge; then: the same networks on the test rows.",
            time_figure(curves) if curves else None,
        ),
        (
            "accuracy",
            _capital(f"{_labels(sets)} against size"),
            "On the test rows, mean and deviation over the shards' networks, against size in "
            "bytes; hollow: standardized features, filled: thermometer bits; each kind of problem "
            "has markers of its own.",
            size_figure(sets),
        ),
    ]
    return [
        drawn(name, title, figure, describe)
        for name, title, describe, figure in figures
        if figure is not None
    ]


def _reference_table(references: list[AgainstReferences]) -> dict[str, Any]:
    def share(name: str) -> Callable[[AgainstReferences], float]:
        return lambda one: one.shares.get(name, np.nan)

    metrics = list(dict.fromkeys(one.metric for one in references))
    columns: list[Column[AgainstReferences]] = [
        words("data", lambda one: one.dataset, wrap=True),
        words("our sweep", lambda one: _named(one.ours), wrap=True),
        *(_tested(f"ours, test {one.label}", one, lambda row: row.ours) for one in metrics),
        words("best reference", lambda one: NAMES[one.reference.arm]),
        *(_tested(f"its test {one.label}", one, lambda row: row.reference) for one in metrics),
        Column("points", lambda one: one.points, formatted("+.1f")),
        Column("our bytes", lambda one: one.ours.bytes, byte_text),
        Column("of the SVM's", share("rbf_svm"), percent),
        Column("of boosting's", share("gradient_boosting"), percent),
    ]
    return table_of(columns, references, lambda one: one.points >= -1)


def _set_table(sets: list[ComparedSet]) -> dict[str, Any]:
    columns: list[Column[ComparedSet]] = [
        words("sweep", lambda one: one.name, wrap=True),
        words("data", lambda one: one.dataset),
        Column("training rows of a shard", lambda one: float(one.ours["n"].median()), whole),
        Column("columns", lambda one: float(one.ours["d"].median()), whole),
        words("scaling", lambda one: one.scaling),
        words("loss, activation, weights", lambda one: ", ".join(one.kind.words)),
        words("our rounding", lambda one: one.own),
        Column("shards", lambda one: one.ours["shard"].nunique(), whole),
        Column("β", lambda one: one.ours["beta_fraction"].round(10).nunique(), whole),
        words("widths", lambda one: ", ".join(f"{w:g}" for w in sorted(set(one.ours["width"])))),
        Column("seeds", lambda one: one.ours["seed"].nunique(), whole),
        words("time of an arm", lambda one: _time(one.seconds)),
    ]
    return table_of(columns, sets)


def _tested(
    title: str, metric: Metric, arm: Callable[[AgainstReferences], ArmSummary]
) -> Column[AgainstReferences]:
    """The test metric of one of the two, of the sets that choose by it."""
    return Column(
        title, lambda row: arm(row).test if row.metric == metric else None, metric_text(metric)
    )


def _labels(some: Sequence[ComparedSet] | Sequence[AgainstReferences]) -> str:
    """The metrics that chose, in words."""
    return " or ".join(dict.fromkeys(one.metric.label for one in some))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _named(one: ArmSummary) -> str:
    return f"{one.set}: {one.problem}" if one.problem else one.set
