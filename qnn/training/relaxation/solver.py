"""What every solver of the relaxation is: one signature, what it supports, what memory it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qnn.errors import InputError
from qnn.numerics.memory import available_memory
from qnn.training.relaxation.costs import Memory, Work

if TYPE_CHECKING:
    # Plans of sweeps need the solvers' names and costs, and not the seconds that scipy takes.
    from qnn.losses import Loss
    from qnn.networks.activations import Activation
    from qnn.training.problems.problem import Problem
    from qnn.training.relaxation.result import Relaxation


@dataclass(frozen=True)
class Progress:
    """What a callback sees: the best bounds so far, ``lower`` verified, in the problem's units."""

    iteration: int
    seconds: float
    upper_bound: float
    lower_bound: float
    gap: float


Callback = Callable[[Progress], None]


class SolveFunction(Protocol):
    """The signature that all solvers share; see `qnn.solve` for the arguments."""

    def __call__(
        self,
        problem: Problem,
        tol: float = 1e-4,
        time_limit: float | None = None,
        max_iterations: int | None = None,
        warm_start: Relaxation | None = None,
        callback: Callback | None = None,
    ) -> Relaxation:
        """Solve the relaxation to a verified relative gap of tol."""
        ...


class Question(Protocol):
    """What a solver has to know of a problem to say whether it takes it: a `Problem` has it too."""

    @property
    def loss(self) -> Loss:
        """The loss."""
        ...

    @property
    def activation(self) -> Activation:
        """The activation."""
        ...


@dataclass(frozen=True)
class Solver:
    """An entry of the registry.

    ``supports(problem)`` is None, or one line that says why not and what to choose instead;
    ``memory_estimate(n, D)`` is the peak in bytes above the import baseline, D the lift's size;
    ``work(n, D, tol)`` an estimate of the operations to a gap of tol.

    What "auto" does with it: it chooses from the ``preferred`` ones that support the problem and
    fit into memory the one of the least work, and the next one where that got stuck; then those
    whose work is at most ``last_resort_to`` operations. ``turn``: iterations after which one that
    has a successor is given up, where none are asked for; an ordinary solve takes some 30.
    """

    name: str
    solve: SolveFunction
    supports: Callable[[Question], str | None]
    memory_estimate: Memory
    summary: str
    work: Work
    preferred: bool = False
    last_resort_to: float = 0.0
    turn: int | None = None


def require_memory(solver: Solver, n: int, size: int, limit: float | None = None) -> None:
    """Raise InputError where the solver's estimate exceeds the limit (bytes; None: what is free).

    It is called before anything is allocated.
    """
    available = available_memory() if limit is None else limit
    needed = solver.memory_estimate(n, size)
    if needed > available:
        raise InputError(
            f"solver {solver.name!r} would need about {needed / 2**30:.1f} GiB for {n} rows and a "
            f"{size} x {size} lift, but {available / 2**30:.1f} GiB are free: choose another "
            "solver, fewer features or fewer rows"
        )
