"""From a problem to a network and the proof of how far from optimal it can be."""

import time
from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.network import QuantizedNetwork
from qnn.problem import Problem
from qnn.rounding.incumbent import Incumbent
from qnn.rounding.methods import check_rounding
from qnn.rounding.refined import column_generation, reduce, refine, to_network
from qnn.rounding.sampling import sampler_of
from qnn.solvers.base import Callback
from qnn.solvers.front import solve
from qnn.solvers.result import Relaxation, relative_gap
from qnn.tightening import check_tightened, refusal, tighten

# Beyond this many columns an enumeration may not end in time: a tightened bound comes first.
SURE_COLUMNS = 34
CERTIFY = ("relaxation", "tightened", "exact")


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its objective (loss + penalty) and the verified bound below every network.

    `gap = (objective − lower_bound)/|objective|`, 0 where both are 0. `certificate` proves
    `lower_bound`; statistics: seconds, relaxation_seconds, and of the column generation rounds and
    the largest violation of the dual constraint last found, or, where exact, rounds, enumerations,
    and the objective of the best network of any width.
    """

    network: QuantizedNetwork
    objective: float
    lower_bound: float
    gap: float
    certificate: Certificate
    relaxation: Relaxation
    statistics: dict[str, float] = field(default_factory=dict)


def train(
    problem: Problem,
    seed: int | np.random.Generator = 0,
    width: int | None = None,
    certify: str = "relaxation",
    time_limit: float | None = None,
    tol: float = 1e-4,
    callback: Callback | None = None,
) -> Trained:
    """Train a quantized network: relaxation, rounding, column generation, certificate.

    seed: an integer or a numpy Generator; the same seed gives the same network, unless the time
    limit cuts the work short. width: most neurons allowed; None: as many as the optimum uses.
    certify: "relaxation", the bound of the SDP; "tightened", with inequalities that all signs
    satisfy (squared loss): most of what the SDP leaves, in seconds; "exact", the optimum of the
    quantized problem itself by enumeration, 2^d steps: seconds to d = 32, an hour at 42. Where no
    enumeration ends in time, the certificate is the best other one. time_limit: seconds for
    everything together; what is found by then is returned with its honest gap. tol: relative gap of
    the relaxation. callback: called with a `Progress` after each bound that "tightened" or "exact"
    find.
    Raises InputError, before any computing, for what cannot be trained or certified.
    """
    began = time.monotonic()
    if certify not in CERTIFY:
        raise InputError(f"certify {certify!r} is not known: choose one of {', '.join(CERTIFY)}")
    check_rounding(problem, 1 if width is None else width, "refined")
    if certify == "tightened":
        check_tightened(problem)
    if certify == "exact":
        # Only here: the compiler takes a second to import.
        from qnn.pricing.exact import check_exact

        check_exact(problem)
    deadline = None if time_limit is None else began + time_limit
    # Half for the bound, half for the network: either alone is worth little.
    relaxation = solve(
        problem, tol=tol, time_limit=None if time_limit is None else 0.5 * time_limit
    )
    relaxed = time.monotonic()
    rng = np.random.default_rng(seed)
    statistics: dict[str, float] = {}
    certificate = relaxation.certificate
    if certify == "exact":
        incumbent, certificate, statistics = _exact(relaxation, width, rng, deadline, callback)
    elif width is None:
        incumbent, statistics = column_generation(relaxation, rng, deadline=deadline)
    else:
        incumbent = refine(relaxation, width, rng, deadline)
    if certify == "tightened":
        tightened = tighten(relaxation, incumbent.objective, deadline=deadline, callback=callback)
        certificate = tightened.certificate
        statistics["inequalities"] = float(tightened.inequalities)
    network = to_network(incumbent)
    objective = problem.objective(network)
    statistics["relaxation_seconds"] = relaxed - began
    statistics["seconds"] = time.monotonic() - began
    return Trained(
        network=network,
        objective=objective,
        lower_bound=certificate.lower_bound,
        gap=relative_gap(objective, certificate.lower_bound),
        certificate=certificate,
        relaxation=relaxation,
        statistics=statistics,
    )


def _exact(
    relaxation: Relaxation,
    width: int | None,
    rng: np.random.Generator,
    deadline: float | None,
    callback: Callback | None,
) -> tuple[Incumbent, Certificate, dict[str, float]]:
    """The proven optimum over all widths, reduced to the width, and the better certificate."""
    from qnn.pricing.exact import prove_optimum

    sampler = sampler_of(relaxation)
    wide, _ = column_generation(relaxation, rng, deadline=deadline)
    certificate = relaxation.certificate
    if relaxation.problem.d > SURE_COLUMNS and refusal(relaxation.problem) is None:
        certificate = tighten(relaxation, wide.objective, deadline=deadline).certificate
    optimum = prove_optimum(wide, rng, sampler, deadline=deadline, callback=callback)
    statistics = {
        "rounds": float(optimum.rounds),
        "enumerations": float(optimum.enumerations),
        "objective_of_any_width": optimum.incumbent.objective,
    }
    incumbent = optimum.incumbent
    if width is not None and incumbent.width > width:
        incumbent = reduce(incumbent, width, rng, sampler, deadline)
    proven = optimum.certificate
    if proven is not None and proven.lower_bound > certificate.lower_bound:
        certificate = proven
    return incumbent, certificate, statistics
