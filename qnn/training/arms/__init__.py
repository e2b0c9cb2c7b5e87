"""The arms that a user would try instead of the relaxation, one a file.

`QUANTIZED` arms make a network with the problem's own weights: `arm(problem, width, seconds, rng)
-> QuantizedNetwork`. `CEILINGS` have float weights: `arm(problem, seconds) -> FloatNetwork`;
`AFTERWARDS` are such, quantized after training, without a claim about the objective. `REFERENCES`
are classifiers without our problems: `arm(X, labels, seed) -> a fitted estimator`. Every lower
bound lies below the objective of every QUANTIZED arm, and says nothing about the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from qnn.losses import Loss
from qnn.networks.activations import Activation
from qnn.networks.alphabets import Alphabet
from qnn.registry import Later, Registry

__all__ = [
    "AFTERWARDS",
    "ALL",
    "ARMS",
    "CEILINGS",
    "QUANTIZED",
    "REFERENCES",
    "WIDTHLESS",
    "Arm",
    "get_arm",
]

Family = Literal["quantized", "ceiling", "afterwards", "reference"]


def _everything(loss: Loss, activation: Activation, alphabet: Alphabet) -> bool:
    return True


def _bilinear_and_smooth(loss: Loss, activation: Activation, alphabet: Alphabet) -> bool:
    return activation.pairs and loss.smooth


def _products_of_bits(loss: Loss, activation: Activation, alphabet: Alphabet) -> bool:
    return loss.quadratic and activation.pairs and alphabet.signs


@dataclass(frozen=True)
class Arm:
    """An entry of the registry: what runs it, its family, and the kinds of problem that it takes.

    ``takes(loss, activation, alphabet)``; `taken` says the same in words. `orthogonal`: it takes an
    `Orthogonality` as its ``setting``. `seeded`: a reference that every seed gives another model.
    """

    run: Callable[..., Any]
    family: Family
    takes: Callable[[Loss, Activation, Alphabet], bool] = _everything
    taken: str = "every kind"
    orthogonal: bool = False
    seeded: bool = False


def _arm(name: str, family: Family, room: str = "", **more: Any) -> tuple[str, Arm]:
    return name, Arm(Later(f"{__name__}.{room}{name}:{name}"), family, **more)


#: a new arm is a file with a function of its name, and one entry here
ARMS: Registry[str, Arm] = Registry(
    "baseline",
    dict(
        [
            _arm("straight_through", "quantized", orthogonal=True),
            _arm("rounded_floats", "quantized"),
            _arm("random_signs", "quantized"),
            _arm(
                "annealing",
                "quantized",
                takes=_products_of_bits,
                taken="squared loss, bilinear, binary weights",
            ),
            _arm(
                "spectrahedra",
                "ceiling",
                takes=_bilinear_and_smooth,
                taken="the bilinear activation and a smooth loss",
            ),
            _arm(
                "quantized_spectrahedra",
                "afterwards",
                takes=_bilinear_and_smooth,
                taken="the bilinear activation and a smooth loss",
            ),
            _arm("logistic_regression", "reference", "references."),
            _arm("rbf_svm", "reference", "references."),
            _arm("gradient_boosting", "reference", "references."),
            _arm("float_mlp", "reference", "references.", orthogonal=True, seeded=True),
            _arm("quantized_mlp", "reference", "references.", seeded=True),
        ]
    ),
)


def _family(family: Family) -> tuple[str, ...]:
    return tuple(name for name, arm in ARMS.items() if arm.family == family)


QUANTIZED, CEILINGS, REFERENCES = _family("quantized"), _family("ceiling"), _family("reference")
AFTERWARDS = _family("afterwards")
#: those that make one network of a problem, of the width that they choose
WIDTHLESS = (*CEILINGS, *AFTERWARDS)
ALL = (*QUANTIZED, *WIDTHLESS, *REFERENCES)


def get_arm(name: str) -> Any:
    """The arm of this name, a function; InputError for another name."""
    run = ARMS.find(name).run
    return run.load() if isinstance(run, Later) else run
