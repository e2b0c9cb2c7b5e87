"""What a reviewer reads in MLflow: parameters, metrics, and the descriptions in Markdown."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.configuration.flat import flatten
from pipeline.configuration.reading import SweepConfig, dump_config
from pipeline.logs.redact import redact
from pipeline.logs.shell import verify_line
from pipeline.reports.proof_words import gap_words
from pipeline.results import summary
from pipeline.results.record import NetworkRow, columns_for
from pipeline.results.schema import METRIC, PARAMETER
from pipeline.results.selection import FINAL_SHARD, Choice
from pipeline.results.summary import Shown, byte_text, percent
from pipeline.tracking.run import paths_for

# MLflow takes 6,000 characters for a parameter; the UI shows far fewer.
LONGEST_PARAMETER = 250
# Sections that say nothing of what is computed.
_HOW_RUN = {"tracking", "resources", "retrain"}


def parameters(config: SweepConfig) -> dict[str, str]:
    """The resolved config, flattened to `section.key`, each value a short text, no credentials.

    Labels and columns that are keys are spelt as MLflow takes them.
    """
    flat = dict(flatten(config.model_dump(mode="json", exclude=_HOW_RUN)))
    told = {key: _short(value) for key, value in flat.items() if value not in (None, [], ())}
    names = paths_for(told)
    return {names[key]: value for key, value in told.items()}


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    text = redact(text)
    if len(text) <= LONGEST_PARAMETER:
        return text
    return f"{text[: LONGEST_PARAMETER - 1]}…"


def config_digest(config: SweepConfig) -> str:
    """SHA-256 of the resolved config without where it is tracked and what it may use, 16 digits."""
    content = config.model_dump(mode="json", exclude=_HOW_RUN)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def sweep_tags(config: SweepConfig) -> dict[str, str]:
    """Tags of the sweep's run that are known before anything is computed."""
    return {
        "mlflow.source.name": "qnn sweep",
        "mlflow.source.type": "LOCAL",
        "dataset": redact(config.data.source)[:LONGEST_PARAMETER],
        "task": config.task,
        **{name: _each(config, name) for name in ("loss", "activation", "alphabet")},
        "second_layer": str(config.second_layer),
        "qnn.config_digest": config_digest(config),
    }


def _each(config: SweepConfig, name: str) -> str:
    """A column of the sweep's kinds of problem, each value once."""
    return ", ".join(dict.fromkeys(str(getattr(kind, name)) for kind in config.kinds))


def sweep_metrics(
    data: pd.DataFrame, champion: Shown | None, choice: Choice | None
) -> dict[str, float]:
    """The numbers of the whole sweep; those of the chosen network start with `champion_`."""
    rows = summary.searched(data)
    metric = summary.metric_of(data)
    found = {
        "trials_done": float(len(summary.finished(data))),
        "trials_failed": float(len(summary.failed(data))),
        "compute_seconds": float(data["seconds"].sum()),
    }
    if len(rows):
        found["best_gap"] = float(rows["gap"].min())
    if choice is not None:
        found[f"best_{choice.metric}"] = choice.mean
    if champion is not None:
        told = champion.row.columns
        for key in ("gap", "bytes", "neurons", *_headline(metric)):
            value = told[key]
            found[f"champion_{key}"] = math.nan if value is None else float(value)
    return _finite(found)


def _headline(metric: summary.Metric) -> Iterator[str]:
    """What the chosen network is known by: the metric that chose it, and the task's usual ones."""
    usual = ["accuracy", "balanced_accuracy", "majority_share", "roc_auc", "log_loss", "brier"]
    if metric.task == "regression":
        usual = ["rmse", "mae", "r2"]
    yield metric.column("train")
    for name in dict.fromkeys((metric.name, *usual)):
        yield f"test_{name}"
        if name != "majority_share":
            yield from (f"test_{name}_low", f"test_{name}_high")


