"""The report of a sweep: one HTML page that needs no network, made from the run's folder alone."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.configuration.reading import SweepConfig, dump_config, parse_config
from pipeline.logs.redact import redact
from pipeline.reports import tables
from pipeline.reports.figures import plots
from pipeline.reports.figures.drawing import to_svg
from pipeline.reports.outputs import describe_outputs, kind_of_outputs
from pipeline.reports.proof_words import gap_words, proof_words
from pipeline.results import summary
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.parts import parts_of
from pipeline.results.selection import FINAL_SHARD
from pipeline.results.summary import Metric, Shown, byte_text, percent
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork

REPORT_FILE = "report.html"
ERRORS_SHOWN = 50


@dataclass(frozen=True)
class ReportInput:
    """All that a report is made of.

    `features` are the names that the chosen network reads, `outputs` those of its outputs.
    """

    results: pa.Table
    config: SweepConfig | None = None
    champion: str | None = None
    features: tuple[str, ...] = ()
    location: str = "."
    outputs: tuple[Any, ...] = ()


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
        results = summary.written_as(results, config.beta.form, config.metric)
    shown = summary.champion_of(summary.frame(results), champion)
    features, outputs = ((), ()) if shown is None else _names(folder, str(shown.row.fit.network))
    return ReportInput(results, config, champion, features, folder.label, outputs)


def render_report(content: ReportInput) -> str:
    """The page as text; equal inputs give equal pages."""
    data = summary.frame(content.results)
    metric = summary.metric_of(data)
    champion = summary.champion_of(data, content.champion)
    parts = [] if champion is None else parts_of(content.results, champion.row)
    script, script_hash = page_script()
    return render_page(
        "report_page.html",
        script=script,
        script_hash=script_hash,
        name=content.config.name if content.config else _first(data, "dataset", "sweep"),
        dataset=_first(data, "dataset", "the data"),
        metric=metric.label,
        counts={"ok": len(summary.finished(data)), "failed": len(summary.failed(data)),
                "all": len(data)},
        champion=None if champion is None else _headline(data, metric, champion),
        outputs=describe_outputs(parts, content.outputs),
        outputs_kind=kind_of_outputs(parts),
        shards=sorted(set(data["shard"]) - {FINAL_SHARD}),
        figures=_figures(content) if len(summary.finished(data)) else [],
        best=tables.best_table(data, metric, champion),
        problems=tables.problems_table(data, metric),
        settings=tables.settings_table(data, metric),
        narrowest=tables.narrowest_table(data),
        proof=proof_words(*_kind_of_proof(data, champion)),
        verify_command=f"qnn verify {content.location}",
        failures=_failures(summary.failed(data)),
        facts=_facts(data, content.config),
        features=[redact(name) for name in content.features],
        config=redact(dump_config(content.config)) if content.config else "",
        versions=redact(_versions(data)),
    )  # fmt: skip


def page_script() -> tuple[str, str]:
    """The script that sorts tables, and its hash for the page's content security policy."""
    script = _text("page.js")
    return script, _script_hash(script)


