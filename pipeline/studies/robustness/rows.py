"""One row of the results: one row of the data at one radius, for one network."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.results.schema import RowSchema


@dataclass(frozen=True)
class RobustRow:
    """A row decided.

    `proven`: the certified lower bound of its worst margin; `attack`: that of the worst row found.
    `example` and `witness` are JSON: the numbers, then the categories; `radii` JSON: how far each
    number may move, in raw units; `limits` JSON: lowest and highest value.
    `nodes` are of the search, `cpu_seconds` of processor time.
    `shape`, where radii are by column or the largest is asked for: JSON, of each number the radius
    that `radius` is a factor of (unit "range": raw). `largest`: `radius` is the largest one proven,
    0 where none is; `attacked_radius` the smallest one with a witness, null where none was found.
    `flips`: JSON, the categorical columns that may change. `beta` to `alphabet`: of a network that
    is one of a sweep's settings, what it was trained with.
    """

    trial: str
    path: str
    shard: str
    network: str
    norm: str
    radius: float
    unit: str
    effort: str
    limits: str | None
    row: int
    label: str
    labelled: bool
    predicted: str | None = None
    correct: bool | None = None
    verdict: str | None = None
    proven: float | None = None
    attack: float | None = None
    nodes: int | None = None
    cpu_seconds: float | None = None
    example: str | None = None
    radii: str | None = None
    witness: str | None = None
    certificate: str | None = None
    network_file: str | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    versions: str = "{}"
    shape: str | None = None
    flips: str | None = None
    largest: bool | None = None
    attacked_radius: float | None = None
    beta: float | None = None
    beta_fraction: float | None = None
    width: int | None = None
    alphabet: str | None = None


LATER = (
    "shape", "flips", "largest", "attacked_radius", "beta", "beta_fraction", "width", "alphabet",
)  # fmt: skip
ROWS = RowSchema.of(RobustRow, LATER, timings=("seconds", "cpu_seconds"))
