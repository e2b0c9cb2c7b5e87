"""The scalings of features by name, what each makes of a column, and the constant beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from qnn.errors import InputError, shown
from qnn.features.tables import brief
from qnn.registry import Registry

#: Most thresholds of a column.
MOST_THRESHOLDS = 255
#: Largest constant column: what a network on bits counts stays a whole number far below 2^53.
MOST_BIAS = 1024


@dataclass(frozen=True)
class Scaling:
    """An entry of the registry.

    `standardized`: features get mean 0 and variance 1 on the rows they are fitted on; `weighted`:
    each is then multiplied by the root of its correlation with the target, which its scale holds;
    `bits`: every feature is −1 or +1, so that limits of its size mean nothing; `rounds`: its
    numbers can be fitted in few bits (`qnn.features.block_floating_point`).
    """

    standardized: bool = False
    weighted: bool = False
    bits: bool = False
    rounds: bool = False


SCALINGS: Registry[str, Scaling] = Registry(
    "scaling",
    {
        "standardize": Scaling(standardized=True, rounds=True),
        "none": Scaling(),
        "weighted": Scaling(standardized=True, weighted=True, rounds=True),
        "quantile": Scaling(standardized=True),
        "thermometer": Scaling(bits=True, rounds=True),
    },
)


def check_scaling(scaling: str, clip: float | None, thresholds: int, compact: bool = False) -> None:
    """Raise InputError for a scaling that there is not, or what does not go with it."""
    if scaling not in SCALINGS:
        raise InputError(f"scaling must be one of {', '.join(SCALINGS)} (got {brief(scaling)})")
    if clip is not None and not (_is(clip, Real) and math.isfinite(clip) and clip > 0):
        raise InputError(f"clip must be a positive number (got {shown(clip)})")
    if clip is not None and SCALINGS[scaling].bits:
        raise InputError("clip means nothing to bits: leave it out, or choose another scaling")
    check_thresholds(thresholds)
    if not isinstance(compact, bool):
        raise InputError(f"compact must be true or false (got {brief(compact)})")
    if compact and not SCALINGS[scaling].rounds:
        raise InputError(
            f"compact means nothing to scaling {scaling!r}: leave it out, or choose another scaling"
        )


def check_thresholds(thresholds: Any) -> None:
    """Raise InputError for what is no number of bits of a column."""
    if not _is(thresholds, Integral) or not 1 <= thresholds <= MOST_THRESHOLDS:
        raise InputError(
            f"thresholds must be a whole number from 1 to {MOST_THRESHOLDS} "
            f"(got {shown(thresholds)})"
        )


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def check_bias(value: Any) -> int:
    """The constant column's number as layouts hold it, True for 1; InputError where it is none."""
    if not isinstance(value, int | np.integer | np.bool_) or not 0 <= value <= MOST_BIAS:
        raise InputError(
            f"bias must be true, false or a whole number up to {MOST_BIAS} (got {shown(value)})"
        )
    return bool(value) if value < 2 else int(value)
