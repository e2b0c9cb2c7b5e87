"""What a row of the results says of a network, and how it is measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

import numpy as np

from pipeline.datasets.shards import ShardData
from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from pipeline.plans.units import Spec
from pipeline.results.folder import NETWORKS, RunFolder
from pipeline.results.metrics import Scored, metrics
from pipeline.results.objective import objective_and_loss
from pipeline.results.record import Axes, Fit, Identity, NetworkRow
from qnn.losses import Loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.problem import Problem
from qnn.training.sigmoid import Sigmoids

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


def row_of(spec: Spec, axes: Axes) -> NetworkRow:
    """What the plan knows of the row of one trial, whatever becomes of it."""
    path = spec.first
    identity = Identity(
        trial=spec.trial_id(axes),
        path=spec.id,
        dataset=path.dataset,
        shard=path.shard,
        output=spec.own_output,
        versions=package_versions(),
    )
    return NetworkRow(identity, axes)


def lost_rows(spec: Spec, error: str) -> list[NetworkRow]:
    """Return failed rows for a path or a join that could not be finished at all."""
    fit = Fit(error=redact(error))
    return [replace(row_of(spec, axes), fit=fit) for axes in spec.trials()]


def failure(error: Exception) -> Fit:
    """What became of a trial that failed."""
    return Fit(error=redact(one_line(error)))


def trial_rng(trial: str) -> np.random.Generator:
    """The random stream of a trial, the same on every machine and in every order."""
    return np.random.default_rng(np.random.SeedSequence(int(trial, 16)))


def keep_network(
    row: NetworkRow,
    network: QuantizedNetwork,
    problem: Problem,
    data: ShardData,
    folder: RunFolder,
) -> NetworkRow:
    """Measure a network and write its file; the row with its figures. Raises `StoreError`."""
    beta, loss = problem.beta, problem.loss
    objective = problem.objective(network)
    penalty = problem.budget * float(np.abs(network.alpha).sum())
    return _kept(row, network, beta, loss, (objective, objective - penalty), data, folder)


def keep_joined(
    row: NetworkRow,
    network: QuantizedNetwork,
    beta: float,
    loss: Loss,
    data: ShardData,
    folder: RunFolder,
) -> NetworkRow:
    """As `keep_network`, for a network of all the shard's outputs: `data.y` is (n, C)."""
    found = objective_and_loss(network, data.X, data.y, beta, loss)
    # What stands in the row so far is that of one output, whose targets have other numbers.
    size = data.preprocessing.size_in_bytes
    row = replace(row, identity=replace(row.identity, preprocessing_bytes=size))
    return _kept(row, network, beta, loss, found, data, folder)


def _kept(
    row: NetworkRow,
    network: QuantizedNetwork,
    beta: float,
    loss: Loss,
    found: tuple[float, float],
    data: ShardData,
    folder: RunFolder,
) -> NetworkRow:
    network = replace(
        network,
        preprocessing=data.preprocessing,
        beta=beta,
        loss=loss.name,
        loss_parameter=loss.parameter,
    )
    (objective, loss_value), bound = found, row.bounds.lower_bound
    assert bound is not None, "a network is kept beside the bound of its problem"
    file = f"{NETWORKS}/{row.identity.trial}.npz"
    fit = Fit(
        network=file,
        upper_bound=objective,
        gap=relative_gap(objective, bound),
        loss_value=loss_value,
        neurons=network.neurons,
        bytes=network.size_in_bytes,
        status="ok",
    )
    folder.write(file, network.to_bytes())
    return replace(row, fit=fit).measured(measured(network.decision_function, data))


def measured(
    decide: Callable[[np.ndarray], np.ndarray],
    data: ShardData,
    predict: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, Any]:
    """The metrics of all parts, by column, of what gives scores (n,) or (n, C) for rows (n, d).

    `predict`: what gives labels, None where the scores, those of a network's outputs, do.
    """
    coding, known = data.preprocessing.target, data.known
    matrices = {part: X for part, X, target in data.parts() if len(target)}
    scores = {part: decide(X) for part, X in matrices.items()}
    found: dict[str, Any] = {}
    if coding.classes is None:
        for part, X in matrices.items():
            numbers = coding.decode(scores[part]) if predict is None else predict(X)
            found |= metrics(part, numbers, known[part], scale=coding.scale)
        return found
    size = len(coding.classes)
    own = scores if predict is not None else {k: coding.class_scores(v) for k, v in scores.items()}
    calibration = Sigmoids.fit(own["train"], known["train"], size)
    for part, X in matrices.items():
        said = coding.chosen(scores[part]) if predict is None else coding.codes(predict(X))
        found |= metrics(part, said, known[part], Scored(size, own[part], calibration))
    return found
