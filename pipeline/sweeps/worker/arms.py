"""The arms to compare with, on the problem of one β of a path: a row each, as our networks have."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.datasets.shards import ShardData
from pipeline.plans.units import PathSpec
from pipeline.results.folder import RunFolder, StoreError
from pipeline.sweeps.worker.rows import failure, keep_network, metrics, trial_columns, trial_rng
from qnn.training.arms import CEILINGS, QUANTIZED, get_arm
from qnn.training.problems.problem import Problem

log = logging.getLogger(__name__)

Row = dict[str, Any]
# What only a quantized network has: a proof speaks of no other.
BOUNDS = (
    "lower_bound",
    "relaxation_value",
    "certificate",
    "proof",
    "bounds",
    "relaxation_seconds",
    "certify_seconds",
)
OF_PROBLEM = (
    *("beta", "beta_fraction", "beta_max", "loss", "loss_parameter"),
    *("activation", "polynomial", "alphabet", "certify"),
)


def arm_rows(spec: PathSpec, written: float, base: Row) -> list[Row]:
    """A row for each trial of an arm at a β, before it is run; `base` has the path's columns."""
    rows = []
    for trial in spec.arm_trials(written):
        row = {**base, **trial_columns(spec, trial)}
        foreign = () if trial.rounding in QUANTIZED else BOUNDS
        for column in (*foreign, *(OF_PROBLEM if trial.beta is None else ())):
            row[column] = None
        if trial.rounding in QUANTIZED:
            # Arms choose their second layer freely, whatever ours is held to.
            row["second_layer"] = "float"
        else:
            row["solver"] = row["second_layer"] = None
        rows.append(row)
    return rows


def run_arm(
    row: Row, ours: list[Row], spec: PathSpec, problem: Problem, data: ShardData, folder: RunFolder
) -> Row:
    """Run one arm and fill in its row; a failure becomes a failed row. Raises `StoreError`."""

    def fill(filled: Row) -> None:
        start = time.perf_counter()
        seconds = row["baseline_seconds"] or _ours(row, ours)
        if row["rounding"] in QUANTIZED:
            rng = trial_rng(row["trial"])
            network = get_arm(row["rounding"])(problem, row["width"], seconds, rng)
            filled["rounding_seconds"] = time.perf_counter() - start
            keep_network(filled, network, problem, data, folder)
        elif row["rounding"] in CEILINGS:
            _ceiling(filled, problem, seconds, data)
        else:
            _reference(filled, data)

    return _filled(row, fill)


def run_reference(row: Row, data: ShardData) -> Row:
    """Run a reference, which takes all classes at once, and fill in its row, or make it failed."""
    return _filled(row, lambda filled: _reference(filled, data))


def _filled(row: Row, fill: Callable[[Row], None]) -> Row:
    start = time.perf_counter()
    filled = dict(row)
    try:
        fill(filled)
    except StoreError:
        raise
    except Exception as error:
        log.exception("arm %s of trial %s failed", row["rounding"], row["trial"])
        filled = {**row, **failure(error)}
    filled["seconds"] = time.perf_counter() - start
    return filled


def _ours(row: Row, ours: list[Row]) -> float:
    """The wall time that our slowest network of this seed and width took, relaxation included."""
    same = [
        (one.get("relaxation_seconds") or 0.0) + (one.get("rounding_seconds") or 0.0)
        for one in ours
        if row["width"] in (None, one["width"]) and row["seed"] == one["seed"]
    ]
    return max(same)


def _ceiling(row: Row, problem: Problem, seconds: float, data: ShardData) -> None:
    network = get_arm(row["rounding"])(problem, seconds)
    row["upper_bound"], row["loss_value"] = network.objective, network.loss_value
    row["neurons"], row["bytes"] = len(network.signs), network.size_in_bytes
    for part, X, target in data.parts():
        predicted = data.preprocessing.decode(network.decision_function(X))
        row.update(metrics(part, predicted, target, data.task))
    row["status"] = "ok"


def _reference(row: Row, data: ShardData) -> None:
    from qnn.training.arms.references.cross_validation import size_in_bytes

    several = data.y.ndim == 2
    labels = np.argmax(data.y, axis=1) if several else np.asarray(data.y)
    estimator = get_arm(row["rounding"])(data.X, labels, row["seed"])
    classes = np.array(data.preprocessing.classes or (), dtype=object)
    row["bytes"] = size_in_bytes(estimator)
    for part, X, target in data.parts():
        if len(target):
            found = estimator.predict(X)
            predicted = classes[found] if several else data.preprocessing.decode(found)
            row.update(metrics(part, predicted, target, data.task))
    row["status"] = "ok"
