"""The report of a sweep: one HTML page that needs no network, made from the run's folder alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.configuration.reading import SweepConfig, dump_config, parse_config
from pipeline.configuration.settings import HoldOut
from pipeline.logs.redact import redact
from pipeline.logs.shell import verify_line
from pipeline.reports import tables
from pipeline.reports.cells import href
from pipeline.reports.comparison.arms import arm_table, metric_text, named
from pipeline.reports.comparison.orthogonality import (
    orthogonality_table,
    orthogonality_words,
    paired_settings,
)
from pipeline.reports.comparison.sets import (
    ArmSummary,
    ComparedSet,
    better_first,
    make_sets,
    summarize,
)
from pipeline.reports.figures import plots
from pipeline.reports.frame import REPORT_FILE, drawn, render_page
from pipeline.reports.origin import Origin, origin_of
from pipeline.reports.outputs import kind_of_outputs, outputs_table
from pipeline.reports.proof_words import gap_words, proof_words, weight_choices
from pipeline.reports.sizes import counted_words, whole_words
from pipeline.results import summary
from pipeline.results.fitness import reasons_against_choice
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.parts import parts_of
from pipeline.results.record import NetworkRow
from pipeline.results.selection import FINAL_SHARD, choose
from pipeline.results.summary import Metric, Shown, byte_text, percent
from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.features.tables import brief
from qnn.features.targets import ONE_VS_ONE
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.arms import ALL as BASELINES

ERRORS_SHOWN = 50


@dataclass(frozen=True)
class ReportInput:
    """All that a report is made of.

    `features` are the names that the chosen network reads, `outputs` those of its outputs,
    `classes` those of its classes, `positive` of two the second, whose precision and recall are
    told. `weighted`: the chosen network's certificate has weights of the rows.
    """

    results: pa.Table
    config: SweepConfig | None = None
    champion: str | None = None
    features: tuple[str, ...] = ()
    location: str = "."
    outputs: tuple[Any, ...] = ()
    positive: str | None = None
    origin: Origin = field(default_factory=Origin)
    weighted: bool = False
    classes: tuple[str, ...] = ()


def write_report(folder: RunFolder, champion: str | None = None) -> str:
    """Make `report.html` in the run's folder; return where it lies.

    `champion` is the trial id of the chosen network; without it the selection is repeated.

    Raises:
        InputError: there are no results in the folder.
    """
    page = render_report(collect(folder, champion))
    folder.write(REPORT_FILE, page.encode())
    return f"{folder.label.rstrip('/')}/{REPORT_FILE}"


def collect(folder: RunFolder, champion: str | None = None) -> ReportInput:
    """Read what a report needs. Raises InputError where the folder has no results."""
    results = read_results(folder)
    if not results.num_rows:
        raise InputError(
            f"{folder.label}: no results here; give the folder of a sweep (the one that holds "
            "results/*.parquet)"
        )
    config = _config(folder)
    if config is not None:
        results = summary.written_as(results, config.beta.form, config.chosen_by)
    shown = summary.champion_of(summary.frame(results), champion)
    features, outputs, classes = (
        ((), (), ()) if shown is None else _names(folder, str(shown.row.fit.network))
    )
    positive = classes[1] if len(classes) == 2 else None
    return ReportInput(
        results, config, champion, features, folder.address, outputs, positive,
        origin_of(folder, results), shown is not None and _is_weighted(folder, shown.row, config),
        classes,
    )  # fmt: skip


def render_report(content: ReportInput) -> str:
    """The page as text; equal inputs give equal pages."""
    data = summary.frame(content.results)
    metric = summary.metric_of(data)
    champion = summary.champion_of(data, content.champion)
    parts = [] if champion is None else parts_of(content.results, champion.row)
    sets = _sets(content)
    arms, settings = [one for some in sets for one in summarize(some)], paired_settings(sets)
    return render_page(
        "report_page.html",
        origin=content.origin,
        name=content.config.name if content.config else _first(data, "dataset", "sweep"),
        dataset=_first(data, "dataset", "the data"),
        metric=metric.label,
        counts={"ok": len(summary.finished(data)), "failed": len(summary.failed(data)),
                "all": len(data)},
        champion=None if champion is None else _headline(data, metric, champion),
        warnings=_warnings(content, data, metric, champion),
        measures=None if champion is None else 
            tables.measures_table(champion, metric.task, content.positive),
        confusion=None if champion is None else
            tables.confusion_table(champion, content.classes),
        scaled=summary.has_several_targets(data),
        outputs=outputs_table(champion.row, parts, content.outputs) if champion and parts else None,
        outputs_kind=None if champion is None else kind_of_outputs(champion.row, parts),
        shards=sorted(set(data["shard"]) - {FINAL_SHARD}),
        arms=arm_table(arms) if arms else None,
        arms_words=_arms_words(arms),
        orthogonality=orthogonality_table(settings),
        orthogonality_words=orthogonality_words(settings),
        figures=_figures(content) if len(summary.finished(data)) else [],
        best=tables.best_table(data, metric, champion),
        problems=tables.problems_table(data, metric),
        settings=tables.settings_table(data, metric),
        settings_shown=len(summary.best_networks(data, tables.BEST_SHOWN)),
        narrowest=tables.narrowest_table(data),
        proof=proof_words(*_kind_of_proof(data, champion), content.weighted),
        weight_choices=weight_choices(*_neurons(data, champion)),
        verify_command=verify_line(content.location),
        failures=_failures(summary.failed(data)),
        facts=_facts(data, content.config),
        features=[redact(name) for name in content.features],
        config=redact(dump_config(content.config)) if content.config else "",
    )  # fmt: skip


def _figures(content: ReportInput) -> list[dict[str, Any]]:
    found = []
    for kind in plots.FIGURES:
        draw = kind.draw
        if draw in (plots.size_figure, plots.reliability_figure):
            draw = partial(draw, champion=content.champion)
        chart = draw(content.results)
        if not (kind.optional and chart.empty):
            found.append(drawn(kind.name, kind.title, chart, kind.describe))
    return found


def _sets(content: ReportInput) -> list[ComparedSet]:
    """Ours and what the sweep ran beside; nothing where it ran nothing else."""
    ran = set(content.results["rounding"].to_pylist())
    if not ran & set(BASELINES):
        return []
    name = content.config.name if content.config else ""
    scaling = content.config.preprocessing.scaling if content.config else ""
    seconds = content.config.baseline_seconds if content.config else None
    return make_sets(name, scaling, content.results, seconds)


def _arms_words(arms: list[ArmSummary]) -> str:
    """Which arm is best on the test rows, ours or another."""
    known = [one for one in arms if np.isfinite(one.test)]
    ours = [one for one in known if one.kind == "ours"]
    others = [one for one in known if one.kind != "ours"]
    if not ours or not others:
        return "No arm has a test metric to compare."
    metric = ours[0].metric

    def rank(one: ArmSummary) -> float:
        return better_first(metric, one.test)

    best, rival = (max(some, key=rank) for some in (ours, others))
    first, second = sorted((best, rival), key=rank, reverse=True)
    write = metric_text(metric)
    return (
        f"Best on the test rows, in the mean over the shards: {named(first)}, {metric.label} "
        f"{write(first.test)} with {byte_text(first.bytes)}; then "
        f"{named(second)}, {write(second.test)} with {byte_text(second.bytes)}."
    )


def _headline(data: pd.DataFrame, metric: Metric, shown: Shown) -> dict[str, Any]:
    row, test = shown.row, shown.measured("test", metric)
    if tables.is_of_one_class(row, "test", metric.name):
        test = None
    identity, bounds, fit = row.identity, row.bounds, row.fit
    return {
        "tiles": _tiles(metric, test, shown),
        "validation": metric.text(shown.measured("validation", metric)),
        "setting_validation": _setting_validation(data, metric, shown),
        "whole_bytes": whole_words(row),
        "gap_words": gap_words(fit.gap),
        "upper": f"{fit.upper_bound:.6g}",
        "lower": f"{bounds.lower_bound:.6g}",
        "beta": f"{row.axes.beta:.5g}",
        "problem": shown.problem,
        "n": identity.n,
        "final": identity.shard == FINAL_SHARD,
        "network": href(str(fit.network)),
        "certificates": bounds.files,
    }


def _warnings(
    content: ReportInput, data: pd.DataFrame, metric: Metric, champion: Shown | None
) -> list[str]:
    """What speaks against the network that was chosen, a sentence each."""
    if champion is None:
        return []
    choice = choose(content.results, data["beta_form"].iloc[0], metric.task, metric.name)
    against = reasons_against_choice(content.results, choice, champion.row)
    return [f"Not a network to put to use: {reason}." for reason in against]


def _tiles(metric: Metric, test: float | None, shown: Shown) -> list[dict[str, Any]]:
    """The headline: each number with the words that say of what it is."""
    fit = shown.row.fit
    return [
        {"value": metric.text(test), "words": _of_test(metric, test, shown.row)},
        {"value": percent(fit.gap),
         "words": ["certified gap: all that any network could still gain"]},
        {"value": byte_text(fit.bytes),
         "words": [f"{fit.neurons} neurons: {counted_words(shown.row)}"]},
    ]  # fmt: skip


def _of_test(metric: Metric, test: float | None, row: NetworkRow) -> list[str]:
    """Of how many rows the test metric is, how sure, and what saying one class would give."""
    if tables.is_of_one_class(row, "test", metric.name):
        return [f"test {metric.label} (its {row.measures.test.rows:,} rows are of one class)"]
    if test is None or not np.isfinite(test):
        return [f"test {metric.label} (no test rows)"]
    measures, columns = row.measures.test, row.columns
    rows = f" on {measures.rows:,} rows" if measures.rows else ""
    ends = [columns.get(f"{metric.column('test')}_{end}") for end in ("low", "high")]
    interval = metric.interval_text(ends)
    found = [f"test {metric.label}{rows}"]
    found += [f"95 % interval: {interval}"] if interval else []
    constant = measures.of_one_class(metric.name)
    if constant is not None:
        which = "the most frequent" if metric.name == "accuracy" else "any one"
        found.append(f"{which} class alone: {percent(constant)}")
    return found


def _setting_validation(data: pd.DataFrame, metric: Metric, shown: Shown) -> str:
    mean = summary.mean_of_setting(data, shown)
    return "" if mean is None else metric.text(mean)


def _failures(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    counted = rows.assign(error=rows["error"].fillna("(no message)")).groupby("error", sort=False)
    for error, group in sorted(counted, key=lambda item: -len(item[1]))[:ERRORS_SHOWN]:
        shards = sorted(group["shard"].unique())
        shown = ", ".join(shards[:8]) + (", …" if len(shards) > 8 else "")
        found.append({"count": len(group), "error": redact(str(error)), "where": shown})
    return found


def _facts(data: pd.DataFrame, config: SweepConfig | None) -> list[dict[str, str]]:
    rows = summary.finished(data)
    facts = [("data set", _first(data, "dataset", "–"))]
    if config is not None:
        facts += [
            ("source", redact(config.data.source)),
            ("target column", redact(", ".join(config.data.targets))),
        ]
    joined = rows["certificates"].dropna()
    if len(joined):
        kind = "class" if summary.metric_of(data).task == "classification" else "target"
        if config is not None and config.multi_class == ONE_VS_ONE:
            kind = "pair of classes"
        facts.append(("outputs of a network", f"{len(joined.iloc[0])}, one a {kind}"))
    facts.append(
        ("inputs of a network", f"{_range(rows, 'd')} (one-hot columns and bias included)")
    )
    facts.append(("training rows of a shard", _range(rows, "n")))
    if config is not None and config.noise_of_rows is not None:
        told = (
            f"{config.noise_of_rows.describe} of its columns; none in columns of only 0 and 1; "
            "these are training rows too"
        )
        facts.append(("noise in training rows", told))
    facts.append(("shards", ", ".join(sorted(set(data["shard"]) - {FINAL_SHARD})) or FINAL_SHARD))
    if config is not None:
        facts.append(("test rows", _held_out(rows, config.test)))
    facts.append(("chosen by", f"mean validation {summary.metric_of(data).label}"))
    kinds = "; ".join(summary.kinds_in_words(data)) or "–"
    if "polynomial (" in kinds:
        kinds += ". A polynomial (a, b, c) is σ(t) = at² + bt + c"
    facts.append(("loss, activation, weights", kinds))
    if config is not None and config.class_weight is not None:
        facts.append(("class weights", _class_weights(config.class_weight)))
    facts.append(("solver", ", ".join(sorted(set(rows["solver"].dropna()))) or "–"))
    if config is not None and config.bounds == "learned":
        facts.append(("SDPs left out by learned bounds", summary.left_out(data)))
    return [{"name": name, "value": value} for name, value in facts]


def _held_out(rows: pd.DataFrame, test: HoldOut) -> str:
    if test.column is not None:
        count = rows["test_rows"].max()
        counted = "the rows" if pd.isna(count) else f"{int(count):,} rows"
        which = f"{counted} that the column {redact(test.column)} marks"
    elif test.fraction:
        which = f"{percent(test.fraction)} of the rows"
    else:
        return "none"
    return f"{which}, never used to choose anything"


def _class_weights(asked: str | dict[str, float]) -> str:
    if isinstance(asked, str):
        return f"{asked}: each class has the same say in the loss"
    return ", ".join(f"{label}: {weight:g}" for label, weight in asked.items())


def _range(rows: pd.DataFrame, column: str) -> str:
    values = rows[column].dropna()
    if not len(values):
        return "–"
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _kind_of_proof(data: pd.DataFrame, champion: Shown | None) -> tuple[str, str, str]:
    """Loss, activation and kind of the chosen network's proof; those of others can differ."""
    if champion is None:
        loss, activation = _first(data, "loss", "squared"), _first(data, "activation", "bilinear")
        return loss, activation, "relaxation"
    axes, proof = champion.row.axes, champion.row.bounds.proof
    return str(axes.loss), str(axes.activation), proof or "relaxation"


