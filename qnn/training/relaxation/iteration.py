"""The one loop of the iterative solvers: step, check, prepare, until a verdict or a limit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from qnn.training.relaxation.result import Outcome


class Method(ABC):
    """What a solver does in an iteration; its best points and their certificates are its own."""

    @abstractmethod
    def step(self, left: int) -> int:
        """Advance by at least one and at most ``left`` iterations; returns by how many."""

    @abstractmethod
    def check(self, iteration: int) -> Literal["solved", "stalled"] | None:
        """Why the solve may end after this many iterations; None to go on."""

    def prepare(self, iteration: int) -> None:
        """What the next step needs that the last one does not, such as another penalty."""
        return None


def iterate(method: Method, limit: int, expired: Callable[[], bool]) -> tuple[Outcome, int]:
    """Iterate until a verdict of the method, the time limit, or ``limit`` iterations.

    Returns why it ended, and after how many iterations. There is at least one, however late it is.
    """
    done = 0
    while done < limit:
        done += method.step(limit - done)
        verdict = method.check(done)
        if verdict is not None:
            return verdict, done
        if expired():
            return "time_limit", done
        method.prepare(done)
    return "iteration_limit", done