def path_metrics(data: pd.DataFrame) -> list[tuple[str, float, int]]:
    """Curves along β as (name, value, step): step 0 is the largest β; means over the shards.

    Of several kinds of problem each has its own.
    """
    rows = summary.searched(data)
    if not len(rows):
        return []
    metric = summary.metric_of(data)
    rows = rows.assign(level=summary.beta_axis(rows).values(rows))
    found = []
    for problem, own in rows.groupby("problem", sort=False):
        # Objectives of different kinds of problem are no common curve.
        name = re.sub(r"[^\w .-]", "", str(problem))
        found += _curves(own, metric, f"path/{name}/" if name else "path/")
    return found


def _curves(rows: pd.DataFrame, metric: summary.Metric, name: str) -> list[tuple[str, float, int]]:
    validation = metric.column("validation")
    problems = rows.groupby(["level", "shard"])
    best = "max" if metric.higher_is_better else "min"
    curves = {
        "upper_bound": problems["upper_bound"].min(),
        "lower_bound": problems["lower_bound"].max(),
        "gap": problems["gap"].min(),
        validation: problems[validation].agg(best),
        "beta": problems["beta"].first(),
    }
    found = []
    for key, curve in curves.items():
        means = curve.groupby("level").mean().sort_index(ascending=False)
        found += [(name + key, float(v), k) for k, v in enumerate(means) if np.isfinite(v)]
    return found


def network_metrics(row: NetworkRow) -> dict[str, float]:
    """The numbers of one network's run."""
    values = row.columns
    told = {key: values[key] for key in columns_for(METRIC)}
    return _finite({key: float(value) for key, value in told.items() if value is not None})


def bound_points(row: NetworkRow) -> list[tuple[str, float, int]]:
    """The bounds as they closed in, as (name, value, step): the step is the second, rounded up."""
    found: dict[tuple[str, int], float] = {}
    for point in row.bounds.bounds or ():
        step = math.ceil(point.seconds)
        # The last of a second is its best.
        found["over_time/lower_bound", step] = point.lower
        found["over_time/upper_bound", step] = point.upper
    return [(name, value, step) for (name, step), value in found.items() if np.isfinite(value)]


def network_parameters(row: NetworkRow) -> dict[str, str]:
    """Where one network stands on the axes of the sweep."""
    values = row.columns
    return {
        key: f"{values[key]:.6g}" if isinstance(values[key], float) else str(values[key])
        for key in columns_for(PARAMETER)
        if values[key] is not None
    }


def network_name(shown: Shown, role: str) -> str:
    """Name of a network's run: what it is, short enough for a column."""
    row = shown.row
    place = "champion" if role == "champion" else row.identity.shard
    kind = [shown.problem] if shown.problem else []
    return " · ".join([place, *kind, row.axes.rounding, f"{row.fit.neurons} neurons"])


def sweep_description(
    config: SweepConfig, data: pd.DataFrame, champion: Shown | None, location: str
) -> str:
    """What was trained, what came out, what a certificate means, how to check it."""
    metric = summary.metric_of(data)
    done, failures = len(summary.finished(data)), len(summary.failed(data))
    lines = [
        f"## Certified quantized networks on {code(_dataset(data, config))}",
        "",
        f"{done} two-layer networks ({'; '.join(kind.describe() for kind in config.kinds)}), each "
        f"with a proven bound on how far from optimal it can be. {failures} trials failed.",
        "",
    ]
    if champion is not None:
        lines += [
            "### The chosen network",
            "",
            *_network_lines(champion, metric),
            "",
            _how_chosen(champion.row, metric),
            "",
        ]
    lines += [
        "### What the certificate means",
        "",
        "The lower bound holds for **every** network of this kind, of any width, on the same "
        "training rows at the same β. It is verified with rounding errors accounted for, by a "
        "checker that shares no code with the solvers. It speaks of the training objective, not "
        "of accuracy on new rows.",
        "",
        "### How to check it",
        "",
        "```",
        verify_line(location),
        "```",
        "",
        "recomputes every digest, bound and objective from the files alone.",
        "",
        "### What is here",
        "",
        "- `report.html`: the whole sweep on one page",
        "- `figures/`: bounds along β, gap and objective against width, rounding, accuracy, size",
        "- `results/table.json`: the best networks as a table; `results/results.parquet`: all rows",
        "- child runs: the best network of each of the best settings and the champion, each with "
        "its network, certificate (`certificate.html` to read, `.npz` to check) and model",
        "- the `path/…` charts: means over shards, step 0 is the largest β",
    ]
    return "\n".join(lines)


