"""The kinds of problem and of network that a sweep can ask for, and which go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pipeline.section import Section

Loss = Literal["squared", "logistic", "hinge", "squared_hinge", "huber", "absolute"]
# A number is that of bits.
Alphabet = Literal["binary", "ternary", 2, 3, 4, 5, 6, 7]
SecondLayer = Literal["float", "common", 2, 3, 4, 5, 6, 7, 8]
MARGIN_LOSSES = ("logistic", "hinge", "squared_hinge")

Number = Annotated[float, Field(allow_inf_nan=False)]


class Coefficients(Section):
    """The polynomial `σ(t) = at² + bt + c`."""

    a: Number = 0.0
    b: Number = 0.0
    c: Number = 0.0

    @model_validator(mode="after")
    def _not_zero(self) -> Coefficients:
        if self.a == self.b == self.c == 0.0:
            raise PydanticCustomError("one_of", "a, b and c must not all be 0")
        return self


class PolynomialActivation(Section):
    """A polynomial activation by its coefficients."""

    polynomial: Coefficients


def _by_name(value: Any) -> str:
    return "coefficients" if isinstance(value, (dict, PolynomialActivation)) else "name"


Activation = Annotated[
    Annotated[Literal["bilinear"], Tag("name")]
    | Annotated[PolynomialActivation, Tag("coefficients")],
    Discriminator(_by_name),
]


def network_problems(
    loss: str,
    loss_parameter: float | None,
    activation: str,
    alphabet: str,
    task: str,
    roundings: Sequence[str],
) -> Iterator[str]:
    """What does not go together among them: one line each, with what to choose instead."""
    if loss in MARGIN_LOSSES and task == "regression":
        yield (
            f"loss {loss} takes two classes, but task is regression: use squared, huber or absolute"
        )
    if loss_parameter is not None and loss != "huber":
        yield f"loss_parameter is huber's delta, but loss is {loss}: remove it"
    if "krivine" in roundings:
        if activation != "bilinear":
            yield (
                "rounding krivine needs the bilinear activation, but activation is "
                f"{activation}: use rounding: [refined]"
            )
        if alphabet != "binary":
            yield (
                f"rounding krivine makes binary weights, but alphabet is {alphabet}: use "
                "rounding: [refined], or alphabet: binary"
            )


def baseline_problems(
    baselines: Sequence[str], loss: str, activation: str, alphabet: str
) -> Iterator[str]:
    """Arms to compare with that cannot take the problem: one line each."""
    kind = f"(got {loss}, {activation}, {alphabet}): remove it"
    if "annealing" in baselines and (loss, activation, alphabet) != (
        "squared",
        "bilinear",
        "binary",
    ):
        yield f"baseline annealing takes squared loss, bilinear, binary weights {kind}"
    if "spectrahedra" in baselines and (activation != "bilinear" or loss in ("hinge", "absolute")):
        yield f"baseline spectrahedra takes the bilinear activation and a smooth loss {kind}"
