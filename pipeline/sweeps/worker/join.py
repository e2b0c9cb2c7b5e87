"""Putting the networks of a shard's outputs together, where a target has several.

With the penalty `β d Σ_j ‖α_j‖₁` the problem separates: the objective of the joined network is the
sum of its outputs' objectives, and the sum of their lower bounds is a lower bound of its own. So a
joined row needs no solver: it reads what the paths of its shard have written.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from threadpoolctl import ThreadpoolController

from pipeline.datasets.shards import ShardData
from pipeline.plans.units import JoinSpec
from pipeline.results.folder import RESULTS, RunFolder, StoreError
from pipeline.results.ledger import LOST_SUFFIX, read_unit, results_file, write_results
from pipeline.results.record import Axes, Bounds, Cost, NetworkRow, rows_of
from pipeline.sweeps.worker.arms import run_reference, without_problem
from pipeline.sweeps.worker.rows import failure, keep_joined, row_of
from pipeline.sweeps.worker.steps import BetaJoined
from qnn.errors import InputError
from qnn.features.class_weights import row_weights
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.stacks import stack
from qnn.numerics.gaps import sum_down

log = logging.getLogger(__name__)

# From the strongest to the weakest: a sum of bounds is proven as its weakest part is.
PROOFS = ("exact", "tightened", "relaxation")


def run_join(spec: JoinSpec, data: ShardData, folder: RunFolder) -> Iterator[BetaJoined]:
    """Join all trials of a shard and write their rows; `data.y` is (n, C).

    Yields after each β. The results file is written last and commits the join. A trial whose part
    failed in some output is a failed row that says which. Raises `InputError` where an output has
    no results at all, and `StoreError` where the folder cannot be written: neither is done then.
    """
    parts = [_rows_of_output(spec, output, folder) for output in range(len(spec.paths))]
    threads = ThreadpoolController()
    rows: list[NetworkRow] = []
    for here in map(spec.first.axes, spec.betas):
        start = time.perf_counter()
        with threads.limit(limits=1):
            made = [_joined(spec, trial, parts, data, folder) for trial in spec.joined_trials(here)]
            made += [_reference(spec, trial, data) for trial in spec.reference_trials(here)]
        rows += made
        yield _told(spec, made, time.perf_counter() - start)
    write_results(folder, spec.id, rows)


def _rows_of_output(spec: JoinSpec, output: int, folder: RunFolder) -> dict[str, NetworkRow]:
    """The rows of one output by trial."""
    path = spec.paths[output].id
    try:
        table = read_unit(folder, results_file(path))
    except FileNotFoundError:
        raise InputError(
            f"output {output} ({spec.labels[output]}) has no results: {_why(folder, path)}"
        ) from None
    return {row.identity.trial: row for row in rows_of(table)}


def _why(folder: RunFolder, path: str) -> str:
    try:
        return str(read_unit(folder, f"{RESULTS}/{path}{LOST_SUFFIX}")["error"][0].as_py())
    except FileNotFoundError:
        return f"path {path} was not finished"


def _joined(
    spec: JoinSpec,
    trial: Axes,
    outputs: list[dict[str, NetworkRow]],
    data: ShardData,
    folder: RunFolder,
) -> NetworkRow:
    start = time.perf_counter()
    parts = [rows[path.trial_id(trial)] for path, rows in zip(spec.paths, outputs, strict=True)]
    row = _beside(row_of(spec, trial), parts[0], len(data.X))
    try:
        _refuse_failed(spec, parts)
        summed = replace(row, bounds=_bounds(parts), cost=_cost(parts))
        network = stack([_network(part, folder) for part in parts])
        weights = row_weights(spec.first.class_weight, data.y)
        loss = spec.first.kind.get_loss().weighted(weights)
        beta = row.axes.beta
        assert beta is not None, "a part that is no failure has its beta"
        row = keep_joined(summed, network, beta, loss, data, folder)
    except StoreError:
        raise
    except Exception as error:
        log.warning("joined trial %s failed: %s", row.identity.trial, error)
        row = replace(row, fit=failure(error))
    spent = math.fsum(part.cost.seconds for part in parts)
    return row.with_seconds(spent + time.perf_counter() - start)


def _beside(row: NetworkRow, part: NetworkRow, n: int) -> NetworkRow:
    """The row with its n rows, and with what all outputs share, as one of them has it."""
    shared = part.identity
    identity = replace(
        row.identity,
        n=n,
        d=shared.d,
        preprocessing_bytes=shared.preprocessing_bytes,
    )
    return replace(row, identity=identity, axes=part.axes)


def _refuse_failed(spec: JoinSpec, parts: Sequence[NetworkRow]) -> None:
    for label, part in zip(spec.labels, parts, strict=True):
        if not part.fit.ok:
            raise InputError(f"output {part.identity.output} ({label}) failed: {part.fit.error}")


def _bounds(parts: Sequence[NetworkRow]) -> Bounds:
    every = [part.bounds for part in parts]
    proofs = [bounds.proof for bounds in every if bounds.proof is not None]
    lower = [bounds.lower_bound for bounds in every if bounds.lower_bound is not None]
    return Bounds(
        certificates=tuple(file for bounds in every for file in bounds.files),
        lower_bound=sum_down(lower),
        relaxation_value=_sum(bounds.relaxation_value for bounds in every),
        proof=max(proofs, key=PROOFS.index),
    )


def _cost(parts: Sequence[NetworkRow]) -> Cost:
    every = [part.cost for part in parts]
    return Cost(
        relaxation_seconds=_sum(cost.relaxation_seconds for cost in every),
        rounding_seconds=_sum(cost.rounding_seconds for cost in every),
        certify_seconds=_sum(cost.certify_seconds for cost in every),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _network(part: NetworkRow, folder: RunFolder) -> QuantizedNetwork:
    file = part.fit.network
    assert file is not None, "a part that is no failure has a network"
    # Its coding of one class against the rest is not that of the whole.
    return replace(QuantizedNetwork.from_bytes(folder.read(file), file), preprocessing=None)


def _reference(spec: JoinSpec, trial: Axes, data: ShardData) -> NetworkRow:
    row = without_problem(row_of(spec, trial))
    n, d = data.X.shape
    size = data.preprocessing.size_in_bytes
    identity = replace(row.identity, n=n, d=d, preprocessing_bytes=size)
    return run_reference(replace(row, identity=identity), data)


def _told(spec: JoinSpec, rows: list[NetworkRow], seconds: float) -> BetaJoined:
    ours = [row.fit for row in rows if row.axes.rounding in spec.first.roundings]
    gaps = [fit.gap for fit in ours if fit.ok and fit.gap is not None]
    errors = [row.fit.error for row in rows if not row.fit.ok]
    return BetaJoined(
        unit=spec.id,
        shard=spec.shard,
        beta=rows[0].axes.beta,
        trials=len(rows),
        failed=len(errors),
        best_gap=min(gaps, default=None),
        seconds=seconds,
        error=errors[0] if errors else None,
    )
