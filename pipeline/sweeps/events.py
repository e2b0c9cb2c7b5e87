"""What workers tell the driver while they work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProblemDone:
    """One β of a path is finished: what the driver shows of it while the path goes on.

    `best_gap` is None for one output of several: that of whole networks is told by their join.
    """

    path: str
    shard: str
    beta: float | None
    beta_fraction: float | None
    trials: int
    failed: int
    best_gap: float | None
    lower_bound: float | None
    relaxation_gap: float | None
    solver: str
    relaxation_seconds: float
    seconds: float
    error: str | None


@dataclass(frozen=True)
class BetaJoined:
    """The networks of all outputs at one β of a shard are put together."""

    path: str
    shard: str
    beta: float | None
    trials: int
    failed: int
    best_gap: float | None
    seconds: float
    error: str | None


@dataclass(frozen=True)
class PathDone:
    """The results file of a path or a join is written: nothing of it will be done again."""

    path: str
    trials: int
    failed: int


@dataclass(frozen=True)
class PathLost:
    """A path or a join got no results file; `storage` says that the run's folder was the reason."""

    path: str
    error: str
    storage: bool = False


Event = ProblemDone | BetaJoined | PathDone | PathLost