def _neurons(data: pd.DataFrame, champion: Shown | None) -> tuple[str, str]:
    """Activation and alphabet of the chosen network; those of others can differ."""
    if champion is None:
        return _first(data, "activation", "bilinear"), _first(data, "alphabet", "binary")
    return str(champion.row.axes.activation), str(champion.row.axes.alphabet or "binary")


def _is_weighted(folder: RunFolder, row: NetworkRow, config: SweepConfig | None) -> bool:
    """Whether the network's certificate weights its rows; as the config asks where none is read."""
    try:
        file = row.bounds.files[0]
        return Certificate.from_bytes(folder.read(file), file).weights is not None
    except (IndexError, FileNotFoundError, InputError):
        asked = config is not None and config.task != "regression" and config.class_weight
        return bool(asked)


def _first(data: pd.DataFrame, column: str, otherwise: str) -> str:
    values = data[column].dropna()
    return str(values.iloc[0]) if len(values) else otherwise


def _config(folder: RunFolder) -> SweepConfig | None:
    """The resolved config; None where the folder has none that this version reads."""
    try:
        return parse_config(folder.read(CONFIG_FILE).decode(), CONFIG_FILE)
    except (FileNotFoundError, UnicodeDecodeError, InputError):
        return None


def _names(
    folder: RunFolder, network: str
) -> tuple[tuple[str, ...], tuple[Any, ...], tuple[str, ...]]:
    """The features that a network reads, its outputs and its classes, where it says so."""
    try:
        preprocessing = QuantizedNetwork.from_bytes(folder.read(network), network).preprocessing
    except (FileNotFoundError, InputError):
        return (), (), ()
    if preprocessing is None:
        return (), (), ()
    target = preprocessing.target
    classes = tuple(brief(label) for label in target.classes or ())
    return preprocessing.feature_names, target.outputs, classes
