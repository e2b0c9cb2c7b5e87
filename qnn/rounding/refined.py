"""The refined rounding: column generation from Krivine samples, then down to the width.

The optimum over networks of any width is found first and reduced, because that ends lower than
growing a network of the wanted width: on WDBC (β = 30, width 32) 80.88–80.90 against 81.2–81.5,
where the optimum over all widths is 80.84.
"""

import time

import numpy as np

from qnn.network import QuantizedNetwork
from qnn.rounding.incumbent import Incumbent, build, empty, extended, narrowed
from qnn.rounding.krivine import KrivineSampler
from qnn.rounding.local_search import STARTS, improve, price
from qnn.solvers.result import Relaxation

# Krivine samples that start the column generation, at least.
CANDIDATES = 256
# Neurons the column generation may reach before the reduction, at least, and as a multiple.
ROOM = 256
ROOM_FACTOR = 4
# A reduction that costs more than this, relative, is tried again in small steps.
COSTLY = 0.005
STEP = 0.8


def refined_network(
    relaxation: Relaxation, width: int, rng: np.random.Generator
) -> QuantizedNetwork:
    """At most `width` neurons; see the module. Bilinear, binary, a loss with a refit."""
    sampler = sampler_of(relaxation)
    if sampler is None:
        return to_network(empty(relaxation.problem))
    wide = improve(
        start(relaxation, sampler, width, rng), max(ROOM, ROOM_FACTOR * width), rng, sampler
    )
    best = improve(narrowed(wide, width), width, rng, sampler)
    if best.objective > (1.0 + COSTLY) * wide.objective:
        gradual = wide
        while gradual.width > width:
            gradual = narrowed(gradual, max(width, int(STEP * gradual.width)))
            gradual = improve(gradual, max(width, gradual.width), rng, sampler, max_rounds=4)
        gradual = improve(gradual, width, rng, sampler)
        best = gradual if gradual.objective < best.objective else best
    return to_network(best)


def column_generation(
    relaxation: Relaxation,
    rng: np.random.Generator,
    tol: float = 1e-4,
    max_rounds: int = 500,
    deadline: float | None = None,
) -> tuple[Incumbent, dict[str, float]]:
    """As many neurons as the optimum uses: atoms are inserted until none is found that violates.

    Stops when the heuristic pricing finds no atom with `|uᵀM(ν)v| > βd(1 + tol)`, also with eight
    times the starts, after `max_rounds`, or at `deadline` (`time.monotonic`). That it finds none
    does not prove that there is none. Returns the network's parts and statistics: rounds and the
    largest violation last seen.
    """
    sampler = sampler_of(relaxation)
    if sampler is None:
        return empty(relaxation.problem), {"rounds": 0, "violation": 0.0}
    incumbent = start(relaxation, sampler, 0, rng)
    violation = np.inf
    rounds = 0
    for rounds in range(1, max_rounds + 1):
        U, V, violations = price(incumbent, rng, sampler)
        if violations.max(initial=0.0) <= tol:
            U, V, violations = price(incumbent, rng, sampler, 8 * STARTS)
        violation = float(violations.max(initial=0.0))
        late = deadline is not None and time.monotonic() > deadline
        if violation <= tol or late:
            break
        # Enough columns a round for the master to move, few enough for it to stay small.
        count = 40
        longer = extended(incumbent, U[:, :count], V[:, :count])
        incumbent = longer if longer.objective < incumbent.objective else incumbent
    return incumbent, {"rounds": float(rounds), "violation": violation}


def sampler_of(relaxation: Relaxation) -> KrivineSampler | None:
    """The relaxation's Krivine sampler; None where its answer is the zero network."""
    (rho,) = relaxation.rho
    if rho <= 0.0:
        return None
    return KrivineSampler.from_relaxation(relaxation.P, relaxation.N, rho)


def start(
    relaxation: Relaxation, sampler: KrivineSampler, width: int, rng: np.random.Generator
) -> Incumbent:
    """Krivine samples, refitted and pruned."""
    count = max(CANDIDATES, 2 * width)
    U, V = sampler.sample(count, rng)
    return build(relaxation.problem, U, V, np.zeros(count))


def to_network(incumbent: Incumbent) -> QuantizedNetwork:
    """The network itself, as int8 weights."""
    return QuantizedNetwork(
        U=incumbent.U.astype(np.int8),
        V=incumbent.V.astype(np.int8),
        alpha=incumbent.alpha,
        beta=incumbent.problem.beta,
        loss=incumbent.problem.loss.name,
    )
