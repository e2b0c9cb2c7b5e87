"""The refined rounding: column generation from samples, then down to the width.

The optimum over networks of any width is found first and reduced, because that ends lower than
growing a network of the wanted width: on WDBC (β = 30, width 32) 80.88–80.90 against 81.2–81.5,
where the optimum over all widths is 80.84. Going down in small steps, each with a local search,
was tried: three times the time for 0.3 % at best (digits, width 32), nothing at width 64.
"""

import time

import numpy as np

from qnn.networks.quantized import QuantizedNetwork
from qnn.training.relaxation.result import Relaxation
from qnn.training.rounding.candidate import Incumbent, build, empty, extended, narrowed
from qnn.training.rounding.grids import on_grid
from qnn.training.rounding.local_search import STARTS, improve, price
from qnn.training.rounding.sampling import Sampler, sampler_of

# Samples that start the column generation, at least.
CANDIDATES = 256
# Neurons the column generation may reach before the reduction, at least, and as a multiple.
ROOM = 256
ROOM_FACTOR = 4
# Violation at which the column generation hands over to the reduction. Ten times less takes twice
# the time on digits (1797 rows, 62 columns) and lowers the result by 0.05 %.
WIDE_TOLERANCE = 1e-2
# Columns inserted a round: enough for the master to move, few enough for it to stay small.
COLUMNS = 40
# Rounds in a row without progress that end the column generation.
IDLE_ROUNDS = 5


def refined_network(
    relaxation: Relaxation,
    width: int,
    rng: np.random.Generator,
    second_layer: str | int = "float",
    wide: Incumbent | None = None,
) -> QuantizedNetwork:
    """At most `width` neurons; see the module. Any problem whose loss has a refit."""
    if wide is None:
        wide = widest(relaxation, width, rng)
    return to_network(reduce(wide, width, rng, sampler_of(relaxation)), second_layer, width)


def widest(
    relaxation: Relaxation, width: int, rng: np.random.Generator, deadline: float | None = None
) -> Incumbent:
    """About the optimum over networks of any width, to be reduced to `width` neurons."""
    room = max(ROOM, ROOM_FACTOR * width)
    return column_generation(relaxation, rng, WIDE_TOLERANCE, room=room, deadline=deadline)[0]


def reduce(
    wide: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: Sampler | None = None,
    deadline: float | None = None,
) -> Incumbent:
    """From an optimum over all widths to at most `width` neurons, by removal and local search."""
    return improve(narrowed(wide, width), width, rng, sampler, deadline=deadline)


def column_generation(
    relaxation: Relaxation,
    rng: np.random.Generator,
    tol: float = 1e-4,
    room: int | None = None,
    max_rounds: int = 500,
    deadline: float | None = None,
) -> tuple[Incumbent, dict[str, float]]:
    """As many neurons as the optimum uses: atoms are inserted until none is found that violates.

    Stops when the heuristic pricing finds no atom with `|hᵀν| > βd(1 + tol)`, also with eight
    times the starts, when some rounds in a row lower nothing, after `max_rounds`, or at `deadline`
    (`time.monotonic`). That it finds none does not prove that there is none. `room` limits the
    neurons. Returns the network's parts and statistics: rounds and the largest violation last seen.
    """
    sampler = sampler_of(relaxation)
    incumbent = empty(relaxation.problem)
    if sampler is not None:
        count = max(CANDIDATES, 2 * (room or 0) // ROOM_FACTOR)
        incumbent = build(relaxation.problem, sampler(count, rng), np.zeros(count))
    violation, rounds, idle = np.inf, 0, 0
    while rounds < max_rounds and idle < IDLE_ROUNDS:
        rounds += 1
        W, violations = price(incumbent, rng, sampler)
        if violations.max(initial=0.0) <= tol:
            W, violations = price(incumbent, rng, sampler, 8 * STARTS)
        violation = float(violations.max(initial=0.0))
        if violation <= tol or (deadline is not None and time.monotonic() > deadline):
            break
        longer = extended(incumbent, W[:, :, :COLUMNS])
        if room is not None:
            longer = narrowed(longer, room)
        better = longer.objective < incumbent.objective
        incumbent = longer if better else incumbent
        idle = 0 if better else idle + 1
    return incumbent, {"rounds": float(rounds), "violation": violation}


def to_network(
    incumbent: Incumbent, second_layer: str | int = "float", width: int | None = None
) -> QuantizedNetwork:
    """The network itself, as int8 weights; its second layer on a grid, as `second_layer` says.

    `width`: most neurons, where a common scalar makes some stand several times.
    """
    problem = incumbent.problem
    W, alpha = on_grid(problem, incumbent.W, incumbent.alpha, second_layer, width)
    weights = problem.atoms.levels(W)
    polynomial = problem.activation.coefficients
    return QuantizedNetwork(
        U=weights[0],
        V=weights[1] if polynomial is None else None,
        alpha=alpha,
        activation=problem.activation.name,
        alphabet=problem.alphabet.name,
        polynomial=polynomial,
        beta=problem.beta,
        loss=problem.loss.name,
        loss_parameter=problem.loss.parameter,
        second_layer=str(second_layer),
    )
