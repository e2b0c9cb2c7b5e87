"""A relaxation's bound, raised to the level of proof that is wanted, and the network found with it.

To raise the bound one has to know where it leads: the best network of any width is found on the
way, by column generation, and its objective is the upper bound that the lower one closes in on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from qnn.certificates.record import Certificate
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.levels import SURE_COLUMNS, check_level, facts_of, refusal
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.solver import Callback, Progress
from qnn.training.relaxation.tightening import branch, tighten
from qnn.training.rounding.candidate import Incumbent
from qnn.training.rounding.refined import column_generation
from qnn.training.rounding.sampling import sampler_of

if TYPE_CHECKING:
    from qnn.training.pricing.enumeration import Scanner

# Beyond `SURE_COLUMNS` exact pricing gets this part of the time, and where it leaves a gap, a
# tightened bound is tried in the rest, and then leaves of it (bilinear activation).
EXACT_SHARE = 0.3
PROVEN = 1e-4


@dataclass(frozen=True, eq=False)
class Certified:
    """The best certificate, the best network of any width, and the bounds as they closed in.

    `history`: one `Progress` for each change, seconds since the level was begun, bounds the best
    so far. statistics: rounds, and what the level counts (inequalities, exact pricings).
    """

    certificate: Certificate
    incumbent: Incumbent
    history: tuple[Progress, ...]
    statistics: dict[str, float] = field(default_factory=dict)


def raise_bound(
    relaxation: Relaxation,
    level: str,
    rng: np.random.Generator,
    deadline: float | None = None,
    callback: Callback | None = None,
    scanner: Scanner | None = None,
) -> Certified:
    """Certify at "tightened" or "exact"; at "relaxation" the bound stays what it is.

    deadline : `time.monotonic`; what is proven by then is returned. callback : called with each
    entry of the history. scanner : who scans an enumeration's vectors, None for threads. Raises
    InputError, before any computing, for what a level cannot take.
    """
    check_level(level, facts_of(relaxation.problem))
    history = _History(relaxation.lower_bound, callback)
    wide, statistics = column_generation(relaxation, rng, deadline=deadline)
    history.add(wide.objective, relaxation.lower_bound)
    certificate = relaxation.certificate
    tightens = level == "exact" and relaxation.problem.lift.size > SURE_COLUMNS
    tightens = tightens and refusal("tightened", facts_of(relaxation.problem)) is None
    if level == "exact":
        # Only here: the compiler takes a second to import.
        from qnn.training.pricing.exact import prove_optimum

        until = _share(deadline) if tightens else deadline
        optimum = prove_optimum(
            wide,
            rng,
            sampler_of(relaxation),
            scanner=scanner,
            deadline=until,
            callback=history.callback,
        )
        wide = optimum.incumbent
        statistics["rounds"] += float(optimum.rounds)
        statistics["pricings"] = float(optimum.pricings)
        certificate = _better(certificate, optimum.certificate)
        history.add(wide.objective, certificate.lower_bound)
    gap = relative_gap(wide.objective, certificate.lower_bound)
    if level == "tightened" or (tightens and gap > PROVEN):
        tightened = tighten(
            relaxation, wide.objective, deadline=deadline, callback=history.callback
        )
        certificate = _better(certificate, tightened.certificate)
        statistics["inequalities"] = float(tightened.inequalities)
        gap = relative_gap(wide.objective, certificate.lower_bound)
        if level == "exact" and tightened.state is not None and gap > PROVEN:
            branched = branch(
                tightened.state,
                certificate,
                wide.objective,
                deadline=deadline,
                callback=history.callback,
            )
            certificate = branched.certificate
            statistics["leaves"] = float(branched.leaves)
    return Certified(certificate, wide, tuple(history.entries), statistics)


def _better(certificate: Certificate, other: Certificate | None) -> Certificate:
    if other is None or other.lower_bound <= certificate.lower_bound:
        return certificate
    return other


def _share(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    now = time.monotonic()
    return now + EXACT_SHARE * max(deadline - now, 0.0)


class _History:
    """The best bounds over time: a level's parts count their own seconds and bounds."""

    def __init__(self, lower: float, callback: Callback | None) -> None:
        self.began = time.monotonic()
        self.upper, self.lower = np.inf, lower
        self.entries: list[Progress] = []
        self.reports = callback

    def callback(self, progress: Progress) -> None:
        self.add(progress.upper_bound, progress.lower_bound)

    def add(self, upper: float, lower: float) -> None:
        """An entry where one of the bounds is better than before."""
        upper, lower = min(upper, self.upper), max(lower, self.lower)
        if (upper, lower) == (self.upper, self.lower):
            return
        self.upper, self.lower = upper, lower
        seconds = time.monotonic() - self.began
        entry = Progress(len(self.entries), seconds, upper, lower, relative_gap(upper, lower))
        self.entries.append(entry)
        if self.reports is not None:
            self.reports(entry)
