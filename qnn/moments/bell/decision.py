"""Inside or outside a level of the NPA hierarchy, with a proof for each behaviour, or undecided.

A cascade: free entries from a predictor or from nothing, compiled completion steps until a side is
clear, and a solver for what is left. Nothing of that is trusted. What it proposes, a point for
"inside" and a matrix for "outside", is proven by `qnn.certificates.moments.proofs` for every
behaviour, or the verdict is "inconclusive".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from qnn.certificates.moments.checker import Inequality, inequality
from qnn.certificates.moments.proofs import prove_lower, prove_upper, shift
from qnn.certificates.moments.record import MomentCertificate
from qnn.certificates.moments.structure import structure
from qnn.errors import CertificateError, InputError
from qnn.moments.bell.behaviours import checked
from qnn.moments.bell.solver import GaugeSolver
from qnn.moments.bell.steps import Goal, Level, bracket
from qnn.moments.hierarchy import Entries, MomentMatrix, moment_matrix
from qnn.moments.words import Scenario

Array = np.ndarray
# From behaviours (N, p), relative to the centre, to free entries (N, f).
Predictor = Callable[[Array], Array]

VERDICTS = ("inside", "outside", "inconclusive")
STAGES = ("steps", "solver", "none")
FALLBACKS = ("clarabel", None)
# Steps after which a behaviour is left to the solver: near the boundary each halves the distance.
STEPS = 30
# Behaviours at once: their matrices stay in the cache.
_BLOCK = 1024


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


@dataclass(frozen=True, eq=False)
class Decision:
    """Verdicts about behaviours (N, p), and the means to prove each again.

    ``verdict`` (N,) of "inside", "outside", "inconclusive"; ``gauge_lower`` and ``gauge_upper``
    (N,) proven bounds of the gauge (0 and infinity where none is known), 1/gauge being the critical
    visibility; ``stage`` (N,) of "steps", "solver", "none"; ``steps`` (N,) the steps taken.
    """

    scenario: str
    level: str
    behaviours: Array
    verdict: Array
    gauge_lower: Array
    gauge_upper: Array
    stage: Array
    steps: Array
    cascade: Cascade

    def certificate(self, i: int) -> MomentCertificate:
        """The proof of verdict i, made anew; CertificateError where it is inconclusive."""
        if self.verdict[i] == "inconclusive":
            raise CertificateError(f"behaviour {i} is inconclusive: there is nothing to certify")
        row = self.behaviours[i : i + 1]
        found, _ = self.cascade.run(row)
        inside = bool(found.upper[0] <= 1.0)
        bound = found.upper[0] if inside else found.lower[0]
        return MomentCertificate(
            "inside" if inside else "outside",
            self.scenario,
            self.level,
            row[0].copy(),
            str(Fraction(float(bound))),
            moments=self.cascade.moments(found)[0] if inside else None,
            matrix=None if inside else found.Y[0],
        )

    def witness(self, i: int) -> Inequality:
        """The Bell inequality that behaviour i, outside, violates; exact."""
        return inequality(self.certificate(i))


class Cascade:
    """The stages for one level: a predictor, steps, a solver. Use `decide`."""

    def __init__(
        self,
        level: MomentMatrix,
        predictor: Predictor | None,
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
            self._bracket(b, found, Goal(0.0, 1e300, self.gap, self.steps))
            clear = (found.s <= 1.0 - self._margin) | (found.lower > 1.0 + self._margin)
            rows = np.flatnonzero(~clear)
        else:
            rows = np.arange(len(b))
        rest = self._blank(found.x[rows])
        margin = 2.0 * self._margin
        goal = Goal(1.0 - margin, 1.0 + margin * self.level.size, 0.0, self.steps)
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


def decide(
    behaviours: Array,
    scenario: str = "2222",
    level: str = "1+AB",
    fallback: str | None = "clarabel",
    model: str | Path | Predictor | None = None,
    steps: int = STEPS,
    gap: float | None = None,
) -> Decision:
    """Which behaviours are inside a level of the NPA hierarchy, each verdict with a proof.

    Parameters
    ----------
    behaviours : (N, p) coordinates, <A_x>, <B_y>, <A_x B_y> row by row for two outcomes (see
        `qnn.moments.bell.coordinates`), or tables p(ab|xy), (N, X, Y, A, B). Their floats are taken
        as exact.
    scenario : a digit for each party's inputs, then one for each party's outcomes.
    level : "1", "1+AB" (almost quantum), "2" or "3".
    fallback : "clarabel" solves what the steps leave open; None leaves it inconclusive.
    model : a predictor of the free moments, a trained network's file or a function; None starts
        from the moments of noise.
    steps : at most as many completion steps for a behaviour.
    gap : bound every gauge to this relative gap; None: as far as the verdict needs.

    Raises
    ------
    InputError : for what is not a behaviour of the scenario, or too large, or an unknown name.
    """
    parsed = Scenario.parse(scenario)
    b = checked(behaviours, parsed.name)
    _check(fallback, steps, gap)
    matrix = moment_matrix(parsed, level)
    cascade = Cascade(matrix, _predictor(model, matrix), int(steps), fallback, gap)
    verdict, stage = np.zeros(len(b), dtype=np.int64), np.zeros(len(b), dtype=np.int64)
    lower, upper = np.zeros(len(b)), np.zeros(len(b))
    taken = np.zeros(len(b), dtype=np.int64)
    for start in range(0, len(b), _BLOCK):
        part = slice(start, start + _BLOCK)
        found, stage[part] = cascade.run(b[part])
        lower[part], upper[part], taken[part] = found.lower, found.upper, found.steps
    verdict = np.where(upper <= 1.0, 0, np.where(lower > 1.0, 1, 2))
    if ((upper <= 1.0) & (lower > 1.0)).any():
        raise CertificateError("a behaviour was proven inside and outside: report this")
    return Decision(
        parsed.name, level, b, np.array(VERDICTS)[verdict], lower, upper,
        np.array(STAGES)[stage], taken, cascade,
    )  # fmt: skip


def _check(fallback: str | None, steps: int, gap: float | None) -> None:
    if fallback not in FALLBACKS:
        raise InputError(f"fallback {fallback!r} is neither 'clarabel' nor None")
    if not (isinstance(steps, int | np.integer) and steps >= 1):
        raise InputError(f"steps must be a whole number of at least 1 (got {steps!r})")
    if gap is not None and not 0.0 < gap < 1.0:
        raise InputError(f"gap must be between 0 and 1 (got {gap!r})")


def _predictor(model: str | Path | Predictor | None, level: MomentMatrix) -> Predictor | None:
    if model is None or callable(model):
        return model
    raise InputError(f"{model}: networks cannot be read")


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
