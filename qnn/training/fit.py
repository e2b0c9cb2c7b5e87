"""From a problem to a network and the proof of how far from optimal it can be."""

import time
from dataclasses import dataclass, field

import numpy as np

from qnn.certificates.record import Certificate
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.second_layers import check_second_layer
from qnn.numerics.arguments import check_limits, generator_of
from qnn.numerics.gaps import relative_gap
from qnn.registry import Registry
from qnn.training.certification import raise_bound
from qnn.training.problems.levels import check_level, facts_of
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.relaxation.result import Relaxation
from qnn.training.relaxation.solver import Callback
from qnn.training.rounding.graduated import narrow
from qnn.training.rounding.methods import check_rounding
from qnn.training.rounding.refined import (
    ENOUGH,
    column_generation,
    reduce,
    to_network,
    widest,
)
from qnn.training.rounding.sampling import sampler_of

#: How an optimum over all widths becomes a network of one.
ROUNDINGS = Registry("rounding", {"graduated": narrow, "refined": reduce})


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with its objective (loss + penalty) and the verified bound below every network.

    `gap = (objective − lower_bound)/|objective|`, 0 where both are 0. `certificate` proves
    `lower_bound`; statistics: seconds, relaxation_seconds, and of the column generation rounds and
    the largest violation of the dual constraint last found; where tightened or exact also the
    inequalities, the exact pricings and the objective of the best network of any width.
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
    second_layer: str | int = "float",
    sample_weight: np.ndarray | None = None,
    rounding: str = "graduated",
) -> Trained:
    """Train a quantized network: relaxation, rounding, column generation, certificate.

    seed: an integer or a numpy Generator; the same seed gives the same network, unless the time
    limit cuts the work short. width: most neurons allowed; None: as many as the optimum uses.
    certify: "relaxation", the bound of the SDP; "tightened", with inequalities that all signs
    satisfy (squared loss): most of what the SDP leaves, in seconds; "exact", the optimum of the
    quantized problem itself: all signs are enumerated to 34 columns (35 bits of a polynomial
    activation; seconds), beyond that branched over. Where that does not end in time, the
    certificate is the best one found. time_limit: seconds for everything together; what is found by
    then is returned with its honest gap. tol: relative gap of the relaxation. callback: called with
    a `Progress` after each bound that "tightened" or "exact" find. second_layer: "float"; "common",
    one scalar, a neuron standing several times where it weighs more; or 2 to 8, the bits of a grid
    for alpha. sample_weight: (n,), what each row counts for in the loss, in place of the problem's
    own; bounds and certificate are those of the weighted problem. rounding: how a network is
    brought to `width`, "graduated" or, many times faster and a little higher, "refined".
    Raises InputError, before any computing, for what cannot be trained or certified.
    """
    began = time.monotonic()
    rng = generator_of(seed)
    problem = problem if sample_weight is None else problem.with_weights(sample_weight)
    check_limits(tol, time_limit)
    check_rounding(problem, 1 if width is None else width, "refined")
    bring = ROUNDINGS.find(rounding)
    check_second_layer(second_layer)
    check_level(certify, facts_of(problem))
    deadline = None if time_limit is None else began + time_limit
    # Half for the bound, half for the network: either alone is worth little.
    relaxation = solve(
        problem, tol=tol, time_limit=None if time_limit is None else 0.5 * time_limit
    )
    relaxed = time.monotonic()
    statistics: dict[str, float] = {}
    certificate = relaxation.certificate
    if certify != "relaxation":
        certified = raise_bound(relaxation, certify, rng, deadline, callback)
        certificate, incumbent = certified.certificate, certified.incumbent
        statistics = {**certified.statistics, "objective_of_any_width": incumbent.objective}
    elif width is None:
        incumbent, statistics = column_generation(relaxation, rng, deadline=deadline, slow=ENOUGH)
    else:
        incumbent = widest(relaxation, width, rng, deadline)
    if width is not None:
        incumbent = bring(incumbent, width, rng, sampler_of(relaxation), deadline)
    network = to_network(incumbent, second_layer, width)
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
