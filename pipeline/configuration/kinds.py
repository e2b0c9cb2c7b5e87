"""The kinds of problem and of network that a sweep can ask for, and which go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from pipeline.configuration.section import Distinct, NonEmpty, Section, alone, one_or_several
from pipeline.configuration.vocabularies import ActivationName
from qnn.losses import LOSSES, Loss, MarginLoss, get_loss
from qnn.networks import activations
from qnn.networks.alphabets import Alphabet, get_alphabet
from qnn.training.arms import ARMS
from qnn.training.rounding.registry import METHODS

# The columns of the results that say which kind of problem a row is of.
KIND = ("loss", "loss_parameter", "activation", "polynomial", "alphabet")

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

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """(a, b, c)."""
        return self.polynomial.a, self.polynomial.b, self.polynomial.c


class OrthogonalityConfig(Section):
    """How an arm's weights are kept near orthonormal; see `qnn.training.arms.orthonormal`."""

    kind: Literal["none", "soft", "sn", "aon", "bjorck"] = "none"
    order: Annotated[int, Field(ge=1, le=64)] = 1
    iterations: Annotated[int, Field(ge=1, le=64)] = 1
    gain: bool = True

    @property
    def written(self) -> tuple[str, int, int, bool]:
        """As ids and rows have it."""
        return self.kind, self.order, self.iterations, self.gain


Orthogonalities = Annotated[
    Annotated[OrthogonalityConfig, Tag("one")]
    | Annotated[
        tuple[OrthogonalityConfig, ...], NonEmpty, Distinct, AfterValidator(alone), Tag("several")
    ],
    Discriminator(one_or_several),
]


def orthogonality_problems(baselines: Sequence[str]) -> Iterator[str]:
    """A line where no arm takes an orthogonality."""
    takers = [name for name, arm in ARMS.items() if arm.orthogonal]
    if not set(takers) & set(baselines):
        yield f"orthogonality belongs to baselines {' and '.join(takers)}: add one, or remove it"


def _by_name(value: Any) -> str:
    return "coefficients" if isinstance(value, (dict, PolynomialActivation)) else "name"


Activation = Annotated[
    Annotated[ActivationName, Tag("name")] | Annotated[PolynomialActivation, Tag("coefficients")],
    Discriminator(_by_name),
]


@dataclass(frozen=True)
class Kind:
    """What is minimised over which networks, whatever the data and β.

    `polynomial` is (a, b, c), None for the bilinear activation; `loss_parameter`, as huber's δ, is
    None for that of the library.
    """

    loss: str = "squared"
    loss_parameter: float | None = None
    polynomial: tuple[float, float, float] | None = None
    alphabet: str = "binary"

    @property
    def activation(self) -> str:
        """Bilinear or polynomial."""
        return "bilinear" if self.polynomial is None else "polynomial"

    def get_loss(self) -> Loss:
        """The loss itself."""
        return get_loss(self.loss, self.loss_parameter)

    def get_activation(self) -> activations.Activation:
        """The activation itself."""
        if self.polynomial is None:
            return activations.get_activation("bilinear")
        return activations.Polynomial(*self.polynomial)

    @property
    def parts(self) -> tuple[Loss, activations.Activation, Alphabet]:
        """Loss, activation and alphabet themselves."""
        return self.get_loss(), self.get_activation(), get_alphabet(self.alphabet)

    @property
    def columns(self) -> dict[str, Any]:
        """The kind as the columns `KIND` of a row."""
        named: dict[str, Any] = {name: getattr(self, name) for name in KIND}
        if self.polynomial is not None:
            named["polynomial"] = ", ".join(f"{value:.17g}" for value in self.polynomial)
        return named

    @property
    def words(self) -> tuple[str, str, str]:
        """Loss, activation and weights, each in a word or two."""
        loss, activation = self.loss, self.activation
        if self.loss_parameter is not None:
            loss = f"{loss} ({self.loss_parameter:g})"
        if self.polynomial is not None:
            activation = "polynomial ({:g}, {:g}, {:g})".format(*self.polynomial)
        return loss, activation, self.alphabet + (" bit" if self.alphabet.isdecimal() else "")

    def describe(self) -> str:
        """The kind in a sentence's words."""
        return "{} loss, {}, {} weights".format(*self.words)

    def resolved(self) -> Kind:
        """The kind with the parameter that its loss uses."""
        return _resolved(self)


