"""What a table of results says: the metric that counts, the best settings, the network to show.

Everything here reads the columns of `results/*.parquet` and nothing else, so that the figures, the
report and the tracking pages say the same thing. Choosing a network is not done here:
`champion_row` only finds the row again that the selection chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.configuration.beta import BetaForm
from pipeline.configuration.kinds import KIND, Kind, differing_words, kind_of
from pipeline.configuration.metric import METRICS, Metric, metric_for
from pipeline.results.record import LEARNED, ORTHOGONALITY, PARTS, NetworkRow, columns_for
from pipeline.results.schema import METRIC
from pipeline.results.selection import FINAL_SHARD, choose
from qnn.training.arms import ALL as BASELINES

KRIVINE_CONSTANT = float(np.pi / (2.0 * np.log(1.0 + np.sqrt(2.0))))
"""K = π/(2 ln(1+√2)) ≈ 1.7822: no optimum is further than this factor above its relaxation."""


def frame(results: pa.Table | pd.DataFrame) -> pd.DataFrame:
    """Our own results as a data frame with plain numbers (nulls in number columns become NaN).

    The arms to compare with are left out: `pipeline.reports.comparison.sets` shows them. So are the
    networks of one output of several: a joined row has their sum. The column `problem` says what a
    row's kind of problem differs in from those of other rows, "" where there is one kind,
    `beta_form` whether the sweep has β as fractions or values, `metric` the name of the one that
    chooses, `widest_objective` the best network's of any width, NaN where none was sought.
    """
    data = results.to_pandas() if isinstance(results, pa.Table) else results.copy()
    data = data[~data["rounding"].isin(BASELINES) & data["output"].isna()].copy()
    numbers = [
        *("beta", "beta_fraction", "beta_max", "lower_bound", "upper_bound", "gap"),
        *("relaxation_value", "loss_value", "seconds", "relaxation_seconds"),
        *(name for name in columns_for(METRIC) if name.partition("_")[0] in PARTS),
    ]  # fmt: skip
    order = list(dict.fromkeys([*data.columns, *numbers]))
    plain = data.reindex(columns=numbers).apply(pd.to_numeric, errors="coerce").astype(float)
    data = pd.concat([data.drop(columns=numbers, errors="ignore"), plain], axis=1)[order]
    # Arms without a width make it a column of floats, and 8 neurons would read as 8.0.
    data["width"] = data["width"].astype(int)
    data["widest_objective"] = [_widest(bounds) for bounds in data["bounds"]]
    kinds = _kinds(data)
    distinct = list(dict.fromkeys(kinds))
    words = dict(zip(distinct, differing_words(distinct), strict=True))
    data["problem"] = pd.Series([words[kind] for kind in kinds], data.index, dtype=object)
    data["beta_form"] = _said(results, _WRITTEN) or _likely_form(data)
    data["metric"] = _said(results, _METRIC) or _likely_metric(data)
    return data.reset_index(drop=True)


def _widest(bounds: Sequence[Mapping[str, float]] | None) -> float:
    return float("nan") if bounds is None or not len(bounds) else float(bounds[-1]["upper"])


def _kinds(data: pd.DataFrame) -> list[Kind]:
    return [kind_of(row) for row in data[list(KIND)].to_dict("records")]


def kinds_in_words(data: pd.DataFrame) -> list[str]:
    """Every kind of problem of a frame in full words."""
    return sorted({kind.describe() for kind in _kinds(data)})


def problems(data: pd.DataFrame) -> list[str]:
    """The kinds of problem of a frame by what they differ in, sorted."""
    return sorted(set(data["problem"]))


def finished(data: pd.DataFrame) -> pd.DataFrame:
    """The rows that carry a network."""
    return data[data["status"] == "ok"].reset_index(drop=True)


def failed(data: pd.DataFrame) -> pd.DataFrame:
    """The rows that carry an error instead of a network."""
    return data[data["status"] != "ok"].reset_index(drop=True)


def searched(data: pd.DataFrame) -> pd.DataFrame:
    """Finished rows of the search, without the final refits unless there is nothing else."""
    rows = finished(data)
    search = rows[rows["shard"] != FINAL_SHARD]
    return (search if len(search) else rows).reset_index(drop=True)


def metric_of(data: pd.DataFrame) -> Metric:
    """The metric by which the sweep of a frame chooses; of several targets it says its unit."""
    metric = METRICS[data["metric"].iloc[0] if len(data) else "accuracy"]
    if metric.name in ("rmse", "mae") and has_several_targets(data):
        return replace(metric, label=f"{metric.label} in each target's scale")
    return metric


def metric_said_by(results: pa.Table) -> Metric:
    """The metric by which a sweep chooses, from all of its rows, those of the arms among them."""
    return METRICS[_said(results, _METRIC) or _likely_metric(results.to_pandas())]


def has_several_targets(data: pd.DataFrame) -> bool:
    """Whether the networks of a frame predict several numbers at once."""
    if not len(data) or METRICS[data["metric"].iloc[0]].task != "regression":
        return False
    return "certificates" in data and bool(data["certificates"].notna().any())


def _likely_metric(data: pd.DataFrame) -> str:
    """For results without their config: accuracy where any row has one, RMSE otherwise."""
    accuracy, rmse = (
        data[[f"{part}_{name}" for part in PARTS]].notna().any(axis=None)
        for name in ("accuracy", "rmse")
    )
    return metric_for("regression" if rmse and not accuracy else "classification").name


@dataclass(frozen=True)
class BetaAxis:
    """β in the form in which the sweep was written: as fractions of β_max, or as numbers."""

    column: str
    label: str
    short: str

    def values(self, data: pd.DataFrame) -> pd.Series:
        """β of each row in this form, as `level`."""
        return data[self.column].map(self.level)

    @staticmethod
    def level(value: float) -> float:
        """β rounded to 10 significant digits, so that equal ones meet."""
        return float(f"{value:.10g}")


_AXES = {
    "fractions": BetaAxis("beta_fraction", "β as a fraction of β max", "β / β max"),
    "values": BetaAxis("beta", "β", "β"),
}
# Where a table of results says in which of the two its sweep was written, and what chooses.
_WRITTEN, _METRIC = b"qnn.beta", b"qnn.metric"


def written_as(results: pa.Table, form: BetaForm, metric: str | None = None) -> pa.Table:
    """The results with what their sweep's config has, for whatever shows them.

    `form`: that of β; `metric`: the name of the one that chooses, None for the task's own.
    """
    told = {_WRITTEN: form.encode()}
    return results.replace_schema_metadata(told | ({_METRIC: metric.encode()} if metric else {}))


def beta_axis(data: pd.DataFrame) -> BetaAxis:
    """The form of β of a frame, or of some of its rows."""
    return _AXES[data["beta_form"].iloc[0] if len(data) else "values"]


def _said(results: pa.Table | pd.DataFrame, key: bytes) -> str | None:
    told = results.schema.metadata if isinstance(results, pa.Table) else None
    value = (told or {}).get(key)
    return None if value is None else str(value.decode())


def _likely_form(data: pd.DataFrame) -> str:
    """For results without their config: the form that takes fewer distinct values over shards."""
    rows = searched(data)
    if rows["beta_fraction"].isna().any() or not len(rows):
        return "values"
    counts = {kind: axis.values(rows).nunique() for kind, axis in _AXES.items()}
    return "fractions" if counts["fractions"] <= counts["values"] else "values"


# What a setting is told from another by.
SETTING = ["problem", "beta_level", "width", "rounding"]


def settings(data: pd.DataFrame) -> pd.DataFrame:
    """Means over shards and seeds of each setting, best first.

    A setting is a kind of problem, β as written, width and rounding. The best is so by the mean
    validation metric, then by the mean gap; the test metric plays no part. Columns: problem,
    beta_level, width, rounding, networks, gap, neurons, bytes, and train/validation/test of the
    metric.
    """
    rows = searched(data)
    metric = metric_of(data)
    rows = rows.assign(beta_level=beta_axis(rows).values(rows))
    parts = [metric.column(part) for part in ("train", "validation", "test")]
    grouped = rows.groupby(SETTING, sort=True)
    means = grouped[["gap", "neurons", "bytes", *parts]].mean()
    means.insert(0, "networks", grouped.size())
    return means.reset_index().sort_values(
        [metric.column("validation"), "gap", "bytes"],
        ascending=[not metric.higher_is_better, True, True],
        kind="stable",
        ignore_index=True,
    )


def best_networks(data: pd.DataFrame, count: int) -> pd.DataFrame:
    """One network of each of the `count` best settings: its best by validation metric, then gap.

    One each, because the best single rows are often the same setting over and over with other seeds
    on one lucky shard. Columns of the results, plus `setting_validation`, the mean that ordered
    them.
    """
    rows = searched(data)
    if not len(rows):
        return rows.assign(setting_validation=np.nan)
    metric = metric_of(data)
    validation = metric.column("validation")
    rows = rows.assign(beta_level=beta_axis(rows).values(rows))
    best = settings(data).head(count)[[*SETTING, validation]]
    best = best.rename(columns={validation: "setting_validation"}).assign(rank=range(len(best)))
    joined = rows.merge(best, on=SETTING, how="inner")
    joined = joined.sort_values(
        ["rank", validation, "gap", "trial"],
        ascending=[True, not metric.higher_is_better, True, True],
        kind="stable",
    )
    first = joined.drop_duplicates("rank").drop(columns=["rank", "beta_level"])
    return first.reset_index(drop=True)


OURS = "ours"


def beside_ours(results: pa.Table) -> pd.DataFrame:
    """Ours and each arm that the sweep ran, at the best setting of each; the best first.

    Columns: arm (`OURS` or its name), networks, and the means over shards and seeds of gap, bytes
    and the metric's validation and test columns. A setting of an arm is its kind of problem, β,
    width, time and orthogonality. No rows where no arm was run.
    """
    data = frame(results)
    metric, search = metric_of(data), [*SETTING[:3], "baseline_seconds", *ORTHOGONALITY]
    rows = results.to_pandas()
    rows = rows[rows["rounding"].isin(BASELINES) & rows["output"].isna() & (rows["status"] == "ok")]
    if not len(rows) or not len(searched(data)):
        return pd.DataFrame()
    shown = [metric.column("validation"), metric.column("test"), "gap", "bytes"]
    axis = beta_axis(data)
    # A reference has none of our problems.
    records = rows[list(KIND)].to_dict("records")
    kinds = ["" if pd.isna(one["loss"]) else kind_of(one).describe() for one in records]
    rows = rows.assign(arm=rows["rounding"], beta_level=rows[axis.column], problem=kinds)
    rows[shown] = rows[shown].astype(float)
    grouped = rows.groupby(["arm", *search], dropna=False)
    means = grouped[shown].mean().assign(networks=grouped.size()).reset_index()
    ours = settings(data).head(1).assign(arm=OURS)
    means = pd.concat([ours, means])[["arm", "networks", *shown]]
    ordered = means.sort_values(shown[0], ascending=not metric.higher_is_better, kind="stable")
    return ordered.drop_duplicates("arm").reset_index(drop=True)


# Gaps to the bound for which the report says how narrow a network may be.
WANTED_GAPS = (0.1, 0.05, 0.02, 0.01, 0.001)


def neurons_within(data: pd.DataFrame) -> pd.DataFrame:
    """How many neurons a gap needs: at each β, those of the narrowest network found within it.

    Columns: problem, beta_level, `within_…` for each of `WANTED_GAPS`, and `gap`, the smallest
    reached. Each holds on every shard: the most neurons over the shards, NaN where one has no such
    network, and the largest of the shards' smallest gaps.
    """
    rows = searched(data)
    rows = rows.assign(beta_level=beta_axis(rows).values(rows))
    within = {
        f"within_{gap:g}": rows["neurons"].where(rows["gap"] <= gap).astype(float)
        for gap in WANTED_GAPS
    }
    smallest = rows.assign(**within).groupby(["problem", "beta_level", "shard"])
    by_shard = smallest[[*within, "gap"]].min()
    of_all = by_shard.groupby(["problem", "beta_level"])
    return of_all.agg(lambda values: values.max(skipna=False)).reset_index()


def champion_row(data: pd.DataFrame, trial: str | None = None) -> Mapping[str, Any] | None:
    """The row of the chosen network.

    `trial` names it. Without a name: of the final refits of the setting that the selection chooses,
    the one with the lowest objective, or, where no refit was made, the best network by validation.
    None where nothing finished.
    """
    rows = finished(data)
    if trial is not None:
        named = rows[rows["trial"] == trial]
        if len(named):
            return dict(named.iloc[0])
    final = rows[rows["shard"] == FINAL_SHARD].sort_values(["upper_bound", "bytes", "trial"])
    chosen = final[_of_chosen_setting(data, final)]
    for some in (chosen, final, best_networks(data, 1)):
        if len(some):
            return dict(some.iloc[0])
    return None


@dataclass(frozen=True)
class Shown:
    """A network as pages show it: its row, and what its kind of problem differs in from others'.

    `setting_validation`: the mean that its setting was ranked by, where it stands for one.
    """

    row: NetworkRow
    problem: str = ""
    setting_validation: float | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Shown:
        """From a row of `frame`."""
        mean = record.get("setting_validation")
        return cls(NetworkRow.of(record), str(record["problem"]), mean)

    def measured(self, part: str, metric: Metric) -> float | None:
        """The metric on `part` ("train", "validation" or "test")."""
        return self.row.metric(metric.column(part))


def champion_of(data: pd.DataFrame, trial: str | None = None) -> Shown | None:
    """The chosen network, as `champion_row` finds it."""
    record = champion_row(data, trial)
    return None if record is None else Shown.of(record)


def mean_of_setting(data: pd.DataFrame, shown: Shown) -> float | None:
    """The mean validation metric of a network's setting; None where it was not searched."""
    axis, axes = beta_axis(searched(data)), shown.row.axes
    level = axis.level(getattr(axes, axis.column))
    means = settings(data)
    same = means[
        (means["beta_level"] == level)
        & (means["width"] == axes.width)
        & (means["rounding"] == axes.rounding)
        & (means["problem"] == shown.problem)
    ]
    return float(same[metric_of(data).column("validation")].iloc[0]) if len(same) else None


