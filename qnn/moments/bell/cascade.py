"""The stages of a verdict: a predictor, compiled steps, a solver, and the proof of what they say.

Nothing of the stages is trusted. What they propose, a point for "inside" and a matrix for
"outside", is proven by `qnn.certificates.moments.proofs` for each behaviour, or counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.moments.proofs import prove_lower, prove_upper, shift
from qnn.certificates.moments.structure import structure
from qnn.moments.bell.solver import GaugeSolver
from qnn.moments.bell.steps import Goal, Level, bracket
from qnn.moments.hierarchy import Entries, MomentMatrix

Array = np.ndarray
# From behaviours (N, p), relative to the centre, to free entries (N, f), likewise.
Foretell = Callable[[Array], Array]

STAGES = ("steps", "solver", "none")
# The first s tried where free moments are foretold, as most behaviours of interest are near 1.
_START = 1.03
# Behaviours at once, and entries of all their matrices, so that these take 32 MB at most.
_BLOCK, _ENTRIES = 1024, 4_000_000


def blocks(count: int, n: int) -> Iterator[slice]:
    """Rows in parts of a size that `Cascade.run` takes best, of matrices n x n."""
    size = max(1, min(_BLOCK, _ENTRIES // n**2))
    for start in range(0, count, size):
        yield slice(start, start + size)


@dataclass
class Proposal:
    """What a stage offers for behaviours (N, p) relative to the centre, and what is proven of it.

    s (N,) with x (N, f) from above, Y (N, n, n) from below; ``upper`` and ``lower`` (N,) the
    proven bounds of the gauge, infinite or 0 where nothing is proven.
    """

    s: Array
    x: Array
    Y: Array
    steps: Array
    upper: Array = field(default_factory=lambda: np.zeros(0))
    lower: Array = field(default_factory=lambda: np.zeros(0))


class Cascade:
    """The stages for one level: a predictor, steps, a solver. Use `decide`."""

    def __init__(
        self,
        level: MomentMatrix,
        predictor: Foretell | None,
        steps: int,
        fallback: str | None,
        gap: float | None,
    ) -> None:
        self.level, self.predictor, self.steps, self.gap = level, predictor, steps, gap
        self.solver = GaugeSolver(level) if fallback == "clarabel" else None
        self.structure = structure(level.scenario.name, level.level)
        spread = np.linalg.eigvalsh(level.centre)
        # What the proofs take off, with room to spare.
        self._margin = max(1e-12, 6.0 * shift(level.size) / spread[0])
        self._lift = 4.0 * shift(level.size) * spread[-1]
        self._arrays = Level(level.centre, level.plain, _arrays(level.fixed), _arrays(level.free))

    def run(self, behaviours: Array) -> tuple[Proposal, Array]:
        """Bounds for behaviours (N, p), and the stage of each, an index of `STAGES`, (N,)."""
        b = behaviours - self.level.behaviour
        x = np.zeros((len(b), self.level.free.count))
        if self.predictor is not None:
            x[:] = self.predictor(b)
        found = self._stepped(b, x)
        self._prove(behaviours, found)
        stage = np.where(_open(found), STAGES.index("none"), STAGES.index("steps"))
        if self.solver is not None and _open(found).any():
            rows = np.flatnonzero(_open(found))
            solved = self._solved(b[rows], self.solver)
            self._prove(behaviours[rows], solved)
            _improve(found, rows, solved)
            stage[rows[~_open(found)[rows]]] = STAGES.index("solver")
        return found, stage

    def moments(self, found: Proposal) -> Array:
        """The free moments (N, f) times s, as the proofs take them."""
        return found.x + found.s[:, None] * self.level.point

    def _stepped(self, b: Array, x: Array) -> Proposal:
        """Steps to the gap, if one is wanted, and then to a verdict where that leaves it open."""
        found = self._blank(x)
        if self.gap is not None:
            self._bracket(b, found, Goal(0.0, 1e300, self.gap, self.steps, 0.0))
            clear = (found.s <= 1.0 - self._margin) | (found.lower > 1.0 + self._margin)
            rows = np.flatnonzero(~clear)
        else:
            rows = np.arange(len(b))
        rest = self._blank(found.x[rows])
        margin = 2.0 * self._margin
        start = 0.0 if self.predictor is None else _START
        goal = Goal(1.0 - margin, 1.0 + margin * self.level.size, 0.0, self.steps, start)
        self._bracket(b[rows], rest, goal)
        for name in ("s", "x", "Y", "lower"):
            getattr(found, name)[rows] = getattr(rest, name)
        found.steps[rows] += rest.steps
        return found

    def _blank(self, x: Array) -> Proposal:
        count, n = len(x), self.level.size
        zero = np.zeros(count)
        return Proposal(
            zero.copy(), x, np.zeros((count, n, n)), np.zeros(count, dtype=np.int64),
            np.full(count, np.inf), zero.copy(),
        )  # fmt: skip

    def _bracket(self, b: Array, found: Proposal, goal: Goal) -> None:
        bracket(self._arrays, b, found.x, goal, found.s, found.lower, found.Y, found.steps)

    def _solved(self, b: Array, solver: GaugeSolver) -> Proposal:
        found = self._blank(np.zeros((len(b), self.level.free.count)))
        for i, row in enumerate(b):
            found.s[i], found.x[i], found.Y[i] = solver.solve(row)
            slack = found.s[i] * self.level.centre + self.level.assemble(row, found.x[i])
            if np.isfinite(slack).all():
                # The solver's point misses the cone by its tolerance: what s lacks is added.
                factor = np.linalg.cholesky(self.level.centre)
                half = np.linalg.solve(factor, slack)
                lowest = np.linalg.eigvalsh(np.linalg.solve(factor, half.T))[0]
                found.s[i] += max(-lowest, 0.0)
                found.Y[i] = self.level.repair(found.Y[i])
                found.lower[i] = 1.0
        return found

    def _prove(self, behaviours: Array, found: Proposal) -> None:
        """Turn a proposal's s, x and Y into what the proofs accept, and ask them."""
        found.s *= 1.0 + self._margin
        found.upper = np.full(len(behaviours), np.inf)
        proven = prove_upper(self.structure, behaviours, self.moments(found), found.s)
        found.upper[proven] = found.s[proven]
        rows = np.flatnonzero(found.lower > 0.0)
        Y = self.level.project(found.Y[rows])
        largest = np.abs(np.diagonal(Y, axis1=1, axis2=2)).max(axis=1, initial=0.0)
        Y += (self._lift * largest)[:, None, None] * self.level.inverse
        found.Y[rows] = Y
        found.lower[rows] = prove_lower(self.structure, behaviours[rows], Y)


def _arrays(entries: Entries) -> tuple[Array, Array, Array]:
    return entries.row, entries.column, entries.label


def _open(found: Proposal) -> Array:
    return (found.upper > 1.0) & (found.lower <= 1.0)


def _improve(found: Proposal, rows: Array, other: Proposal) -> None:
    """Take over what is better in another proposal, for some rows."""
    better = other.upper < found.upper[rows]
    for name in ("s", "x", "upper"):
        getattr(found, name)[rows[better]] = getattr(other, name)[better]
    better = other.lower > found.lower[rows]
    for name in ("Y", "lower"):
        getattr(found, name)[rows[better]] = getattr(other, name)[better]
