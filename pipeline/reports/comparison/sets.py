"""Our networks beside the arms to compare with, from the results of sweeps that ran both.

Each kind of problem of a sweep is a set of its own: objectives of two kinds are no match. Two
comparisons. *Objective*: on each training problem (shard, β) at each width and seed, ours and
an arm had the same wall time; which objective is lower? *Metric*: every arm's β and width are
chosen by the sweep's metric, its mean on the validation rows of all shards; then the mean on the
test rows counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.configuration.kinds import Kind, differing_words, kind_of
from pipeline.configuration.metric import Metric
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.ledger import read_results
from pipeline.results.record import ORTHOGONALITY
from pipeline.results.selection import FINAL_SHARD
from pipeline.results.summary import metric_said_by, written_as
from qnn.errors import InputError
from qnn.training.arms import AFTERWARDS, ALL, CEILINGS, QUANTIZED, REFERENCES

# Our roundings, the best first: the first that a sweep has is compared with the arms.
OWN = ("graduated", "refined", "krivine")
# Objectives nearer than this, relative, are the same network found twice.
TIE = 1e-6
CELL = ["shard", "beta", "width", "seed"]


@dataclass(frozen=True, eq=False)
class ComparedSet:
    """One kind of problem of a sweep: all its rows that finished, and how they were made.

    name: the sweep's. problem: what its kind differs in from the sweep's others, "" where it has
    one. scaling: of the features. metric: by which the sweep chooses. rows: of this kind; those of
    the references, which minimise none of our problems, are in the first set of a sweep alone.
    seconds: what each arm had for a network; None: as long as ours took; several: a run for each.
    """

    name: str
    dataset: str
    scaling: str
    rows: pd.DataFrame
    kind: Kind
    metric: Metric
    problem: str = ""
    seconds: float | tuple[float, ...] | None = None

    @property
    def title(self) -> str:
        """The sweep's name and, where it has several kinds, the kind."""
        return f"{self.name}\n{self.problem}" if self.problem else self.name

    @property
    def own(self) -> str:
        """The rounding of ours that is compared with the arms."""
        present = set(self.rows["rounding"])
        return next(rounding for rounding in OWN if rounding in present)

    @property
    def ours(self) -> pd.DataFrame:
        """The rows of that rounding."""
        return self.rows[self.rows["rounding"] == self.own]


def read_sets(location: str) -> list[ComparedSet]:
    """The sweep in a folder. Raises InputError where it has no results, no arms or none of ours."""
    from pipeline.configuration.reading import parse_config

    folder = RunFolder.open(location)
    if folder.local_path is not None and not os.path.isdir(folder.local_path):
        raise InputError(f"{folder.label}: no such folder")
    results = read_results(folder)
    arms = set(results["rounding"].to_pylist())
    if not arms & set(OWN) or not arms & set(ALL):
        raise InputError(
            f"{folder.label}: no sweep with baselines; add "
            "`baselines: [straight_through, …]` to its config and run it"
        )
    config = parse_config(folder.read(CONFIG_FILE).decode(), CONFIG_FILE)
    scaling, seconds = config.preprocessing.scaling, config.baseline_seconds
    results = written_as(results, config.beta.form, config.chosen_by)
    sets = make_sets(config.name, scaling, results, seconds)
    if not sets:
        raise InputError(f"{folder.label}: no network of ours is finished, so nothing to compare")
    return sets


def make_sets(
    name: str,
    scaling: str,
    results: pa.Table,
    seconds: float | tuple[float, ...] | None = None,
) -> list[ComparedSet]:
    """A sweep from its results: a set for each kind of problem that has networks of ours."""
    rows, metric = results.to_pandas(), metric_said_by(results)
    whole = rows["output"].isna()
    rows = rows[whole & (rows["status"] == "ok") & (rows["shard"] != FINAL_SHARD)]
    rows = rows.reset_index(drop=True)
    for column in ("beta", "beta_fraction", "width", "upper_bound", "lower_bound", "gap",
                   metric.column("validation"), metric.column("test"), "bytes",
                   "relaxation_seconds", "baseline_seconds"):  # fmt: skip
        rows[column] = pd.to_numeric(rows[column], errors="coerce").astype(float)
    of_row = pd.Series(
        [
            None if row["rounding"] in REFERENCES else kind_of(row)
            for row in rows.to_dict("records")
        ],
        rows.index,
        dtype=object,
    )
    kinds = sorted(set(of_row[rows["rounding"].isin(OWN)]), key=Kind.describe)
    sets: list[ComparedSet] = []
    for kind, problem in zip(kinds, differing_words(kinds), strict=True):
        chosen = of_row == kind if sets else (of_row == kind) | of_row.isna()
        own = rows[chosen].reset_index(drop=True)
        dataset = str(own["dataset"].iloc[0])
        sets.append(ComparedSet(name, dataset, scaling, own, kind, metric, problem, seconds))
    return sets


