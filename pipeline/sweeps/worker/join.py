"""Putting the networks of a shard's outputs together, where a target has several.

With the penalty `β d Σ_j ‖α_j‖₁` the problem separates: the objective of the joined network is the
sum of its outputs' objectives, and the sum of their lower bounds is a lower bound of its own. So a
joined row needs no solver: it reads what the paths of its shard have written.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from threadpoolctl import ThreadpoolController

from pipeline.datasets.shards import ShardData
from pipeline.plans.units import JoinSpec, Trial
from pipeline.results.folder import RESULTS, RunFolder, StoreError
from pipeline.results.ledger import LOST_SUFFIX, read_path, results_file, write_results
from pipeline.sweeps.events import BetaJoined
from pipeline.sweeps.worker.arms import BOUNDS, OF_PROBLEM, run_reference
from pipeline.sweeps.worker.rows import failure, keep_joined, planned, trial_columns
from qnn.errors import InputError
from qnn.losses import get_loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.stacks import stack
from qnn.numerics.gaps import sum_down

log = logging.getLogger(__name__)

Row = dict[str, Any]
# From the strongest to the weakest: a sum of bounds is proven as its weakest part is.
PROOFS = ("exact", "tightened", "relaxation")
_SHARED = ("n", "d", "beta", "beta_fraction", "beta_max", "preprocessing_bytes")
_SUMS = ("relaxation_value", "relaxation_seconds", "rounding_seconds", "certify_seconds")


def run_join(spec: JoinSpec, data: ShardData, folder: RunFolder) -> Iterator[BetaJoined]:
    """Join all trials of a shard and write their rows; `data.y` is (n, C).

    Yields after each β. The results file is written last and commits the join. A trial whose part
    failed in some output is a failed row that says which. Raises `InputError` where an output has
    no results at all, and `StoreError` where the folder cannot be written: neither is done then.
    """
    parts = [_rows_of_output(spec, output, folder) for output in range(len(spec.paths))]
    threads = ThreadpoolController()
    rows: list[Row] = []
    for beta in spec.betas:
        start = time.perf_counter()
        with threads.limit(limits=1):
            made = [_joined(spec, trial, parts, data, folder) for trial in spec.joined_trials(beta)]
            made += [_reference(spec, trial, data) for trial in spec.reference_trials(beta)]
        rows += made
        yield _told(spec, beta, made, time.perf_counter() - start)
    write_results(folder, spec.id, rows)


def _rows_of_output(spec: JoinSpec, output: int, folder: RunFolder) -> dict[str, Row]:
    """The rows of one output by trial."""
    path = spec.paths[output].id
    try:
        table = read_path(folder, results_file(path))
    except FileNotFoundError:
        raise InputError(
            f"output {output} ({spec.labels[output]}) has no results: {_why(folder, path)}"
        ) from None
    return {row["trial"]: row for row in table.to_pylist()}


def _why(folder: RunFolder, path: str) -> str:
    try:
        return str(read_path(folder, f"{RESULTS}/{path}{LOST_SUFFIX}")["error"][0].as_py())
    except FileNotFoundError:
        return f"path {path} was not finished"


def _joined(
    spec: JoinSpec, trial: Trial, outputs: list[dict[str, Row]], data: ShardData, folder: RunFolder
) -> Row:
    start = time.perf_counter()
    parts = [rows[path.trial_id(trial)] for path, rows in zip(spec.paths, outputs, strict=True)]
    row = {
        **planned(spec, trial.beta),
        **{name: parts[0][name] for name in (*_SHARED, "solver", "second_layer")},
        **trial_columns(spec, trial),
    }
    try:
        filled = dict(row)
        _refuse_failed(spec, parts)
        _sum_up(filled, parts)
        network = stack([_network(part, folder) for part in parts])
        loss = get_loss(spec.first.loss, spec.first.loss_parameter)
        keep_joined(filled, network, filled["beta"], loss, data, folder)
        row = filled
    except StoreError:
        raise
    except Exception as error:
        log.warning("joined trial %s failed: %s", row["trial"], error)
        row |= failure(error)
    row["seconds"] = math.fsum(part["seconds"] for part in parts) + time.perf_counter() - start
    return row


def _refuse_failed(spec: JoinSpec, parts: Sequence[Row]) -> None:
    for label, part in zip(spec.labels, parts, strict=True):
        if part["status"] != "ok":
            raise InputError(f"output {part['output']} ({label}) failed: {part['error']}")


def _sum_up(row: Row, parts: Sequence[Row]) -> None:
    row["lower_bound"] = sum_down([part["lower_bound"] for part in parts])
    row["certificates"] = [part["certificate"] for part in parts]
    row["proof"] = max((part["proof"] for part in parts), key=PROOFS.index)
    for name in _SUMS:
        known = [part[name] for part in parts if part[name] is not None]
        row[name] = math.fsum(known) if known else None


def _network(part: Row, folder: RunFolder) -> QuantizedNetwork:
    file = part["network"]
    # Its coding of one class against the rest is not that of the whole.
    return replace(QuantizedNetwork.from_bytes(folder.read(file), file), preprocessing=None)


def _reference(spec: JoinSpec, trial: Trial, data: ShardData) -> Row:
    base = {**planned(spec, trial.beta), **trial_columns(spec, trial)}
    row = {**base, **dict.fromkeys((*BOUNDS, *OF_PROBLEM, "solver", "second_layer"))}
    row |= {"n": data.X.shape[0], "d": data.X.shape[1]}
    row["preprocessing_bytes"] = data.preprocessing.size_in_bytes
    return run_reference(row, data)


def _told(spec: JoinSpec, beta: float, rows: list[Row], seconds: float) -> BetaJoined:
    ours = [row for row in rows if row["rounding"] in spec.first.roundings]
    gaps = [row["gap"] for row in ours if row["status"] == "ok"]
    errors = [row["error"] for row in rows if row["status"] != "ok"]
    return BetaJoined(
        path=spec.id,
        shard=spec.shard,
        beta=rows[0]["beta"],
        trials=len(rows),
        failed=len(errors),
        best_gap=min(gaps, default=None),
        seconds=seconds,
        error=errors[0] if errors else None,
    )
