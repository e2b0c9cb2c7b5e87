"""The rounding methods by name, without their libraries, and what each of them can take.

A new method is a file with its function and one entry here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qnn.registry import Later, Registry

if TYPE_CHECKING:
    import numpy as np

    from qnn.networks.quantized import QuantizedNetwork
    from qnn.training.relaxation.result import Relaxation
    from qnn.training.rounding.candidate import Incumbent


class RoundingFunction(Protocol):
    """The signature that all methods share; see `round_relaxation` for the arguments."""

    def __call__(
        self,
        relaxation: Relaxation,
        width: int,
        rng: np.random.Generator,
        second_layer: str | int = "float",
        wide: Incumbent | None = None,
    ) -> QuantizedNetwork:
        """A network of at most `width` neurons."""
        ...


@dataclass(frozen=True)
class Method:
    """An entry of the registry.

    `activation` and `alphabet`: the only ones that it takes, None where it takes all. `refits`:
    whether its second layer is refitted, for which the loss must have a fit.
    """

    round: RoundingFunction
    summary: str
    activation: str | None = None
    alphabet: str | None = None
    refits: bool = True


METHODS: Registry[str, Method] = Registry(
    "rounding",
    {
        "krivine": Method(
            Later("qnn.training.rounding.krivine:krivine_network"),
            "the paper's: sign pairs with one common α",
            activation="bilinear",
            alphabet="binary",
            refits=False,
        ),
        "refined": Method(
            Later("qnn.training.rounding.refined:refined_network"),
            "samples, column generation with ℓ1 refits, local search",
        ),
        "graduated": Method(
            Later("qnn.training.rounding.graduated:graduated_network"),
            "that, and networks driven from floats to bits where the width binds",
        ),
    },
)
