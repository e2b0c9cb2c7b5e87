"""Metrics of a network, measured again and held against its row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.configuration.metric import METRICS as CHOICES
from pipeline.results.metrics import Scored, metrics
from pipeline.results.record import METRICS, PARTS, NetworkRow, columns_for
from pipeline.results.schema import YOUNG
from pipeline.results.verification.verdict import Failure
from qnn.features.targets import TargetCoding
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.sigmoid import Sigmoids

# Sums of n products in another order (other BLAS, other machine) differ by far less than this.
RELATIVE = 1e-9
# A log loss is that of probabilities that an iteration fits.
CALIBRATED = 1e-7
# Columns younger than the other metrics: a part may lack all of them, and of more than two classes
# the last alone.
YOUNGEST = ("brier", "brier_low", "brier_high", "reliability")
# Decoding adds a target's offset, whose last digits are lost: a share of it.
DECODED = 1e-12
_RANGES = {
    "log_loss": (0.0, np.inf), "brier": (0.0, 2.0), "rmse": (0.0, np.inf), "mae": (0.0, np.inf),
    "r2": (-np.inf, 1.0),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Known:
    """Rows of a part: `X` (n, d) as the network takes them, their raw `target`, (n,) or (n, C).

    `calibration`: what makes probabilities of the network's scores; None for regression.
    """

    X: np.ndarray
    target: np.ndarray
    calibration: Sigmoids | None = None


def check_metrics(row: NetworkRow, network: QuantizedNetwork, part: str, known: Known) -> None:
    """Figures on the rows of a part, from the network's scores and the targets there."""
    if network.preprocessing is None:
        raise Failure("has no preprocessing")
    target = network.preprocessing.target
    found = _measured_again(network, target, part, known)
    told = row.columns
    # Files of earlier versions have no more than these.
    wanted = [f"{part}_{name}" for name in METRICS]
    if told[f"{part}_rows"] is not None:
        unknown = _unknown(told, part, target)
        wanted = [name for name in metrics_of(part) if name not in unknown]
    for column in wanted:
        _same_metric(column, told[column], found.get(column), target, known)


def calibrated(network: QuantizedNetwork, X: np.ndarray, y: np.ndarray) -> Sigmoids | None:
    """The calibration of a network on its training matrix; None for regression."""
    preprocessing = network.preprocessing
    coding = None if preprocessing is None else preprocessing.target
    if coding is None or coding.classes is None:
        return None
    scores = coding.class_scores(network.decision_function(X))
    return Sigmoids.fit(scores, coding.chosen(y), len(coding.classes))


def _measured_again(
    network: QuantizedNetwork, coding: TargetCoding, part: str, known: Known
) -> dict[str, Any]:
    """The metrics of a part, by column."""
    scores = network.decision_function(known.X)
    if coding.classes is None:
        return metrics(part, coding.decode(scores), known.target, scale=coding.scale)
    scored = Scored(len(coding.classes), coding.class_scores(scores), known.calibration)
    return metrics(part, coding.chosen(scores), coding.codes(known.target), scored)


def metrics_of(part: str) -> tuple[str, ...]:
    """All columns of a part's metrics."""
    young = (name for name in columns_for(YOUNG) if name.startswith(f"{part}_"))
    return (*(f"{part}_{name}" for name in METRICS), *young)


def _unknown(told: dict[str, Any], part: str, coding: TargetCoding) -> tuple[str, ...]:
    """Those of a part's youngest columns that a file of before them has none of."""
    youngest = tuple(f"{part}_{name}" for name in YOUNGEST if f"{part}_{name}" in told)
    later = youngest[-1:] if len(coding.classes or ()) > 2 else ()
    for names in (youngest, later):
        if all(told[name] is None for name in names):
            return names
    return ()


def _same_metric(column: str, said: Any, found: Any, coding: TargetCoding, known: Known) -> None:
    if isinstance(found, float) and isinstance(said, float):
        right = abs(said - found) <= _allowed(column, abs(found), coding, known.target)
    else:
        right = said == (list(found) if isinstance(found, tuple) else found)
    if not right:
        raise Failure(f"its row says {column} {said!r}, its files say {found!r}")


def _allowed(column: str, found: float, coding: TargetCoding, target: np.ndarray) -> float:
    """How far a metric may be from the one that is found, by rounding alone."""
    allowed = RELATIVE
    if "log_loss" in column or "brier" in column:
        # It rests on an iteration that ends a little elsewhere on another machine.
        allowed = CALIBRATED * max(1.0, found)
    elif coding.classes is None:
        scale = np.asarray(coding.scale)
        offset = float(np.max(np.abs(target) / scale, initial=0.0))
        # Errors of one target are in its units, those of several in their scales, R² in none.
        own = target.ndim == 1 and "r2" not in column
        allowed = (RELATIVE + DECODED * offset) * max(float(scale) if own else 1.0, found)
    # An end moves by more than its middle where that is close to 0 or 1.
    return 1000.0 * allowed if column.endswith(("_low", "_high")) else allowed


def check_held_out(row: NetworkRow, task: str) -> None:
    """Figures of rows that the folder does not have are at least possible ones, of this task."""
    told = row.columns
    for part in PARTS[1:]:
        for column in metrics_of(part):
            value, name = told[column], column.removeprefix(f"{part}_")
            metric = CHOICES.get(name.removesuffix("_low").removesuffix("_high"))
            if value is None or metric is None:
                continue
            if metric.task != task:
                raise Failure(f"its row has {part} metrics of another task than {task}")
            low, high = _RANGES.get(metric.name, (0.0, 1.0))
            if not low <= value <= high:
                raise Failure(f"its row has impossible {part} metrics")
