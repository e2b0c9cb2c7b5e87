"""What workers tell the driver: that they begin, the steps of units, what became of each unit."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.plans.study import Step


@dataclass(frozen=True)
class TaskBegun:
    """A worker has begun a task, with this unit first."""

    unit: str


@dataclass(frozen=True)
class UnitDone:
    """The results file of a unit is written: nothing of it will be done again."""

    unit: str
    trials: int
    failed: int


@dataclass(frozen=True)
class UnitLost:
    """A unit got no results file; `storage` says that the run's folder was the reason."""

    unit: str
    error: str
    storage: bool = False


Event = TaskBegun | Step | UnitDone | UnitLost