def best_shown(data: pd.DataFrame, count: int) -> list[Shown]:
    """The networks of `best_networks`, as pages show them."""
    records = best_networks(data, count).to_dict("records")
    return [Shown.of({str(name): value for name, value in record.items()}) for record in records]


def _of_chosen_setting(data: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Which rows belong to the setting that the selection chooses: a resume may leave others."""
    axis, metric = beta_axis(searched(data)), metric_of(data)
    choice = choose(
        pa.Table.from_pandas(data, preserve_index=False),
        data["beta_form"].iloc[0],
        metric.task,
        metric.name,
    )
    if choice is None:
        return rows["status"] != "ok"
    level = axis.level(choice.beta.written)
    same_shape = (rows["width"] == choice.width) & (rows["rounding"] == choice.rounding)
    same_shape &= np.array([kind == choice.kind for kind in _kinds(rows)], dtype=bool)
    return same_shape & (axis.values(rows) == level)


def percent(value: float | None) -> str:
    """A gap for people: `1.53 %`, three significant digits, an en dash where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    if value and abs(value) < 1e-5:
        return f"{100 * value:.1e} %"
    return f"{100 * value:.3g} %"


def byte_text(value: float | None) -> str:
    """A size for people: `412 bytes`, `12.3 kB`."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.0f} bytes" if value < 10_000 else f"{value / 1000:.1f} kB"


def left_out(data: pd.DataFrame) -> str:
    """How many SDPs learned bounds left out, and what that saved beside solving and rounding them.

    A cell's time is that of its relaxation and of all its networks; what the ones that were left
    out would have taken is the median of the others.
    """
    cells = data[data["certificate"].notna()].groupby("certificate")
    seconds = cells["relaxation_seconds"].first() + cells["seconds"].sum()
    out = cells["solver"].first() == LEARNED
    if not out.any() or out.all():
        return f"{out.sum()} of {len(out)}"
    typical = float(seconds[~out].median())
    saved = typical * int(out.sum()) - float(seconds[out].sum())
    words = (
        f"saved about {saved:.1f} s" if saved > 0.0 else f"cost {-saved:.1f} s more than it saved"
    )
    return f"{out.sum()} of {len(out)}: {words}, at {1e3 * typical:.0f} ms for a solved one"
