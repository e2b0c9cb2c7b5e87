"""Networks of a given width: the objective against the width, and the narrowest within a gap.

All share one relaxation, one bound and one optimum over all widths, which is reduced to each.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.arguments import check_limits, generator_of
from qnn.numerics.gaps import relative_gap
from qnn.training.certification import Certified, raise_bound
from qnn.training.problems.levels import check_level, facts_of
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding.candidate import Incumbent
from qnn.training.rounding.graduated import narrow
from qnn.training.rounding.methods import check_rounding
from qnn.training.rounding.refined import to_network
from qnn.training.rounding.sampling import Sampler, sampler_of


@dataclass(frozen=True, eq=False)
class FiniteWidth:
    """The best network found with at most `width` neurons.

    `gap` is to the bound over all widths, so it holds two things: what a network of this width must
    lose against a wider one, and what the search or the bound left.
    """

    width: int
    network: QuantizedNetwork
    objective: float
    gap: float


@dataclass(frozen=True, eq=False)
class WidthCurve:
    """`points` from narrow to wide, objectives falling; `lower_bound` of every network."""

    points: tuple[FiniteWidth, ...]
    lower_bound: float
    certificate: Certificate


def width_curve(
    problem: Problem,
    widths: Sequence[int] | None = None,
    seed: int | np.random.Generator = 0,
    certify: str = "relaxation",
    time_limit: float | None = None,
) -> WidthCurve:
    """The best objective found for each width, against the bound that none can pass.

    widths: whole numbers, each once; None: powers of two up to what the optimum uses, and that.
    certify, time_limit (seconds, for relaxation, bound and optimum): as in `train`. Raises
    InputError as `train` does.
    """
    certified, sampler, rng = _certify(problem, seed, certify, time_limit)
    wide = certified.incumbent
    if widths is None:
        doubled = [2**k for k in range(max(wide.width, 1).bit_length()) if 2**k < wide.width]
        widths = [*doubled, max(wide.width, 1)]
    for width in widths:
        check_rounding(problem, width, "refined")
    best: Incumbent | None = None
    found = []
    for width in sorted(set(widths)):
        candidate = narrow(wide, width, rng, sampler)
        # A narrower network is also one of this width.
        if best is None or candidate.objective < best.objective:
            best = candidate
        found.append(_point(problem, width, best, certified))
    return WidthCurve(tuple(found), certified.certificate.lower_bound, certified.certificate)


def narrowest(
    problem: Problem,
    gap: float,
    seed: int | np.random.Generator = 0,
    certify: str = "relaxation",
    time_limit: float | None = None,
) -> FiniteWidth:
    """The narrowest network found whose gap to the bound over all widths is at most `gap`.

    Widths are bisected, as if a wider network could not be harder to find. Raises InputError where
    even the best network of any width has a larger gap, and says which.
    """
    if not 0.0 < gap < 1.0:
        raise InputError(f"gap must be between 0 and 1 (got {gap})")
    certified, sampler, rng = _certify(problem, seed, certify, time_limit)
    wide = certified.incumbent
    best = _point(problem, max(wide.width, 1), wide, certified)
    if best.gap > gap:
        raise InputError(
            f"the best network of any width has the gap {best.gap:.2g}, not {gap:g}: choose a "
            "larger gap, or certify 'tightened' or 'exact' for a higher bound"
        )
    low, high = 0, best.width
    while high - low > 1:
        middle = (low + high) // 2
        point = _point(problem, middle, narrow(wide, middle, rng, sampler), certified)
        if point.gap <= gap:
            best, high = point, middle
        else:
            low = middle
    return best


def _certify(
    problem: Problem, seed: int | np.random.Generator, certify: str, time_limit: float | None
) -> tuple[Certified, Sampler | None, np.random.Generator]:
    check_rounding(problem, 1, "refined")
    rng = generator_of(seed)
    check_limits(1.0, time_limit)
    check_level(certify, facts_of(problem))
    deadline = None if time_limit is None else time.monotonic() + time_limit
    relaxation = solve(problem, time_limit=None if time_limit is None else 0.5 * time_limit)
    return raise_bound(relaxation, certify, rng, deadline), sampler_of(relaxation), rng


def _point(problem: Problem, width: int, best: Incumbent, certified: Certified) -> FiniteWidth:
    network = to_network(best)
    objective = problem.objective(network)
    gap = relative_gap(objective, certified.certificate.lower_bound)
    return FiniteWidth(width, network, objective, gap)