def network_description(shown: Shown, metric: summary.Metric, role: str) -> str:
    """The page of one network's run."""
    first = (
        "The network chosen by the sweep." if role == "champion" else "One of the best settings."
    )
    return "\n".join(
        [first, "", *_network_lines(shown, metric), "",
         "Read `certificate/certificate.html` for what is proven and how to check it."]
    )  # fmt: skip


def version_description(
    shown: Shown, metric: summary.Metric, run: str, cautions: Sequence[str] = ()
) -> str:
    """What a reviewer of the registered model reads."""
    lines = [
        *([f"**Not promoted: {'; '.join(cautions)}.**", ""] if cautions else []),
        f"Quantized network on {code(shown.row.identity.dataset)}, [its run with the "
        f"certificate]({run}).",
        "",
        *_network_lines(shown, metric),
        "",
        _how_chosen(shown.row, metric),
        "",
        "`predict` takes raw columns by name and gives labels or target units; "
        '`params={"output": "score"}` gives the raw output.',
    ]
    return "\n".join(lines)


def code(text: Any) -> str:
    """Text from the data as Markdown code, on one line, whatever it holds."""
    return f"`{' '.join(redact(str(text)).replace('`', chr(39)).split())}`"


def _network_lines(shown: Shown, metric: summary.Metric) -> list[str]:
    row = shown.row
    fit, bound = row.fit, row.bounds.lower_bound
    return [
        f"| test {metric.label} | 95 % interval | rows | one class alone | size | neurons "
        "| certified gap | objective | lower bound |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| {metric.text(shown.measured('test', metric))} | {_test_interval(row, metric)} "
        f"| {row.measures.test.rows or '–'} | {_one_class(row, metric)} | {byte_text(fit.bytes)} "
        f"| {fit.neurons} | {percent(fit.gap)} | {fit.upper_bound:.6g} "
        f"| {bound:.6g} |",
        "",
        f"No network of any width gets below {bound:.6g}: {gap_words(fit.gap)}.",
        *_outputs_lines(row),
    ]


def _test_interval(row: NetworkRow, metric: summary.Metric) -> str:
    ends = [row.metric(f"test_{metric.name}_{end}") for end in ("low", "high")]
    return metric.interval_text(ends) or "–"


def _one_class(row: NetworkRow, metric: summary.Metric) -> str:
    share = row.measures.test.of_one_class(metric.name)
    return "–" if share is None else f"{100 * share:.1f} %"


def _outputs_lines(row: NetworkRow) -> list[str]:
    if not row.bounds.is_sum:
        return []
    return [f"Proven by {len(row.bounds.files)} certificates, one for each output, added up."]


def _how_chosen(row: NetworkRow, metric: summary.Metric) -> str:
    shard = row.identity.shard
    if shard != FINAL_SHARD:
        return f"Best by validation {metric.label} on shard {code(shard)}; no final refit."
    return (
        f"Its setting has the best mean validation {metric.label} over the shards; it was trained "
        "again on all rows but the test rows, which were never used to choose anything."
    )


def _dataset(data: pd.DataFrame, config: SweepConfig) -> str:
    names = data["dataset"].dropna()
    return str(names.iloc[0]) if len(names) else config.data.source


def config_text(config: SweepConfig) -> str:
    """The resolved config as YAML without credentials."""
    return redact(dump_config(config))


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if np.isfinite(value)}
