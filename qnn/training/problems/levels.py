"""The levels of proof: what each can take, told from sizes and names before any computing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnn.errors import InputError
from qnn.networks.alphabets import get_alphabet

if TYPE_CHECKING:
    # Plans of sweeps need this module, and not the seconds that scipy takes to import.
    from qnn.training.problems.problem import Problem

LEVELS = ("relaxation", "tightened", "exact")
# "tightened" forms and decomposes an (n, n) kernel.
MOST_ROWS = 8000
# "exact" branches over signs: with more columns no useful bound comes in hours.
MOST_COLUMNS = 128


def refusal(level: str, n: int, d: int, loss: str, activation: str, alphabet: str) -> str | None:
    """Why a problem of this size and kind cannot be certified at a level; None where it can."""
    if level == "tightened":
        if loss != "squared":
            return "needs the squared loss: use certify 'relaxation'"
        if n > MOST_ROWS:
            return f"takes {MOST_ROWS} rows at most (got {n}): use certify 'relaxation'"
    if level == "exact":
        # The bilinear activation's pairs of sign vectors span what all its alphabets do.
        bits = 1 if activation == "bilinear" else len(get_alphabet(alphabet).scales)
        if bits * d > MOST_COLUMNS:
            of_bits = "" if bits == 1 else f" of {bits} bits"
            other = (
                "tightened"
                if refusal("tightened", n, d, loss, activation, alphabet) is None
                else "relaxation"
            )
            return (
                f"goes through all sign vectors, too many for {d} columns{of_bits}: use at most "
                f"{MOST_COLUMNS // bits}, or certify '{other}'"
            )
    return None


def check_level(level: str, n: int, d: int, loss: str, activation: str, alphabet: str) -> None:
    """Raise InputError for an unknown level and for what it cannot certify."""
    if level not in LEVELS:
        raise InputError(f"certify {level!r} is not known: choose one of {', '.join(LEVELS)}")
    why = refusal(level, n, d, loss, activation, alphabet)
    if why is not None:
        raise InputError(f"certify '{level}' {why}")


def names(problem: Problem) -> tuple[int, int, str, str, str]:
    """The arguments of `check_level` and `refusal` after the level."""
    return (
        problem.n,
        problem.d,
        problem.loss.name,
        problem.activation.name,
        problem.alphabet.name,
    )
