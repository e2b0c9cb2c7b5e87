"""What may happen to every row of a file, and the asking: one row after the other, at any factor.

The sweep's blocks, `qnn robustness` and the gate of `qnn retrain` ask in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.datasets.examples import Examples, Network, answers
from qnn.certificates.robustness.question import Question
from qnn.errors import InputError
from qnn.robustness import Limits, Prover, Robustness

# How close, relative, the largest proven and the smallest attacked factor are brought.
TOLERANCE = 1e-3
Radius = float | Mapping[str, float]
Valid = tuple[float, float] | Mapping[str, tuple[float, float]] | None


@dataclass(frozen=True)
class Asked:
    """What may happen to every row; see `qnn.robustness.certify`.

    radius: one number, or one by column (others stay); unit: beside those of `certify` "range",
    that of each column in the file; limits: lowest and highest value, of all columns or by name;
    flips: categorical columns that may change, all at once.
    """

    radius: Radius
    norm: str = "linf"
    unit: str = "raw"
    limits: Valid = None
    flips: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The region in words."""
        what = {"raw": "", "scale": " standard deviations", "range": ""}[self.unit]

        def one(value: float) -> str:
            if self.unit == "range":
                return f"±{100.0 * value:g} % of the range"
            return f"±{value:g}{what}"

        if isinstance(self.radius, Mapping):
            region = ", ".join(f"{one(value)} of {name}" for name, value in self.radius.items())
            region = region or "no number"
        else:
            region = f"{one(self.radius)} of each column"
        if self.norm == "l2":
            region = f"the ellipsoid with the axes {region}"
        return region + "".join(f", any {name}" for name in self.flips)


@dataclass(frozen=True, eq=False)
class Furthest:
    """How far a row may move, in factors of the radius.

    certified: the largest with a proof, ``proof``'s; at 0 that may prove nothing. attacked: the
    smallest with a witness, ``attack``'s; infinite and None where none was found.
    """

    certified: float
    attacked: float
    proof: Robustness
    attack: Robustness | None


class Asker:
    """One network, the rows of one file and what may happen to them."""

    def __init__(
        self, network: Network, examples: Examples, asked: Asked, effort: str, search: Limits
    ) -> None:
        """Raises InputError for columns that the network does not have."""
        self.examples, self.asked, self.effort, self.search = examples, asked, effort, search
        self.prover = Prover(network)
        self.answers = answers(network, examples.rows)
        self.shape, self.unit = examples.radii(asked.radius, asked.unit)
        self.means: dict[str, Any] = means(examples.limits(asked.limits), asked.flips)
        examples.refuse_flips(asked.flips)
        if asked.norm == "l2" and asked.limits is not None:
            raise InputError("limits of values go with the norm linf, not with l2")

    @cached_property
    def factors(self) -> list[float]:
        """The radius of each number at the factor 1, in `unit`."""
        names = self.examples.names
        if isinstance(self.shape, Mapping):
            return [float(self.shape.get(name, 0.0)) for name in names]
        full = np.broadcast_to(np.asarray(self.shape, dtype=np.float64), len(names))
        return [float(value) for value in full]

    def label(self, index: int) -> Any:
        """The label of a row, the network's own answer where the file has none."""
        labels = self.examples.labels
        return self.answers[index] if labels is None else labels[index]

    def question(self, index: int) -> Question:
        """What is asked about a row at the factor 1; InputError where it cannot be asked."""
        return self.prover.question(
            self.examples.row(index), scaled(self.factors, 1.0), self.asked.norm,
            self.label(index), unit=self.unit, **self.means,
        )  # fmt: skip

    def certify(self, index: int, factor: float = 1.0) -> Robustness:
        """A row at a factor of the radius."""
        radius = scaled(self.factors, factor)
        return self.prover.certify(
            self.examples.row(index), radius, self.asked.norm, self.label(index), self.effort,
            unit=self.unit, search=self.search, **self.means,
        )  # fmt: skip

    def furthest(self, index: int) -> Furthest:
        """The largest factor at which a row is proven, the smallest at which it is not robust."""
        still = self.certify(index, 0.0)
        if still.verdict == "vulnerable":
            return Furthest(0.0, 0.0, still, still)
        far = self.prover.largest_radius(
            self.examples.row(index), self.factors, self.asked.norm, self.label(index),
            self.effort, tol=TOLERANCE, unit=self.unit, search=self.search, **self.means,
        )  # fmt: skip
        proof = still if far.proof is None else far.proof
        return Furthest(far.certified, far.attacked, proof, far.attack)


def means(limits: Valid, flips: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of `certify` beside the radius: limits, and any category of the flips, all."""
    return {
        "limits": limits,
        "choices": dict.fromkeys(flips, True),
        "swaps": max(len(flips), 1),
    }


def scaled(shape: list[float], factor: float) -> list[float]:
    """The radii at a factor, bit for bit as `largest_radius` multiplies them."""
    return [factor * value for value in shape]
