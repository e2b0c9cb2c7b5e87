"""The steps of training: what a path and a join tell while they work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.plans.study import Step


@dataclass(frozen=True)
class ProblemDone(Step):
    """One β of a path is finished.

    `best_gap` is None for one output of several: that of whole networks is told by their join.
    """

    beta: float | None
    beta_fraction: float | None
    lower_bound: float | None
    relaxation_gap: float | None
    solver: str
    relaxation_seconds: float

    what: ClassVar[str] = "problem done"

    @property
    def told(self) -> dict[str, Any]:
        """β."""
        return {"beta": self.beta}

    @property
    def solved(self) -> tuple[str, float]:
        """The relaxation's solver and how long it took."""
        return self.solver, self.relaxation_seconds


@dataclass(frozen=True)
class BetaJoined(Step):
    """The networks of all outputs at one β of a shard are put together."""

    beta: float | None

    what: ClassVar[str] = "beta joined"
    # Their parts are counted already.
    counted: ClassVar[bool] = False

    @property
    def told(self) -> dict[str, Any]:
        """β."""
        return {"beta": self.beta}
