"""What `quantize` can be asked for, and the checks of it before any computing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError, shown
from qnn.numerics.arrays import plain_array
from qnn.quantization.graph.export import stored_bits
from qnn.quantization.graph.reading import Graph
from qnn.quantization.layers.certify import LEVELS
from qnn.quantization.layers.methods import METHODS

Array = np.ndarray

TUNINGS = ("bias", "statistics", "both", "none")
WEIGHTINGS = ("auto", "coupled", "fisher", "none")
GROUPS = ("neuron", "layer")


@dataclass(frozen=True)
class Options:
    """What `quantize` was asked for; see there."""

    budget: float = 3.0
    bits: tuple[int, ...] = (2, 3, 4, 8)
    method: str = "kbest"
    certify: str = "scale"
    activation_bits: int = 8
    group: str = "neuron"
    weighting: str = "auto"
    damp: float | str = "auto"
    holdout: float = 0.25
    tune: str = "bias"
    beam: int = 64
    most_nodes: int = 20_000_000
    seed: int = 0


def checked(options: Options) -> Options:
    """The options; InputError where one of them means nothing."""
    choices = {
        "method": METHODS,
        "certify": LEVELS,
        "group": GROUPS,
        "weighting": WEIGHTINGS,
        "tune": TUNINGS,
        "activation_bits": (4, 8),
    }
    for name, allowed in choices.items():
        if getattr(options, name) not in tuple(allowed):
            listed = ", ".join(str(a) for a in allowed)
            raise InputError(
                f"{name} must be one of {listed} (got {shown(getattr(options, name))})"
            )
    _check_bits(options)
    if not (np.isfinite(options.budget) and options.budget > 0):
        raise InputError(
            f"budget must be a positive number of bits a weight (got {options.budget})"
        )
    if options.damp != "auto" and not (
        isinstance(options.damp, int | float) and 0.0 <= options.damp < np.inf
    ):
        raise InputError(f"damp must be 'auto' or a number from 0 (got {shown(options.damp)})")
    if not 0.0 < options.holdout < 1.0:
        raise InputError(f"holdout must be a share between 0 and 1 (got {options.holdout})")
    smallest = float(stored_bits(np.array(options.bits)).min())
    if options.budget < smallest:
        raise InputError(
            f"the budget of {options.budget:g} bits a weight is impossible: the smallest possible "
            f"is {smallest:g} with bits {options.bits}"
        )
    return options


def _check_bits(options: Options) -> None:
    good = all(isinstance(b, int | np.integer) and b in (0, *range(2, 9)) for b in options.bits)
    if not good or len(set(options.bits)) != len(options.bits) or not any(options.bits):
        raise InputError(
            f"bits must be different whole numbers from 2 to 8, or 0 beside them (got "
            f"{options.bits})"
        )
    if 0 in options.bits and options.group != "neuron":
        raise InputError("0 bits leave neurons out: ask for group neuron, or give no 0")


def checked_rows(graph: Graph, rows: Array) -> Array:
    """Rows (n, ...) as 64-bit floats of 32-bit values, flat ones in the network's shape.

    Raises InputError where they do not fit.
    """
    plain = plain_array(rows, "the calibration rows")
    try:
        # What is too large for 32 bits becomes infinity, which is refused below.
        with np.errstate(over="ignore"):
            X = np.asarray(plain, dtype=np.float32).astype(np.float64)
    except (TypeError, ValueError):
        raise InputError("the calibration rows must be numbers") from None
    X = shaped_rows(X, graph.shape)
    wanted = graph.shape[1:]
    fits = X.ndim == len(graph.shape) and all(
        want is None or want == got for want, got in zip(wanted, X.shape[1:], strict=False)
    )
    if not fits:
        shape = " x ".join("?" if size is None else str(size) for size in wanted)
        raise InputError(
            f"the calibration rows have the shape {X.shape}, the network takes rows of {shape}"
        )
    if not np.isfinite(X).all():
        raise InputError("the calibration rows have NaN or infinity: drop or impute such rows")
    if len(X) < 8:
        raise InputError(f"{len(X)} calibration rows are too few: give 8 at least, better hundreds")
    return X


def shaped_rows(rows: Array, shape: tuple[int | None, ...]) -> Array:
    """Flat rows (n, p) in a network's shape, where it is known and p numbers fill it."""
    inner = [size for size in shape[1:] if size is not None]
    whole = len(inner) == len(shape) - 1
    if whole and rows.ndim == 2 and len(inner) > 1 and int(np.prod(inner)) == rows.shape[1]:
        return rows.reshape(-1, *inner)
    return rows
