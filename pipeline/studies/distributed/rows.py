"""One row a β: the network, the bound, and what came and went for them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.results.schema import RowSchema


@dataclass(frozen=True)
class BlocksRow:
    """A network trained on all rows, with its certificate.

    `upper_bound` is its training objective, `lower_bound` what no network gets below, `relaxation`
    the convex problem's value. `passes` over the rows, `sent` and `received` bytes between the
    driver and its actors for this β.
    """

    trial: str
    path: str
    shard: str
    n: int
    d: int
    blocks: int
    actors: int
    loss: str
    beta: float | None = None
    beta_fraction: float | None = None
    lower_bound: float | None = None
    upper_bound: float | None = None
    relaxation: float | None = None
    gap: float | None = None
    relaxation_gap: float | None = None
    neurons: int | None = None
    bytes: int | None = None
    root: str | None = None
    solver: str | None = None
    passes: int | None = None
    sent: int | None = None
    received: int | None = None
    actor_seconds: float | None = None
    network: str | None = None
    certificate: str | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    versions: str = "{}"


#: two runs may differ in how many actors shared the blocks, and in what that cost
ROWS = RowSchema.of(
    BlocksRow, timings=("seconds", "actors", "sent", "received", "actor_seconds", "passes")
)
