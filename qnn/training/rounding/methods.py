"""The rounding methods by name, and what each of them can take."""

import numpy as np

from qnn.errors import InputError, shown
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.second_layers import check_second_layer
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.result import Relaxation
from qnn.training.rounding.candidate import Incumbent
from qnn.training.rounding.refit.second_layer import check_loss
from qnn.training.rounding.registry import METHODS


def round_relaxation(
    relaxation: Relaxation,
    width: int,
    rng: np.random.Generator,
    method: str = "refined",
    wide: Incumbent | None = None,
    second_layer: str | int = "float",
) -> QuantizedNetwork:
    """A network of at most `width` neurons from a solved relaxation.

    "krivine": exactly `width` sign pairs with one common α, as in the paper (fewer only where the
    relaxation's answer is the zero network). "refined": samples of the relaxation as candidates,
    column generation with ℓ1 refits, reduction to `width` neurons, local search.
    "graduated": that, and where the width binds the best of it, of eight networks trained as floats
    and driven to bits and, where there are few bits and many rows, of some annealed ones, each with
    its local search: several times the time, lower objectives for narrow networks.
    `wide`, a network of any width where one is known, saves the column generation.
    second_layer: "float", "common" or bits (see `grids.py`); Krivine's has one scalar.
    The same generator state gives the same network. Raises InputError for an unknown method, a
    width below 1 and problems that the method cannot round.
    """
    check_rounding(relaxation.problem, width, method)
    check_second_layer(second_layer)
    return METHODS[method].round(relaxation, width, rng, second_layer, wide)


def check_rounding(problem: Problem, width: int, method: str) -> None:
    """Raise InputError, before any computing, if `round_relaxation` cannot do this."""
    entry = METHODS.find(method)
    if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
        raise InputError(f"width must be a whole number of neurons, 1 or more (got {shown(width)})")
    if entry.refits:
        check_loss(problem.loss)
    if entry.activation not in (None, problem.activation.name):
        raise InputError(
            f"rounding {method!r} needs the {entry.activation} activation (got "
            f"{problem.activation.name!r}): use rounding refined"
        )
    if entry.alphabet not in (None, problem.alphabet.name):
        raise InputError(
            f"rounding {method!r} makes {entry.alphabet} weights (got alphabet "
            f"{problem.alphabet.name!r}): use alphabet {entry.alphabet}, or rounding refined"
        )