@dataclass(frozen=True)
class ArmSummary:
    """One arm on one set.

    problem: as of the set, "" for a reference. objective, gap: means over the training problems,
    NaN where the arm has none. better, equal, worse: of the problems, widths and seeds, on how many
    ours has the lower, the same, the higher objective; ratio: the geometric mean of the arm's
    objective over ours. seconds: mean wall time of a network, the relaxation included. test,
    deviation, bytes: `metric` on the test rows, its mean and deviation over the shards, at the β
    and width that are best by it on the validation rows; NaN where there is none.
    setting: of an arm's weights kept near orthonormal, and its time where the sweep gave several.
    """

    set: str
    problem: str
    arm: str
    objective: float
    gap: float
    better: int
    equal: int
    worse: int
    ratio: float
    test: float
    deviation: float
    bytes: float
    seconds: float
    metric: Metric
    setting: str = ""

    @property
    def kind(self) -> str:
        """Whether it is "ours", "quantized", a "ceiling", "afterwards" or a "reference"."""
        kinds = {"quantized": QUANTIZED, "ceiling": CEILINGS, "afterwards": AFTERWARDS,
                 "reference": REFERENCES}  # fmt: skip
        return next((kind for kind, arms in kinds.items() if self.arm in arms), "ours")


def summarize(compared: ComparedSet) -> list[ArmSummary]:
    """Every arm of a set, ours first; one that had several times has a summary for each."""
    rows = compared.rows
    ours = compared.ours
    order = [*OWN, *ALL]
    present = [arm for arm in order if (rows["rounding"] == arm).any()]
    return [
        replace(_summary(compared, ours, own, arm), setting=", ".join(filter(None, (setting, had))))
        for arm in present
        for setting, of_setting in by_setting(rows[rows["rounding"] == arm])
        for had, own in _by_time(of_setting)
    ]


