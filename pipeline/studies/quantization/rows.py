"""One row a layer of a quantized network."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.results.schema import RowSchema

EVIDENCE_FOLDER = "evidence"


@dataclass(frozen=True)
class LayerRow:
    """A layer, its proofs, and the figures of the network that it is part of.

    `error_share`, `bound_share`: of the layer's damped objective, relative; `value`, `proven`: the
    same, absolute, summed over the layer's certificates. `bytes` of its codes, `file_bytes` of the
    network's file (`network`, with its digest). `divergence`, `agreement` (share of rows with the
    float network's class) and `accuracy` are of the rows held out; the latter two None where there
    are no classes or no labels. `calibration_divergence` is of the rows that the calibration saw.
    `seconds` are of the clock, `cpu_seconds` of the processor, both of the whole network.
    """

    trial: str
    path: str
    shard: str
    model: str
    method: str
    budget: float
    seed: int
    layer: str
    place: int
    inputs: int | None = None
    neurons: int | None = None
    rows: int | None = None
    mean_bits: float | None = None
    bytes: int | None = None
    damp: float | None = None
    error_share: float | None = None
    bound_share: float | None = None
    value: float | None = None
    proven: float | None = None
    optimal: int | None = None
    optimal_at_scale: int | None = None
    bounded: int | None = None
    file_bytes: int | None = None
    float_bytes: int | None = None
    divergence: float | None = None
    calibration_divergence: float | None = None
    agreement: float | None = None
    accuracy: float | None = None
    float_accuracy: float | None = None
    bits_gap: float | None = None
    bits_lagrangian_gap: float | None = None
    network: str | None = None
    digest: str | None = None
    certificates: tuple[str, ...] | None = None
    evidence: tuple[str, ...] | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    cpu_seconds: float | None = None
    versions: str = "{}"


ROWS = RowSchema.of(
    LayerRow, later=("calibration_divergence", "cpu_seconds"), timings=("seconds", "cpu_seconds")
)
