"""The metrics of one part of a shard, as columns of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.results.metrics.classes import class_metrics
from pipeline.results.metrics.numbers import number_metrics
from qnn.training.sigmoid import Sigmoids

# The parts of which intervals are told: of rows that a network was fitted to they mean nothing.
HELD_OUT = ("validation", "test")


@dataclass(frozen=True, eq=False)
class Scored:
    """What a classifier says beside its labels.

    `classes`: how many there are, of two the second is the positive one; `scores` (n,) or (n, C),
    larger where the second, or the c-th, is likelier; `calibration` makes probabilities of them.
    Both are None where there are none.
    """

    classes: int
    scores: np.ndarray | None = None
    calibration: Sigmoids | None = None


def metrics(
    part: str,
    predicted: np.ndarray,
    target: np.ndarray,
    scored: Scored | None = None,
    scale: float | Sequence[float] = 1.0,
) -> dict[str, Any]:
    """Metrics of predictions against targets, (n,) or (n, C) for C targets, by column.

    Of a classifier both are numbers of classes, and `scored` says more; None for regression.
    `scale` (C,): the unit in which the errors of several regression targets are counted. Nothing
    where there are no rows.
    """
    if len(target) == 0:
        return {}
    if scored is None:
        found = number_metrics(predicted, target, scale)
    else:
        found = class_metrics(predicted, target, scored.classes, scored.scores, scored.calibration)
    columns: dict[str, Any] = {f"{part}_rows": len(target)}
    for name, (value, interval) in found.items():
        columns[f"{part}_{name}"] = value
        ends = interval() if part in HELD_OUT else None
        if ends is not None:
            columns[f"{part}_{name}_low"], columns[f"{part}_{name}_high"] = ends
    return columns
