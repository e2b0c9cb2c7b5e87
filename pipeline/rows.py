"""What a row of the results says of a network, and how it is measured."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.shards import ShardData
from pipeline.store import NETWORKS, RunFolder, one_line
from qnn.network import QuantizedNetwork
from qnn.problem import Problem
from qnn.solvers.result import relative_gap


def failure(error: Exception) -> dict[str, Any]:
    """The columns of a trial that failed."""
    return {"status": "failed", "error": one_line(error)}


def trial_rng(trial: str) -> np.random.Generator:
    """The random stream of a trial, the same on every machine and in every order."""
    return np.random.default_rng(np.random.SeedSequence(int(trial, 16)))


def metrics(part: str, predicted: np.ndarray, target: np.ndarray, task: str) -> dict[str, Any]:
    """Accuracy, or RMSE and R², of predictions (n,) against targets in their own units."""
    if len(target) == 0:
        return {}
    if task == "classification":
        return {f"{part}_accuracy": float(np.mean(predicted == target))}
    residual = float(np.sum((predicted - target) ** 2))
    spread = float(np.sum((target - np.mean(target)) ** 2))
    return {
        f"{part}_rmse": math.sqrt(residual / len(target)),
        f"{part}_r2": 1.0 - residual / spread if spread > 0 else None,
    }


def keep_network(
    row: dict[str, Any],
    network: QuantizedNetwork,
    problem: Problem,
    data: ShardData,
    folder: RunFolder,
) -> None:
    """Measure a network, write its file, and fill in its row; `row` has trial and lower bound."""
    network = replace(
        network,
        preprocessing=data.preprocessing,
        beta=problem.beta,
        loss=problem.loss.name,
        loss_parameter=problem.loss.parameter,
    )
    objective = problem.objective(network)
    row["upper_bound"] = objective
    row["gap"] = relative_gap(objective, row["lower_bound"])
    row["loss_value"] = objective - problem.budget * float(np.abs(network.alpha).sum())
    row["neurons"] = network.neurons
    row["bytes"] = network.size_in_bytes
    for part, X, target in data.parts():
        predicted = data.preprocessing.decode(network.decision_function(X))
        row.update(metrics(part, predicted, target, data.task))
    row["network"] = f"{NETWORKS}/{row['trial']}.npz"
    folder.write(row["network"], network.to_bytes())
    row["status"] = "ok"
