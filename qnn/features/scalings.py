"""The scalings of features by name, and what each makes of a column."""

from __future__ import annotations

from dataclasses import dataclass

from qnn.registry import Registry


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
