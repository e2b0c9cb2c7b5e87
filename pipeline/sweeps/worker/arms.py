"""The arms to compare with, on the problem of one β of a path: a row each, as our networks have."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.datasets.shards import ShardData
from pipeline.plans.units import PathSpec
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.record import (
    ORTHOGONALITY,
    Axes,
    Bounds,
    Cost,
    Fit,
    NetworkRow,
    columns_for,
)
from pipeline.results.schema import PROBLEM
from pipeline.sweeps.worker.rows import failure, keep_network, measured, trial_rng
from qnn.training.arms import QUANTIZED, REFERENCES, WIDTHLESS, get_arm
from qnn.training.problems.problem import Problem

log = logging.getLogger(__name__)


def arm_row(row: NetworkRow) -> NetworkRow:
    """The row of an arm's trial, before it is run, without what says nothing of the arm."""
    if row.axes.rounding in QUANTIZED:
        # Arms choose their second layer freely, whatever ours is held to.
        return replace(row, axes=replace(row.axes, second_layer="float"))
    if row.axes.rounding in REFERENCES:
        return without_problem(row)
    return without_proof(row)


def without_proof(row: NetworkRow) -> NetworkRow:
    """What only a quantized network has left out: a proof speaks of no other."""
    axes = replace(row.axes, solver=None, second_layer=None)
    return replace(row, axes=axes, bounds=Bounds(), cost=Cost(seconds=row.cost.seconds))


def without_problem(row: NetworkRow) -> NetworkRow:
    """As `without_proof`, of an arm that has neither β nor any of our problems."""
    row = without_proof(row)
    nothing: dict[str, Any] = dict.fromkeys(columns_for(PROBLEM))
    return replace(row, axes=replace(row.axes, **nothing))


def run_arm(
    row: NetworkRow,
    ours: list[NetworkRow],
    spec: PathSpec,
    problem: Problem,
    data: ShardData,
    folder: RunFolder,
) -> NetworkRow:
    """Run one arm and fill in its row; a failure becomes a failed row. Raises `StoreError`."""
    arm = row.axes.rounding

    def run() -> NetworkRow:
        start = time.perf_counter()
        seconds = row.axes.baseline_seconds or _ours(row, ours)
        if arm in QUANTIZED:
            rng = trial_rng(row.identity.trial)
            network = get_arm(arm)(problem, row.axes.width, seconds, rng, **_setting(row.axes))
            cost = replace(row.cost, rounding_seconds=time.perf_counter() - start)
            return keep_network(replace(row, cost=cost), network, problem, data, folder)
        if arm in WIDTHLESS:
            return _widthless(row, problem, seconds, data)
        return _reference(row, data)

    return _filled(row, run)


def run_reference(row: NetworkRow, data: ShardData) -> NetworkRow:
    """Run a reference, which takes all classes at once, and fill in its row, or make it failed."""
    return _filled(row, lambda: _reference(row, data))


def _filled(row: NetworkRow, run: Callable[[], NetworkRow]) -> NetworkRow:
    start = time.perf_counter()
    try:
        filled = run()
    except StoreError:
        raise
    except Exception as error:
        log.exception("arm %s of trial %s failed", row.axes.rounding, row.identity.trial)
        filled = replace(row, fit=failure(error))
    return filled.with_seconds(time.perf_counter() - start)


def _setting(axes: Axes) -> dict[str, Any]:
    """The orthogonality of an arm that takes one; nothing where none was asked for."""
    if axes.orthogonality is None:
        return {}
    from qnn.training.arms.orthonormal import Orthogonality

    kind, order, iterations, gain = (getattr(axes, name) for name in ORTHOGONALITY)
    return {"setting": Orthogonality(kind, order, iterations, gain=gain)}


def _ours(row: NetworkRow, ours: list[NetworkRow]) -> float:
    """The wall time that our slowest network of this seed and width took, relaxation included."""
    axes = row.axes
    same = [
        (one.cost.relaxation_seconds or 0.0) + (one.cost.rounding_seconds or 0.0)
        for one in ours
        if axes.width in (None, one.axes.width) and axes.seed == one.axes.seed
    ]
    return max(same)


def _widthless(row: NetworkRow, problem: Problem, seconds: float, data: ShardData) -> NetworkRow:
    network = get_arm(row.axes.rounding)(problem, seconds)
    fit = Fit(
        upper_bound=network.objective,
        loss_value=network.loss_value,
        neurons=network.neurons,
        bytes=network.size_in_bytes,
        status="ok",
    )
    return replace(row, fit=fit).measured(measured(network.decision_function, data))


def _reference(row: NetworkRow, data: ShardData) -> NetworkRow:
    from qnn.training.arms.references.cross_validation import size_in_bytes

    several = data.y.ndim == 2
    labels = data.preprocessing.target.chosen(data.y) if several else np.asarray(data.y)
    estimator = get_arm(row.axes.rounding)(data.X, labels, row.axes.seed, **_setting(row.axes))
    classes = np.array(data.preprocessing.classes or (), dtype=object)

    def predict(X: np.ndarray) -> np.ndarray:
        found = estimator.predict(X)
        return np.asarray(classes[found] if several else data.preprocessing.decode(found))

    fit = Fit(bytes=size_in_bytes(estimator), status="ok")
    found = measured(estimator.decision_function, data, predict)
    return replace(row, fit=fit).measured(found)
