"""The refined rounding: column generation from samples, then down to the width.

The optimum over networks of any width is found first and reduced, because that ends lower than
growing a network of the wanted width: on WDBC (β = 30, width 32) 80.88–80.90 against 81.2–81.5,
where the optimum over all widths is 80.84. Going down in small steps, each with a local search,
was tried: three times the time for 0.3 % at best (digits, width 32), nothing at width 64.
"""

import time
from dataclasses import dataclass

import numpy as np

from qnn.networks.quantized import QuantizedNetwork
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.result import Relaxation
from qnn.training.rounding.candidate import Incumbent, build, empty, narrowed
from qnn.training.rounding.grids import on_grid
from qnn.training.rounding.local_search import STARTS, improve, price
from qnn.training.rounding.master import master_of
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
# Where the neurons are more than that, columns of a round overlap by less: of alike ones the first
# does what the others would.
ALIKE = 0.35
# Where fewer than that are found at many neurons, pricing also starts near these, with each sign
# turned with this probability: on spiky columns (n = 1000, 58 columns, 424 neurons) random starts
# found one atom of 64, samples 19 of 1000, turned neurons 114 of 848.
FLIPS = 0.07
# Rounds in a row without progress that end the column generation.
IDLE_ROUNDS = 5
# With more neurons than ROOM it also ends where so many rounds gain less than this, relative:
# heavy-tailed columns leave a thousand atoms that violate by 1 % and gain next to nothing. ENOUGH
# is for networks whose bound is the relaxation's: they are a hundred times farther from that.
SLOW_ROUNDS, SLOW, ENOUGH = 10, 2e-5, 2e-4
# As long as they gain twice that, atoms are priced at a dual point that follows the master's: this
# part of it is the one before (P. Wentges, Weighted Dantzig-Wolfe decomposition, Int. Trans. Oper.
# Res. 1997).
BEFORE = 0.6


@dataclass(frozen=True, eq=False)
class _Followed:
    """A master problem with another dual point nu (n,), for the pricing."""

    problem: Problem
    W: np.ndarray
    nu: np.ndarray


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
    return column_generation(
        relaxation, rng, WIDE_TOLERANCE, room=room, deadline=deadline, slow=ENOUGH
    )[0]


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
    slow: float = SLOW,
) -> tuple[Incumbent, dict[str, float]]:
    """As many neurons as the optimum uses: atoms are inserted until none is found that violates.

    Stops when the heuristic pricing finds no atom with `|hᵀν| > βd(1 + tol)`, also with eight
    times the starts, when some rounds in a row lower nothing (of many neurons: less than `slow`),
    after `max_rounds`, or at `deadline` (`time.monotonic`). That it finds none does not prove that
    there is none. `room` limits the neurons. Returns the network's parts and statistics: rounds
    and the largest violation last seen.
    """
    sampler = sampler_of(relaxation)
    incumbent = empty(relaxation.problem)
    if sampler is not None:
        count = max(CANDIDATES, 2 * (room or 0) // ROOM_FACTOR)
        incumbent = build(relaxation.problem, sampler(count, rng), np.zeros(count))
    master = master_of(incumbent)
    violation, rounds, idle, scarce = np.inf, 0, 0, False
    reached: list[float] = []
    nu, following = master.nu, True
    while rounds < max_rounds and idle < IDLE_ROUNDS:
        rounds += 1
        following = following and not idle and not _slow(reached, 2.0 * slow)
        ahead = following and master.width > ROOM
        nu = BEFORE * nu + (1.0 - BEFORE) * master.nu if ahead else master.nu
        point = _Followed(master.problem, master.W, nu)
        W, violations = price(point, rng, sampler, flips=FLIPS if scarce else 0.0)
        scarce = master.width > COLUMNS > len(violations)
        if violations.max(initial=0.0) <= tol:
            flips = FLIPS if scarce else 0.0
            W, violations = price(master, rng, sampler, 8 * STARTS, flips=flips)
        violation = float(violations.max(initial=0.0))
        if violation <= tol or (deadline is not None and time.monotonic() > deadline):
            break
        if master.width > COLUMNS:
            W = W[:, :, master.problem.atoms.spread(W, COLUMNS, ALIKE)]
        longer = master.extended(W[:, :, :COLUMNS])
        if room is not None:
            longer = longer.narrowed(room)
        better = longer.objective < master.objective
        master = longer if better else master
        idle = 0 if better else idle + 1
        reached.append(master.objective)
        if master.width > ROOM and _slow(reached, slow):
            break
    return master.incumbent(), {"rounds": float(rounds), "violation": violation}


def _slow(reached: list[float], share: float) -> bool:
    """Whether the last rounds gained less than this share, by the objectives after each."""
    if len(reached) <= SLOW_ROUNDS:
        return False
    before = reached[-1 - SLOW_ROUNDS]
    return before - reached[-1] < share * before


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