@cache
def _resolved(kind: Kind) -> Kind:
    return replace(kind, loss_parameter=kind.get_loss().parameter)


def kind_of(row: Mapping[str, Any]) -> Kind:
    """The kind, resolved, of a row of the results (of a table or of a data frame)."""
    return _kind(*(None if row[name] != row[name] else row[name] for name in KIND))


@cache
def _kind(
    loss: str, parameter: float | None, activation: str, polynomial: str | None, alphabet: str
) -> Kind:
    coefficients = None
    if polynomial is not None:
        a, b, c = map(float, polynomial.split(","))
        coefficients = a, b, c
    return Kind(loss, parameter, coefficients, alphabet).resolved()


def differing_words(kinds: Sequence[Kind]) -> list[str]:
    """For each of several kinds what tells it from the others; nothing where there is one."""
    columns = []
    for place, words in enumerate(zip(*(kind.words for kind in kinds), strict=True)):
        # The numbers of a polynomial are only needed beside another one.
        names = [kind.activation for kind in kinds] if place == 1 else words
        if len(set(words)) > 1:
            columns.append(names if len(set(names)) == len(set(words)) else words)
    return [", ".join(words) for words in zip(*columns, strict=True)] or [""] * len(kinds)


def network_problems(kind: Kind, task: str, roundings: Sequence[str]) -> Iterator[str]:
    """What does not go together among them: one line each, with what to choose instead."""
    if task == "regression" and issubclass(LOSSES[kind.loss], MarginLoss):
        *most, last = (name for name in LOSSES if not issubclass(LOSSES[name], MarginLoss))
        yield (
            f"loss {kind.loss} takes two classes, but task is regression: use {', '.join(most)} or "
            f"{last}"
        )
    for rounding in roundings:
        method = METHODS[rounding]
        if method.activation not in (None, kind.activation):
            yield (
                f"rounding {rounding} needs the {method.activation} activation, but activation is "
                f"{kind.activation}: use rounding: [refined]"
            )
        if method.alphabet not in (None, kind.alphabet):
            yield (
                f"rounding {rounding} makes {method.alphabet} weights, but alphabet is "
                f"{kind.alphabet}: use rounding: [refined], or alphabet: {method.alphabet}"
            )


def arm_takes(arm: str, kind: Kind) -> bool:
    """Whether an arm to compare with can be run on this kind of problem."""
    return ARMS[arm].takes(*kind.parts)


def arms_of(baselines: Sequence[str], kind: Kind, kinds: Sequence[Kind]) -> tuple[str, ...]:
    """The arms that are run on one of a sweep's kinds of problem, sorted.

    Each that takes it; the references, which are the same beside every kind, on one of them.
    """
    first = min(kinds, key=Kind.describe)
    return tuple(
        sorted(
            arm
            for arm in baselines
            if (kind == first if ARMS[arm].family == "reference" else arm_takes(arm, kind))
        )
    )


def baseline_problems(baselines: Sequence[str], kinds: Sequence[Kind]) -> Iterator[str]:
    """Arms to compare with that can take none of the kinds: one line each."""
    got = f"none of {len(kinds)} kinds is"
    if len(kinds) == 1:
        got = f"got {kinds[0].loss}, {kinds[0].activation}, {kinds[0].alphabet}"
    for arm in baselines:
        if not any(arm_takes(arm, kind) for kind in kinds):
            yield f"baseline {arm} takes {ARMS[arm].taken} ({got}): remove it"
