"""Inside or outside a level of the NPA hierarchy, with a proof for each behaviour, or undecided."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from qnn.certificates.moments.checker import Inequality, MomentCertificate, inequality
from qnn.errors import CertificateError, InputError, shown
from qnn.moments.bell.behaviours import checked
from qnn.moments.bell.cascade import STAGES, Cascade, Foretell, blocks
from qnn.moments.bell.predictor import Predictor, shipped
from qnn.moments.hierarchy import MomentMatrix, moment_matrix
from qnn.moments.words import Scenario
from qnn.semidefinite.predictors import Network

Array = np.ndarray
Model = str | Path | Network | Foretell

VERDICTS = ("inside", "outside", "inconclusive")
FALLBACKS = ("clarabel", None)
# Steps after which a behaviour is left to the solver: near the boundary each halves the distance.
STEPS = 30


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
        row = self.behaviours[[i]]
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


def decide(
    behaviours: Array,
    scenario: str = "2222",
    level: str = "1+AB",
    fallback: str | None = "clarabel",
    model: Model | None = None,
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
    model : foretells the free moments: "shipped" for the package's own network (CHSH at 1+AB), a
        `Network` of `train_predictor`, its file, or a function from (N, p) to (N, f), both relative
        to noise; None starts from the moments of noise.
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
    cascade = Cascade(matrix, _foretelling(model, matrix), int(steps), fallback, gap)
    lower, upper = np.zeros(len(b)), np.zeros(len(b))
    taken, stage = np.zeros(len(b), dtype=np.int64), np.zeros(len(b), dtype=np.int64)
    for part in blocks(len(b), matrix.size):
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
        raise InputError(f"steps must be a whole number of at least 1 (got {shown(steps)})")
    if gap is not None and not 0.0 < gap < 1.0:
        raise InputError(f"gap must be between 0 and 1 (got {shown(gap)})")


def _foretelling(model: Model | None, level: MomentMatrix) -> Foretell | None:
    if model == "shipped":
        return Predictor(shipped(level), level)
    if isinstance(model, str | Path):
        return Predictor(Network.load(model), level, str(model))
    return Predictor(model, level) if isinstance(model, Network) else model