def render_page(template: str, **values: Any) -> str:
    """A page from one of the package's templates; everything put into it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Style and script are the package's own files: the only text that is not escaped.
    own = {"css": jinja2.utils.markupsafe.Markup(_text("page.css"))}
    if "script" in values:
        own["script"] = jinja2.utils.markupsafe.Markup(values.pop("script"))
    return environment.get_template(template).render(**values, **own)


def _figures(content: ReportInput) -> list[dict[str, str]]:
    found = []
    for kind in plots.FIGURES:
        draw = kind.draw
        if draw is plots.size_figure:
            draw = partial(plots.size_figure, champion=content.champion)
        encoded = base64.b64encode(to_svg(draw(content.results))).decode()
        found.append(
            {
                "name": kind.name,
                "title": kind.title,
                "describe": kind.describe,
                "source": f"data:image/svg+xml;base64,{encoded}",
            }
        )
    return found


def _headline(data: pd.DataFrame, metric: Metric, shown: Shown) -> dict[str, Any]:
    row, test = shown.row, shown.measured("test", metric)
    identity, bounds, fit = row.identity, row.bounds, row.fit
    inputs = identity.preprocessing_bytes or 0
    return {
        "test": metric.text(test),
        "has_test": test is not None and bool(np.isfinite(test)),
        "validation": metric.text(shown.measured("validation", metric)),
        "setting_validation": _setting_validation(data, metric, shown),
        "bytes": byte_text(fit.bytes),
        "total_bytes": byte_text((fit.bytes or 0) + inputs),
        "preprocessing_bytes": byte_text(inputs),
        "neurons": fit.neurons,
        "gap": percent(fit.gap),
        "gap_words": gap_words(fit.gap),
        "upper": f"{fit.upper_bound:.6g}",
        "lower": f"{bounds.lower_bound:.6g}",
        "beta": f"{row.axes.beta:.5g}",
        "problem": shown.problem,
        "n": identity.n,
        "final": identity.shard == FINAL_SHARD,
        "network": fit.network,
        "certificates": bounds.files,
    }


def _setting_validation(data: pd.DataFrame, metric: Metric, shown: Shown) -> str:
    axis, axes = summary.beta_axis(summary.searched(data)), shown.row.axes
    level = axis.level(getattr(axes, axis.column))
    means = summary.settings(data)
    same = means[
        (means["beta_level"] == level)
        & (means["width"] == axes.width)
        & (means["rounding"] == axes.rounding)
        & (means["problem"] == shown.problem)
    ]
    return metric.text(float(same[metric.column("validation")].iloc[0])) if len(same) else ""


# Columns of the two tables: title, column of the results, how its values are written.
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
        facts.append(("outputs of a network", f"{len(joined.iloc[0])}, one a {kind}"))
    facts.append(
        ("inputs of a network", f"{_range(rows, 'd')} (one-hot columns and bias included)")
    )
    facts.append(("training rows of a shard", _range(rows, "n")))
    facts.append(("shards", ", ".join(sorted(set(data["shard"]) - {FINAL_SHARD})) or FINAL_SHARD))
    if config is not None:
        held = f"{percent(config.test.fraction)} of the rows, never used to choose anything"
        facts.append(("test rows", held if config.test.fraction else "none"))
    facts.append(("loss, activation, weights", "; ".join(summary.kinds_in_words(data)) or "–"))
    facts.append(("solver", ", ".join(sorted(set(rows["solver"].dropna()))) or "–"))
    if config is not None and config.bounds == "learned":
        facts.append(("SDPs left out by learned bounds", summary.left_out(data)))
    facts.append(("computing time", f"{data['seconds'].sum():.0f} s over all trials"))
    return [{"name": name, "value": value} for name, value in facts]


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


def _first(data: pd.DataFrame, column: str, otherwise: str) -> str:
    values = data[column].dropna()
    return str(values.iloc[0]) if len(values) else otherwise


def _versions(data: pd.DataFrame) -> str:
    """All version sets that occur, most rows first: a resumed run may have more than one."""
    sets = []
    for text in data["versions"].dropna().value_counts().index:
        try:
            named = json.loads(text)
        except ValueError:
            named = {}
        sets.append(", ".join(f"{name} {version}" for name, version in named.items()) or text)
    return " · then ".join(sets) or "not recorded"


def _config(folder: RunFolder) -> SweepConfig | None:
    """The resolved config; None where the folder has none that this version reads."""
    try:
        return parse_config(folder.read(CONFIG_FILE).decode(), CONFIG_FILE)
    except (FileNotFoundError, UnicodeDecodeError, InputError):
        return None


def _names(folder: RunFolder, network: str) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """The features that a network reads and what its outputs are called, where it says so."""
    try:
        preprocessing = QuantizedNetwork.from_bytes(folder.read(network), network).preprocessing
    except (FileNotFoundError, InputError):
        return (), ()
    return ((), ()) if preprocessing is None else (
        preprocessing.feature_names, preprocessing.target.outputs)  # fmt: skip


def _text(name: str) -> str:
    return resources.files("pipeline.reports").joinpath("pages", name).read_text(encoding="utf-8")


def _script_hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"sha256-{digest}"
