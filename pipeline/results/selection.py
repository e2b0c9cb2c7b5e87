"""Which setting is best: by the validation metric, averaged over shards and seeds.

Only `CHOICE_COLUMNS` of the results are looked at, and no test metric is among them.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.configuration.beta import Beta, BetaForm, column_of
from pipeline.configuration.kinds import KIND, Kind
from pipeline.configuration.metric import METRICS, Metric, metric_for
from pipeline.results.record import NetworkRow, rows_of
from qnn.training.arms import ALL as BASELINES

CHOICE_COLUMNS = (
    "trial",
    "output",
    "shard",
    "beta",
    "beta_fraction",
    "width",
    "rounding",
    *KIND,
    "status",
    "bytes",
    "upper_bound",
    *(metric.column("validation") for metric in METRICS.values()),
)
FINAL_SHARD = "all"
# β, width, rounding and kind of problem.
Setting = tuple[Beta, int, str, Kind]
# Means that agree to this many digits are a tie: summation order must not decide.
DIGITS = 12


@dataclass(frozen=True)
class Choice:
    """A setting: kind of problem, β as the sweep writes it, width and rounding.

    `mean` and `deviation` are those of `metric` ("validation_accuracy", or another's column) over
    `networks` rows; `mean_bytes` is their mean size.
    """

    beta: Beta
    width: int
    rounding: str
    metric: str
    mean: float
    deviation: float
    mean_bytes: float
    networks: int
    kind: Kind


def choose(
    results: pa.Table, form: BetaForm, task: str, metric: str | None = None
) -> Choice | None:
    """Return the best setting of a sweep; None where no network has a validation metric.

    Best: by the mean validation `metric` over all shards and seeds, None: the highest accuracy
    (classification) or the lowest RMSE (regression); of equal ones the one with fewer bytes, then
    the one with the larger β. Settings with a failed trial count only where every setting has one:
    a mean over fewer shards is not comparable. Networks of one output of several and the arms to
    compare with are never chosen.
    """
    known = metric_for(task, metric)
    written = column_of(form)
    groups: dict[Setting, list[NetworkRow]] = defaultdict(list)
    for row in rows_of(results.select(CHOICE_COLUMNS)):
        axes, identity = row.axes, row.identity
        if axes.rounding in BASELINES or identity.output is not None or axes.width is None:
            continue
        level: float | None = getattr(axes, written)
        if identity.shard != FINAL_SHARD and level is not None:
            groups[Beta(level, form), axes.width, axes.rounding, row.kind].append(row)
    whole = {key: rows for key, rows in groups.items() if len(_values(rows, known)) == len(rows)}
    choices = [
        _mean(key, rows, known) for key, rows in (whole or groups).items() if _values(rows, known)
    ]
    sign = -1.0 if known.higher_is_better else 1.0
    return min(choices, key=lambda choice: _rank(choice, sign), default=None)


def _values(rows: list[NetworkRow], metric: Metric) -> list[float]:
    values = [row.metric(metric.column("validation")) for row in rows]
    return [value for value in values if value is not None]


def _mean(key: Setting, rows: list[NetworkRow], metric: Metric) -> Choice:
    column = metric.column("validation")
    found = [row.fit for row in rows if row.metric(column) is not None]
    values = _values(rows, metric)
    mean = math.fsum(values) / len(values)
    return Choice(
        beta=key[0],
        width=key[1],
        rounding=key[2],
        metric=column,
        mean=mean,
        deviation=math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)),
        mean_bytes=math.fsum(fit.bytes or 0 for fit in found) / len(found),
        networks=len(found),
        kind=key[3],
    )


def _rank(choice: Choice, sign: float) -> tuple[float, float, float, int, str, str]:
    return (
        sign * float(f"{choice.mean:.{DIGITS}g}"),
        choice.mean_bytes,
        -choice.beta.written,
        choice.width,
        choice.rounding,
        choice.kind.describe(),
    )


def best_refit(results: pa.Table, path: str) -> NetworkRow | None:
    """Return the row of the final refit that trained best (lowest objective); None without one.

    `path` is the refit's path id. Of equal ones the smaller, then the first by trial id.
    """
    own = rows_of(results.filter(pc.equal(results["path"], path)))
    return min((row for row in own if row.fit.ok), key=_of_refits, default=None)


def _of_refits(row: NetworkRow) -> tuple[float, float, str]:
    fit = row.fit
    return fit.upper_bound or 0.0, fit.bytes or 0.0, row.identity.trial