def _by_time(arm: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """An arm's rows by the time that it was given, in words; "" where that was one time."""
    if arm["baseline_seconds"].nunique() < 2:
        return [("", arm)]
    return [(f"{seconds:g} s", own) for seconds, own in arm.groupby("baseline_seconds")]


def by_setting(arm: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """An arm's rows by the orthogonality of its weights, in words; "" where it was given none."""
    if "orthogonality" not in arm or arm["orthogonality"].isna().all():
        return [("", arm)]
    return [(_words(*key), own) for key, own in arm.groupby(list(ORTHOGONALITY))]


def _words(kind: str, order: float, iterations: float, gain: bool) -> str:
    """What counts of it for its kind."""
    parts = {"aon": f" order {order:g}", "bjorck": f" order {order:g}, {iterations:g} times"}
    fixed = "" if gain or kind in ("none", "soft") else ", no gain"
    return f"orthogonality {kind}{parts.get(kind, '')}{fixed}"


def paired(ours: pd.DataFrame, arm: pd.DataFrame) -> pd.DataFrame:
    """Pairs on the same problem, width and seed: `upper_bound_ours` and `upper_bound_arm`."""
    columns = [*CELL, "upper_bound"]
    return ours[columns].merge(arm[columns], on=CELL, suffixes=("_ours", "_arm"))


def _summary(compared: ComparedSet, ours: pd.DataFrame, arm: pd.DataFrame, name: str) -> ArmSummary:
    rivals = (*QUANTIZED, *(rounding for rounding in OWN if rounding != compared.own))
    pairs = paired(ours, arm if name in rivals else arm[:0])
    ratio = (pairs["upper_bound_arm"] / pairs["upper_bound_ours"]).to_numpy()
    test, deviation, size = _chosen(arm, compared.metric)
    return ArmSummary(
        set=compared.name,
        problem="" if name in REFERENCES else compared.problem,
        arm=name,
        objective=float(arm["upper_bound"].mean()),
        gap=float(arm["gap"].mean()),
        better=int(np.sum(ratio > 1 + TIE)),
        equal=int(np.sum(np.abs(ratio - 1) <= TIE)),
        worse=int(np.sum(ratio < 1 - TIE)),
        ratio=float(np.exp(np.mean(np.log(ratio)))) if len(ratio) else np.nan,
        test=test,
        deviation=deviation,
        bytes=size,
        seconds=_seconds(arm, name),
        metric=compared.metric,
    )


def _seconds(arm: pd.DataFrame, name: str) -> float:
    own = arm["seconds"].mean()
    ours = name in OWN
    return float(own + arm["relaxation_seconds"].mean()) if ours else float(own)


@dataclass(frozen=True, eq=False)
class TimeCurve:
    """What an arm reaches in more and more time, on one set; (k,) each, from little to much.

    seconds: mean wall time of a network, the relaxation included. ratio: geometric mean of its
    objective over the proven bound. test: mean of the set's metric, NaN where there is none.
    """

    arm: str
    seconds: np.ndarray
    ratio: np.ndarray
    test: np.ndarray


def time_curves(compared: ComparedSet) -> list[TimeCurve]:
    """Ours, a point for each rounding, then each quantized arm, a point for each time it had."""
    rows = compared.rows[compared.rows["lower_bound"] > 0]
    rows = rows.assign(ratio=np.log(rows["upper_bound"] / rows["lower_bound"]))
    ours = rows[rows["rounding"].isin(OWN)]
    ours = ours.assign(seconds=ours["seconds"] + ours["relaxation_seconds"])
    test = compared.metric.column("test")
    curves = [_time_curve("ours", [part for _, part in ours.groupby("rounding")], test)]
    for arm in QUANTIZED:
        own = rows[rows["rounding"] == arm]
        if len(own):
            parts = [part for _, part in own.groupby("baseline_seconds")]
            curves.append(_time_curve(arm, parts, test))
    return curves


def _time_curve(arm: str, parts: list[pd.DataFrame], test: str) -> TimeCurve:
    parts = sorted(parts, key=lambda part: float(part["seconds"].mean()))
    means = [[float(part[c].mean()) for c in ("seconds", "ratio", test)] for part in parts]
    seconds, ratio, measured = np.array(means).T
    return TimeCurve(arm, seconds, np.exp(ratio), measured)


def _chosen(arm: pd.DataFrame, metric: Metric) -> tuple[float, float, float]:
    """Mean and deviation over shards of the test metric at the best setting, and mean bytes."""
    test, validation = metric.column("test"), metric.column("validation")
    if not arm[test].notna().any():
        return np.nan, np.nan, float(arm["bytes"].mean())
    # References have neither β nor width: one setting.
    setting = pd.Series(
        [f"{beta:.10g}/{width:g}" for beta, width in zip(
            arm["beta_fraction"], arm["width"], strict=True)],
        index=arm.index,
    )  # fmt: skip
    means = arm.groupby(setting)[validation].mean()
    if not means.notna().any():
        return np.nan, np.nan, float(arm["bytes"].mean())
    best = means.idxmax() if metric.higher_is_better else means.idxmin()
    rows = arm[setting == best]
    by_shard = rows.groupby("shard")[test].mean()
    deviation = float(by_shard.std(ddof=1)) if len(by_shard) > 1 else np.nan
    return float(by_shard.mean()), deviation, float(rows["bytes"].mean())


@dataclass(frozen=True)
class AgainstReferences:
    """The best of ours on a data set against the best reference, and sizes as shares of theirs."""

    dataset: str
    ours: ArmSummary
    reference: ArmSummary
    shares: dict[str, float]

    @property
    def metric(self) -> Metric:
        """By which both were chosen and are compared."""
        return self.ours.metric

    @property
    def points(self) -> float:
        """Percentage points that ours is above (or, negative, below) the best reference.

        NaN where the metric is no share.
        """
        return 100 * (self.ours.test - self.reference.test) if self.metric.share else np.nan


def against_references(sets: list[ComparedSet]) -> list[AgainstReferences]:
    """For each data set with references: our summaries of all its sets, the best by validation.

    The choice between sets of one data set (scalings, kinds) is by the metric's validation mean
    too; sweeps of one data set that choose by several metrics are compared by each.
    """
    found = []
    for dataset, metric in dict.fromkeys((one.dataset, one.metric) for one in sets):
        own = [one for one in sets if (one.dataset, one.metric) == (dataset, metric)]
        references = [s for one in own for s in summarize(one) if s.kind == "reference"]
        if not references:
            continue
        best = max(own, key=_validation)
        rival = max(references, key=lambda one: better_first(one.metric, one.test))
        ours = next(summary for summary in summarize(best) if summary.arm == best.own)
        shares = {s.arm: ours.bytes / s.bytes for s in references}
        found.append(AgainstReferences(dataset, ours, rival, shares))
    return found


def better_first(metric: Metric, value: float) -> float:
    """A value of a metric as one of which more is better; what there is not is the worst."""
    signed = value if metric.higher_is_better else -value
    return signed if np.isfinite(value) else -np.inf


def _validation(compared: ComparedSet) -> float:
    rows, metric = compared.ours, compared.metric
    level = [rows["beta_fraction"].round(10), "width"]
    means = rows.groupby(level)[metric.column("validation")].mean()
    return max((better_first(metric, value) for value in means), default=-np.inf)
