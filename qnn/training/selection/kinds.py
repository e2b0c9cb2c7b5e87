"""What can be chosen from: encodings and losses for a table, and what was asked for instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qnn.errors import InputError, shown
from qnn.features.class_weights import ClassWeights
from qnn.features.preprocessing import FeatureLayout
from qnn.features.scalings import SCALINGS, check_thresholds
from qnn.features.targets import MULTI_CLASS, ONE_VS_ONE, ONE_VS_REST
from qnn.losses import get_loss
from qnn.losses.base import MarginLoss
from qnn.networks.activations import Activation, Polynomial

AUTO = "auto"
#: Scalings that are tried where none is named.
ENCODINGS = ("standardize", "weighted", "thermometer")
#: Thresholds of a numeric column that are tried, where they leave no more features than `WIDEST`.
THRESHOLDS = (3, 10)
#: Beyond this many features an SDP takes minutes and a neuron more than 64 bytes.
WIDEST = 256
#: Fractions of beta_max, large to small: a path. `p*(β)` is concave in β, at least 0 at 0 and the
#: zero network's loss ℓ(0) at beta_max, so that at a fraction φ *every* network, however wide, has
#: an objective of φ ℓ(0) or more: cells above 0.2 under-fit by that bound and are never solved.
FRACTIONS = (0.2, 0.1, 0.05, 0.025, 0.012, 0.006, 0.003, 0.0015, 0.0007)
#: `σ(t) = t`: sums of ±1 directions. With it the network is linear in the features, on bits a sum
#: of step functions of a column each, and a neuron has one weight vector instead of two.
LINEAR = Polynomial(0.0, 1.0, 0.0)
#: The constant column of sums of bits, where the encoding is chosen: bits have no mean of 0, and at
#: 1 the price of a neuron limits an offset as it does the weight of one bit.
BIAS_OF_BITS = 32
#: Bits of the second layer: a float's 64 are most of what a neuron of few columns takes.
SECOND_LAYER = 8
#: Most classes that are tried in pairs: 91 outputs.
MOST_PAIRED = 14
#: Most neurons of an output.
WIDTHS = (64, 32, 16, 8, 4)


@dataclass(frozen=True)
class Kind:
    """What a network is made of, but β and width.

    `columns` are those that it reads, None for all; `bias` is what the constant column holds.
    """

    scaling: str
    thresholds: int
    loss: str
    activation: str | Activation = "bilinear"
    multi_class: str = ONE_VS_REST
    columns: tuple[str, ...] | None = None
    bias: int = True

    def __str__(self) -> str:
        bits = f" {self.thresholds}" if SCALINGS[self.scaling].bits else ""
        linear = ", linear" if self.activation == LINEAR else ""
        pairs = ", pairs" if self.multi_class == ONE_VS_ONE else ""
        columns = "" if self.columns is None else f", {len(self.columns)} columns"
        return f"{self.scaling}{bits}, {self.loss}{linear}{pairs}{columns}"

    def paired(self, classes: Sequence[Any] | None) -> Kind | None:
        """The same with classes told apart in pairs; None where that is not to be tried.

        It takes three classes or more, a loss that rows can be left out of, and no more outputs
        than a sweep can have.
        """
        count = len(classes or ())
        takes = isinstance(get_loss(self.loss), MarginLoss)
        if not (takes and 2 < count <= MOST_PAIRED and self.multi_class == ONE_VS_REST):
            return None
        return replace(self, multi_class=ONE_VS_ONE)


@dataclass(frozen=True)
class Wanted:
    """What the caller fixed; "auto" where it is to be chosen.

    `beta_fraction` a number in (0, 1], `width` a number or None (as many neurons as the optimum
    has). An `activation` that is not named is chosen with the scaling, else bilinear. The rest is
    not chosen: `multi_class` "auto" is chosen with whatever else is, `alphabet` and
    `loss_parameter` are as `qnn.Problem` takes them, `class_weight` says what rows count for where
    networks are trained and judged; networks of fewer than `least_width` neurons an output are
    never to be (else `max_bytes` narrows `width`), `layout` is what else
    `FeatureLayout.from_table` takes, and `refusal` says why a kind cannot be taken (None: it can):
    such are not compared.
    """

    scaling: str = AUTO
    thresholds: int | str = AUTO
    loss: str = AUTO
    beta_fraction: float | str = AUTO
    width: int | str | None = AUTO
    loss_parameter: float | None = None
    activation: str | Activation = AUTO
    multi_class: str = AUTO
    alphabet: str | int = "binary"
    second_layer: str | int = SECOND_LAYER
    max_bytes: int | None = None
    least_width: int = 1
    class_weight: ClassWeights | None = None
    layout: tuple[tuple[str, Any], ...] = ()
    refusal: Callable[[Kind], str | None] | None = None

    def __post_init__(self) -> None:
        fraction, width = self.beta_fraction, self.width
        if not (isinstance(self.thresholds, str) and self.thresholds == AUTO):
            check_thresholds(self.thresholds)
        if fraction != AUTO and not (_number(fraction) and 0.0 < float(fraction) <= 1.0):
            raise InputError(f"beta_fraction must be above 0 and at most 1 (got {shown(fraction)})")
        if width not in (None, AUTO) and not (_whole(width) and int(width) >= 1):
            raise InputError(
                f"width must be a whole number of neurons, 1 or more (got {shown(width)})"
            )
        most = self.max_bytes
        if most is not None and not (_whole(most) and most >= 1):
            raise InputError(f"max_bytes must be a whole number of at least 1 (got {shown(most)})")
        if self.multi_class not in (AUTO, *MULTI_CLASS):
            known = ", ".join((AUTO, *MULTI_CLASS))
            raise InputError(f"multi_class must be one of {known} (got {shown(self.multi_class)})")

    @property
    def chooses(self) -> bool:
        """Whether anything is left to choose."""
        return AUTO in (self.scaling, self.thresholds, self.loss, self.beta_fraction, self.width)

    @property
    def fractions(self) -> tuple[float, ...]:
        """The fractions of the path."""
        return FRACTIONS if self.beta_fraction == AUTO else (float(self.beta_fraction),)

    @property
    def activations(self) -> tuple[str | Activation, ...]:
        """The activations that are compared."""
        if self.activation != AUTO:
            return (self.activation,)
        return ("bilinear", LINEAR) if self.scaling == AUTO else ("bilinear",)

    @property
    def reduces(self) -> bool:
        """Whether columns may be left out: where the encoding is chosen, and they are not given."""
        return self.scaling == AUTO and "columns" not in dict(self.layout)

    @property
    def widths(self) -> tuple[int, ...]:
        """Most neurons of an output, wide to narrow."""
        if self.width == AUTO:
            return WIDTHS
        return (WIDTHS[0] if self.width is None else int(self.width),)

    def layout_of(self, kind: Kind, table: Any) -> FeatureLayout:
        """The layout that a kind has on a table."""
        options = {**dict(self.layout), "scaling": kind.scaling, "thresholds": kind.thresholds}
        rounds = kind.scaling in SCALINGS and SCALINGS[kind.scaling].rounds
        options["compact"] = rounds and options.get("compact", self.scaling == AUTO)
        if self.scaling == AUTO and SCALINGS[kind.scaling].bits:
            options.pop("clip", None)
        options.setdefault("bias", kind.bias)
        if kind.columns is not None:
            options["columns"] = kind.columns
        return FeatureLayout.from_table(table, **options)

    def kinds(self, table: Any, classes: Sequence[Any] | None) -> tuple[Kind, ...]:
        """The kinds that are compared on a table, those of fewer features first."""
        losses = (self.loss,)
        if self.loss == AUTO:
            losses = ("logistic",) if classes is not None else ("squared",)
        for loss in losses:
            self._check_loss(loss, classes)
        encodings: dict[tuple[str, int], int] = {}
        for scaling, thresholds in self._encodings(table):
            layout = self.layout_of(Kind(scaling, thresholds, losses[0]), table)
            # Thresholds that no column has enough values for make the same features.
            encodings.setdefault((scaling, layout.d), thresholds)
        found = sorted((thresholds, scaling) for (scaling, _), thresholds in encodings.items())
        multi_class = ONE_VS_REST if self.multi_class == AUTO else self.multi_class
        every = tuple(
            Kind(
                scaling, thresholds, loss, activation, multi_class,
                bias=self._bias(activation, scaling),
            )
            for activation in self.activations
            for thresholds, scaling in found
            for loss in losses
        )  # fmt: skip
        return every if self.refusal is None else self._taken(every, self.refusal)

    def _taken(
        self, kinds: tuple[Kind, ...], refusal: Callable[[Kind], str | None]
    ) -> tuple[Kind, ...]:
        refused = {kind: refusal(kind) for kind in kinds}
        taken = tuple(kind for kind, why in refused.items() if why is None)
        if not taken:
            raise InputError(
                f"nothing that could be chosen fits, as {kinds[0]}: {refused[kinds[0]]}"
            )
        return taken

    def _bias(self, activation: str | Activation, scaling: str) -> int:
        sums_of_bits = activation == LINEAR and SCALINGS[scaling].bits
        own = BIAS_OF_BITS if self.scaling == AUTO and sums_of_bits else True
        return int(dict(self.layout).get("bias", own))

    def _check_loss(self, name: str, classes: Sequence[Any] | None) -> None:
        loss = get_loss(name, self.loss_parameter)
        paired = self.multi_class == ONE_VS_ONE and len(classes or ()) > 2
        if paired and not isinstance(loss, MarginLoss):
            raise InputError(
                f"multi_class one_vs_one needs a loss of classes, such as logistic (got {name})"
            )

    def _encodings(self, table: Any) -> list[tuple[str, int]]:
        scalings = ENCODINGS if self.scaling == AUTO else (self.scaling,)
        found = []
        for scaling in scalings:
            if scaling not in SCALINGS or not SCALINGS[scaling].bits:
                found.append((scaling, THRESHOLDS[0]))
            elif self.thresholds != AUTO:
                found.append((scaling, int(self.thresholds)))
            else:
                found += [(scaling, count) for count in self._fitting(scaling, table)]
        return found

    def _fitting(self, scaling: str, table: Any) -> list[int]:
        """Numbers of thresholds that keep the features within `WIDEST`; the least at any rate."""
        least, *more = THRESHOLDS
        counts = [least]
        for most in more:
            for count in range(most, least, -1):
                if self.layout_of(Kind(scaling, count, "squared"), table).d <= WIDEST:
                    counts.append(count)
                    break
        return list(np.unique(counts).tolist())


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
