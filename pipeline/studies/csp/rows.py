"""One row a solve: what is proven, what is reached, and what the theory says of both."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.results.schema import YOUNG, RowSchema, columns_serving, told


@dataclass(frozen=True)
class SolveRow:
    """An instance bounded by so many rounds of conditioning; None: by the exact tree.

    `upper_bound` is proven by `certificate`, of so many `bytes`, of the problem in `problem`,
    whose digest is `content`; `value` is that of `assignment`. `seeds` are the variables
    conditioned on. The other names are those of `qnn.moments.csp.Solution`.
    """

    trial: str
    path: str
    shard: str
    n: int
    k: int
    pairs: int
    content: str
    rounds: int | None
    rule: str
    cut_family: str
    seed: int
    time_limit: float | None
    upper_bound: float | None = None
    value: float | None = None
    gap: float | None = None
    optimal: bool | None = None
    assignment: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    nodes: int | None = None
    leaves: int | None = None
    cuts: int | None = None
    expected: float | None = None
    derandomized: float | None = None
    propagated: float | None = None
    threshold_rank: int | None = None
    guarantee: float | None = None
    local_correlation: float | None = None
    global_correlation: float | None = None
    problem: str | None = None
    certificate: str | None = None
    status: str = "ok"
    error: str | None = None
    seconds: float = 0.0
    versions: str = "{}"
    bytes: int | None = told(YOUNG)


ROWS = RowSchema.of(SolveRow, later=tuple(columns_serving(SolveRow, YOUNG)))
