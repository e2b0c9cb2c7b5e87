"""Checks of arguments that several public functions share, before any computing."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np

from qnn.errors import InputError, shown

# Seeds are below it, as in the config of a sweep: they fit the results' column of 64 bits.
MOST_SEED = 2**63


def generator_of(seed: int | np.random.Generator) -> np.random.Generator:
    """The random stream of a seed; InputError for what is none."""
    if isinstance(seed, np.random.Generator):
        return seed
    check_seed("seed", seed, MOST_SEED, "or a numpy Generator")
    return np.random.default_rng(int(seed))


def check_seed(name: str, seed: object, most: int, otherwise: str) -> None:
    """Raise InputError unless it is a whole number from 0 to below `most`, a power of 2."""
    truth = isinstance(seed, bool | np.bool_)
    if truth or not isinstance(seed, Integral) or not 0 <= int(seed) < most:
        raise InputError(
            f"{name} must be a whole number from 0 to 2**{most.bit_length() - 1} - 1, {otherwise} "
            f"(got {shown(seed)})"
        )


def check_limits(tol: object, time_limit: object = None, max_iterations: int | None = None) -> None:
    """Raise InputError for a tolerance, seconds or iterations that nothing can be done in."""
    if not _positive(tol):
        raise InputError(f"tol must be positive (got {shown(tol)})")
    if time_limit is not None and not _positive(time_limit):
        raise InputError(f"time_limit must be positive seconds (got {shown(time_limit)})")
    if max_iterations is not None and max_iterations < 1:
        raise InputError(f"max_iterations must be at least 1 (got {max_iterations})")


def _positive(value: object) -> bool:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return False
    return float(value) > 0
