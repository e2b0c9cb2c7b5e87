"""What is claimed of a network around one row, and the numbers that prove it: one npz file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.fields import Filed
from qnn.certificates.robustness.checker import proven_margin, verify
from qnn.certificates.robustness.question import Question
from qnn.errors import CertificateError, InputError

Array = np.ndarray

FORMAT = 1
_TEXTS = ("kind", "network_sha256", "norm", "categories", "choices", "method")
_INTEGERS = ("format", "swaps", "label", "output")
_NUMBERS = ("numbers", "radii", "lowest", "highest", "band", "cuts", "multipliers")


@dataclass(frozen=True, eq=False)
class RobustnessCertificate(Filed):
    """Proves that the worst margin of a question is at least ``lower_bound``.

    For each margin (label against every other class, or one end of the band) and each cell of the
    region (a choice of categories) there is a tree that covers the cell, in preorder. ``splits``
    (nodes,): -1 or -2 for a leaf, else what is split: an input, or the number of inputs plus a
    hidden neuron. ``cuts`` (nodes,): where an input is split, NaN for its two ends; of a neuron 0.
    ``multipliers``: the leaves' numbers one after the other, see `quadratic` and `relu` beside this
    file. ``method`` says how they were found, for readers alone.
    """

    question: Question
    lower_bound: float
    splits: Array
    cuts: Array
    multipliers: Array
    method: str = "dual"

    kind: ClassVar[str] = "robustness"
    evidence: ClassVar[str | None] = "network"

    def arrays(self) -> dict[str, Array]:
        """The file's members in their order."""
        question = self.question
        arrays: dict[str, Array] = {
            "format": np.array(FORMAT, dtype="<i8"),
            "kind": np.array(self.kind),
            "network_sha256": np.array(question.network_sha256),
            "norm": np.array(question.norm),
            "categories": np.array(json.dumps(question.categories, ensure_ascii=False)),
            "choices": np.array(json.dumps(question.choices, ensure_ascii=False)),
            "method": np.array(self.method),
            "lower_bound": np.array(self.lower_bound, dtype="<f8"),
            "splits": np.asarray(self.splits, dtype="<i4"),
        }
        for name in _INTEGERS[1:]:
            arrays[name] = np.array(getattr(question, name), dtype="<i8")
        for name in _NUMBERS:
            owner = self if name in ("cuts", "multipliers") else question
            arrays[name] = np.asarray(getattr(owner, name), dtype="<f8")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> Self:
        """The record from plain arrays; InputError for a foreign, missing or mistyped field."""
        known = {*_TEXTS, *_INTEGERS, *_NUMBERS, "splits", "lower_bound"}
        odd = sorted(known ^ set(arrays))
        if odd:
            word = "lacks" if odd[0] in known else "has"
            raise InputError(f"{where}: not a robustness certificate: it {word} {odd[0]!r}")
        try:
            values = {name: _value(name, array) for name, array in arrays.items()}
            if values["kind"] != cls.kind or values["format"] != FORMAT:
                raise ValueError("format")
            values["categories"] = _categories(values["categories"])
            values["choices"] = tuple(map(_texts, _parsed(values["choices"])))
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"{where}: not a robustness certificate of format {FORMAT}: the field {error} has "
                "the wrong type; use the version that wrote it"
            ) from None
        own = {name: values.pop(name) for name in ("splits", "cuts", "multipliers", "method")}
        bound = values.pop("lower_bound")
        del values["kind"], values["format"]
        return cls(Question(**values), bound, **own)

    def check(self, evidence: bytes | None, fast: bool = False) -> str:
        """What is proven, in a few words; CertificateError where anything is not."""
        if evidence is None:
            raise CertificateError("it speaks of a network: give the network's file")
        bound = proven_margin(self, evidence)
        word = "robust" if bound > 0.0 else "no proof of robustness"
        return f"margin {bound:.8g} in the whole region: {word}"

    def verify(self, *evidence: Any, fast: bool = False) -> float:
        """The proven margin; evidence: the network, or its file's bytes."""
        (network,) = evidence
        return verify(self, network)

    def stating(self, bound: float) -> RobustnessCertificate:
        """The same proof with another bound written on it."""
        return replace(self, lower_bound=bound)


def _value(name: str, array: Array) -> Any:
    kinds = {"U": _TEXTS, "i": (*_INTEGERS, "splits"), "f": (*_NUMBERS, "lower_bound")}
    kind = array.dtype.kind
    if name not in kinds.get(kind, ()) or (kind == "f" and array.dtype != np.float64):
        raise ValueError(name)
    if name in (*_NUMBERS, "splits"):
        if array.ndim != 1:
            raise ValueError(name)
        return array.astype(np.int64) if name == "splits" else array
    if array.ndim != 0:
        raise ValueError(name)
    return array.item()


def _parsed(text: str) -> list[Any]:
    value = json.loads(text)
    if not isinstance(value, list):
        raise ValueError("categories")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not (isinstance(value, list) and all(isinstance(entry, str) for entry in value)):
        raise ValueError("choices")
    return tuple(value)


def _categories(text: str) -> tuple[str | None, ...]:
    value = _parsed(text)
    if not all(entry is None or isinstance(entry, str) for entry in value):
        raise ValueError("categories")
    return tuple(value)
