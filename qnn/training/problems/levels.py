"""The levels of proof: what each can take, told from sizes and names before any computing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from qnn.errors import InputError
from qnn.losses import Loss
from qnn.networks.activations import Activation
from qnn.networks.alphabets import Alphabet
from qnn.registry import Registry

if TYPE_CHECKING:
    # Plans of sweeps need this module, and not the seconds that scipy takes to import.
    from qnn.training.problems.problem import Problem

# "tightened" forms and decomposes an (n, n) kernel.
MOST_ROWS = 8000
# "exact" branches over signs: with more columns no useful bound comes in hours.
MOST_COLUMNS = 128
# Beyond this many columns of the lift exact pricing may not end in time.
SURE_COLUMNS = 34
# What proven optima beyond that took is less than half of it (docs/optima.md).
LIMIT_SECONDS = 600.0


class Facts(NamedTuple):
    """What a level has to know of a problem: its size and its parts."""

    n: int
    d: int
    loss: Loss
    activation: Activation
    alphabet: Alphabet


@dataclass(frozen=True)
class Level:
    """A level of proof: why it cannot take a problem (None where it can), and what it costs.

    ``seconds(n, d)``: of raising the bound of one SDP to it on one core, a rough figure for plans.
    """

    refusal: Callable[[Facts], str | None]
    seconds: Callable[[int, int], float]


def _never(facts: Facts) -> str | None:
    return None


def _tightened_refusal(facts: Facts) -> str | None:
    if not facts.loss.quadratic:
        return "needs the squared loss: use certify 'relaxation'"
    if facts.n > MOST_ROWS:
        return f"takes {MOST_ROWS} rows at most (got {facts.n}): use certify 'relaxation'"
    return None


def _exact_refusal(facts: Facts) -> str | None:
    # The bilinear activation's pairs of sign vectors span what all its alphabets do.
    bits = 1 if facts.activation.pairs else len(facts.alphabet.scales)
    if bits * facts.d <= MOST_COLUMNS:
        return None
    of_bits = "" if bits == 1 else f" of {bits} bits"
    other = "tightened" if _tightened_refusal(facts) is None else "relaxation"
    return (
        f"goes through all sign vectors, too many for {facts.d} columns{of_bits}: use at most "
        f"{MOST_COLUMNS // bits}, or certify '{other}'"
    )


#: Tightening took 2 to 90 s from d = 9 to d = 62, about as d²; an enumeration takes 2 s at d = 31
#: and twice as long for each column more; column generation a second.
LEVELS: Registry[str, Level] = Registry(
    "certify",
    {
        "relaxation": Level(_never, lambda n, d: 0.0),
        "tightened": Level(_tightened_refusal, lambda n, d: 1.0 + 0.02 * d**2),
        "exact": Level(_exact_refusal, lambda n, d: 1.0 + 2.0 ** (d - 30)),
    },
)


def refusal(level: str, facts: Facts) -> str | None:
    """Why a problem of this size and kind cannot be certified at a level; None where it can."""
    return LEVELS[level].refusal(facts)


def check_level(level: str, facts: Facts) -> None:
    """Raise InputError for an unknown level and for what it cannot certify."""
    why = LEVELS.find(level).refusal(facts)
    if why is not None:
        raise InputError(f"certify '{level}' {why}")


def default_limit(level: str, columns: int) -> float | None:
    """Seconds for one SDP where none are given, from the lift's columns; None: until it ends."""
    return LIMIT_SECONDS if level == "exact" and columns > SURE_COLUMNS else None


def facts_of(problem: Problem) -> Facts:
    """What the levels have to know of a problem."""
    return Facts(problem.n, problem.d, problem.loss, problem.activation, problem.alphabet)
