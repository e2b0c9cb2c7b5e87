"""The comparison as one HTML page that needs no network."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.reports.comparison.figures import (
    NAMES,
    accuracy_figure,
    objective_figure,
    time_figure,
    width_figure,
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
from pipeline.reports.figures.drawing import to_png, to_svg
from pipeline.reports.page import page_script, render_page
from pipeline.results.summary import byte_text, percent
from qnn.errors import InputError
from qnn.numerics.archive import write_file
from qnn.training.arms import QUANTIZED

Cell = dict[str, Any]


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
    script, script_hash = page_script()
    return render_page(
        "comparison_page.html",
        script=script,
        script_hash=script_hash,
        sets=[_facts(one) for one in everything],
        sweeps=len({one.name for one in everything}),
        counts=_counts(everything, summaries, references),
        own_time=all(one.seconds is None for one in sets),
        figures=_figures(sets, curves),
        references=references,
        reference_table=_reference_table(references),
        arm_table=_arm_table(summaries),
    )


def _counts(
    sets: list[ComparedSet], summaries: list[ArmSummary], references: list[AgainstReferences]
) -> dict[str, Any]:
    quantized = [one for one in summaries if one.kind == "quantized"]
    rows = [one.rows[one.rows["rounding"].isin([*OWN, *QUANTIZED])] for one in sets]
    return {
        "problems": sum(len(one[["shard", "beta"]].drop_duplicates()) for one in rows),
        "networks": sum(map(len, rows)),
        "violations": sum(int((one["upper_bound"] < one["lower_bound"]).sum()) for one in rows),
        "better": sum(one.better for one in quantized),
        "equal": sum(one.equal for one in quantized),
        "worse": sum(one.worse for one in quantized),
        "within": sum(one.points >= -1 for one in references) if references else None,
    }


def _facts(one: ComparedSet) -> dict[str, Any]:
    ours = one.ours
    return {
        "name": one.name,
        "dataset": one.dataset,
        "scaling": one.scaling,
        "rounding": one.own,
        "n": int(ours["n"].median()),
        "d": int(ours["d"].median()),
        "problem": ", ".join(one.kind.words),
        "shards": ours["shard"].nunique(),
        "betas": ours["beta_fraction"].round(10).nunique(),
        "widths": ", ".join(f"{width:g}" for width in sorted(ours["width"].unique())),
        "seeds": ours["seed"].nunique(),
        "time": _time(one.seconds),
    }


def _time(seconds: float | tuple[float, ...] | None) -> str:
    if seconds is None:
        return "as ours"
    several = seconds if isinstance(seconds, tuple) else (seconds,)
    return ", ".join(f"{one:g}" for one in several) + " s"


def _single_time(sets: list[ComparedSet]) -> list[ComparedSet]:
    return [one for one in sets if not isinstance(one.seconds, tuple)]


def _figures(sets: list[ComparedSet], curves: list[ComparedSet]) -> list[dict[str, str]]:
    figures: list[tuple[str, str, str, Figure | None]] = [
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
            "At the smallest β of the sweep; dashed: no network of any width gets below.",
            width_figure(sets),
        ),
        (
            "time",
            "Objective and accuracy against wall time",
            "Each arm at several times, ours with each of its roundings (the relaxation included); "
            "one core. Above: objective over the proven lower bound, random neurons and Krivine's "
            "rounding alone beyond the edge; below: test accuracy.",
            time_figure(curves) if curves else None,
        ),
    ]
    if any(one.rows["test_accuracy"].notna().any() for one in sets):
        describe = (
            "Test accuracy, mean and deviation over the shards' networks, against size in bytes; "
            "hollow: standardized features, filled: thermometer bits; each kind of problem has "
            "markers of its own."
        )
        figures.append(("accuracy", "Accuracy against size", describe, accuracy_figure(sets)))
    return [
        {"name": name, "title": title, "describe": describe, "source": _data_uri(figure)}
        for name, title, describe, figure in figures
        if figure is not None
    ]


def _data_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(to_svg(figure)).decode()


def _arm_table(summaries: list[ArmSummary]) -> dict[str, Any]:
    several = any(one.problem for one in summaries)
    titles = [
        ("set", True), *([("problem", True)] if several else []), ("arm", True),
        ("objective", False), ("gap to the bound", False),
        ("ours lower", False), ("equal", False), ("higher", False), ("ratio", False),
        ("test accuracy", False), ("bytes", False), ("seconds", False),
    ]  # fmt: skip
    rows = []
    for one in summaries:
        paired = one.better + one.equal + one.worse
        counts = [_count(value, paired) for value in (one.better, one.equal, one.worse)]
        cells = [
            _cell(one.set, one.set),
            *([_cell(one.problem or "–", one.problem)] if several else []),
            _cell(NAMES[one.arm], one.arm),
            _cell(_number(one.objective), one.objective),
            _cell(percent(one.gap), one.gap),
            *counts,
            _cell(_number(one.ratio), one.ratio),
            _cell(_accuracy(one), one.accuracy),
            _cell(byte_text(one.bytes), one.bytes),
            _cell(f"{one.seconds:.2f}", one.seconds),
        ]
        rows.append({"cells": cells, "chosen": one.kind == "ours"})
    return {"columns": [{"title": t, "text": text} for t, text in titles], "rows": rows}


def _reference_table(references: list[AgainstReferences]) -> dict[str, Any]:
    titles = [
        ("data", True), ("our sweep", True), ("ours, test", False), ("best reference", True),
        ("its test", False), ("points", False), ("our bytes", False), ("of the SVM's", False),
        ("of boosting's", False),
    ]  # fmt: skip
    rows = []
    for one in references:
        shares = [one.shares.get(name, np.nan) for name in ("rbf_svm", "gradient_boosting")]
        cells = [
            _cell(one.dataset, one.dataset),
            _cell(_named(one.ours), _named(one.ours)),
            _cell(_accuracy(one.ours), one.ours.accuracy),
            _cell(NAMES[one.reference.arm], one.reference.arm),
            _cell(_accuracy(one.reference), one.reference.accuracy),
            _cell(f"{one.points:+.1f}", one.points),
            _cell(byte_text(one.ours.bytes), one.ours.bytes),
            *(_cell(percent(share), share) for share in shares),
        ]
        rows.append({"cells": cells, "chosen": one.points >= -1})
    return {"columns": [{"title": t, "text": text} for t, text in titles], "rows": rows}


def _named(one: ArmSummary) -> str:
    return f"{one.set}: {one.problem}" if one.problem else one.set


def _cell(text: str, sort: object) -> Cell:
    missing = isinstance(sort, float) and not np.isfinite(sort)
    return {"text": "–" if missing else text, "sort": "" if missing else sort}


def _count(value: int, paired: int) -> Cell:
    return {"text": str(value) if paired else "–", "sort": value if paired else ""}


def _number(value: float) -> str:
    return f"{value:.4g}"


def _accuracy(one: ArmSummary) -> str:
    if not np.isfinite(one.accuracy):
        return "–"
    known = np.isfinite(one.deviation)
    if one.regression:
        return f"RMSE {one.accuracy:.3f}" + (f" ± {one.deviation:.3f}" if known else "")
    return f"{100 * one.accuracy:.1f}" + (f" ± {100 * one.deviation:.1f} %" if known else " %")
