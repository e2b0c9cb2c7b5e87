"""What a row of the results says of a network, and how it is measured."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import numpy as np

from pipeline.datasets.shards import ShardData
from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from pipeline.plans.units import JoinSpec, Trial, Unit
from pipeline.results.folder import NETWORKS, RunFolder
from pipeline.results.objective import objective_and_loss
from qnn.losses import Loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.problem import Problem

PACKAGES = ("qnn-sdp", "numpy", "scipy", "numba", "cvxpy")


@cache
def package_versions() -> str:
    """Return the versions that a result may depend on, as JSON."""
    found = {"python": python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return json.dumps(found)


def planned(spec: Unit, written: float | None) -> dict[str, Any]:
    """The columns of a row that the plan tells, whatever becomes of its trial."""
    joined = isinstance(spec, JoinSpec)
    path = spec.first if isinstance(spec, JoinSpec) else spec
    return {
        "path": spec.id,
        "output": None if joined or path.outputs == 1 else path.output,
        "dataset": path.dataset,
        "shard": path.shard,
        "beta": written if path.beta_kind == "values" else None,
        "beta_fraction": written if path.beta_kind == "fractions" else None,
        **path.kind.resolved().columns,
        "second_layer": path.second_layer,
        "certify": path.certify,
        "solver": path.solver,
        "versions": package_versions(),
        "seconds": 0.0,
    }


def trial_columns(spec: Unit, trial: Trial) -> dict[str, Any]:
    """The columns of a trial's own axes."""
    return {
        "trial": spec.trial_id(trial),
        "rounding": trial.rounding,
        "width": trial.width,
        "seed": trial.seed,
        "baseline_seconds": trial.seconds,
    }


def lost_rows(spec: Unit, error: str) -> list[dict[str, Any]]:
    """Return failed rows for a path or a join that could not be finished at all."""
    return [
        {
            **planned(spec, trial.beta),
            **trial_columns(spec, trial),
            "status": "failed",
            "error": redact(error),
        }
        for trial in spec.trials()
    ]


def failure(error: Exception) -> dict[str, Any]:
    """The columns of a trial that failed."""
    return {"status": "failed", "error": redact(one_line(error))}


def trial_rng(trial: str) -> np.random.Generator:
    """The random stream of a trial, the same on every machine and in every order."""
    return np.random.default_rng(np.random.SeedSequence(int(trial, 16)))


def metrics(
    part: str,
    predicted: np.ndarray,
    target: np.ndarray,
    task: str,
    scale: float | Sequence[float] = 1.0,
) -> dict[str, Any]:
    """Accuracy, or RMSE and R², of predictions against targets, (n,) or (n, C) for C targets.

    The RMSE of one target is in its own units; that of several is over all their entries, each in
    units of its target's `scale` (C,), else the target of the largest numbers would be all that
    counts. R² of several is the mean of theirs; None where one of them is constant.
    """
    if len(target) == 0:
        return {}
    if task == "classification":
        return {f"{part}_accuracy": float(np.mean(predicted == target))}
    if target.ndim == 1:
        rmse, r2 = _errors(predicted, target)
        return {f"{part}_rmse": rmse, f"{part}_r2": r2}
    found = [_errors(*columns) for columns in zip(predicted.T, target.T, strict=True)]
    errors = np.array([rmse for rmse, _ in found]) / scale
    shares = [r2 for _, r2 in found if r2 is not None]
    return {
        f"{part}_rmse": math.sqrt(float(np.mean(errors**2))),
        f"{part}_r2": math.fsum(shares) / len(found) if len(shares) == len(found) else None,
    }


def _errors(predicted: np.ndarray, target: np.ndarray) -> tuple[float, float | None]:
    """RMSE and R² of predictions (n,) of one target; no R² where it is constant."""
    residual = float(np.sum((predicted - target) ** 2))
    spread = float(np.sum((target - np.mean(target)) ** 2))
    # Of equal numbers the mean may be off by a rounding error, and the spread not be 0.
    known = np.ptp(target) > 0
    return math.sqrt(residual / len(target)), 1.0 - residual / spread if known else None


def keep_network(
    row: dict[str, Any],
    network: QuantizedNetwork,
    problem: Problem,
    data: ShardData,
    folder: RunFolder,
) -> None:
    """Measure a network, write its file, and fill in its row; `row` has trial and lower bound."""
    beta, loss = problem.beta, problem.loss
    objective = problem.objective(network)
    penalty = problem.budget * float(np.abs(network.alpha).sum())
    _keep(row, network, beta, loss, (objective, objective - penalty), data, folder)


def keep_joined(
    row: dict[str, Any],
    network: QuantizedNetwork,
    beta: float,
    loss: Loss,
    data: ShardData,
    folder: RunFolder,
) -> None:
    """As `keep_network`, for a network of all the shard's outputs: `data.y` is (n, C)."""
    found = objective_and_loss(network, data.X, data.y, beta, loss)
    _keep(row, network, beta, loss, found, data, folder)


def _keep(
    row: dict[str, Any],
    network: QuantizedNetwork,
    beta: float,
    loss: Loss,
    found: tuple[float, float],
    data: ShardData,
    folder: RunFolder,
) -> None:
    network = replace(
        network,
        preprocessing=data.preprocessing,
        beta=beta,
        loss=loss.name,
        loss_parameter=loss.parameter,
    )
    row["upper_bound"], row["loss_value"] = found
    row["gap"] = relative_gap(row["upper_bound"], row["lower_bound"])
    row["neurons"] = network.neurons
    row["bytes"] = network.size_in_bytes
    for part, X, target in data.parts():
        predicted = data.preprocessing.decode(network.decision_function(X))
        scale = data.preprocessing.target.scale
        row.update(metrics(part, predicted, target, data.task, scale))
    row["network"] = f"{NETWORKS}/{row['trial']}.npz"
    folder.write(row["network"], network.to_bytes())
    row["status"] = "ok"
