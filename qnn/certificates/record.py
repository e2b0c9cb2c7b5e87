"""The certificate of a training problem: all that is needed to check a bound, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Filed, Reader, integer, numbers, text
from qnn.certificates.proofs import PROOFS, Proof, proof_of
from qnn.errors import CertificateError, NotACertificateError

Array = np.ndarray

FORMAT = 1
_OWN: Mapping[str, Reader] = {"nu": numbers(1), "kind": text, "method": text, "format": integer}


@dataclass(frozen=True, eq=False)
class Certificate(Filed):
    """A dual point whose objective bounds every network of a problem, of any width, from below.

    claim : the problem and the bound.
    nu : (n,) the dual point; empty where the proof computes it from each row (`StreamedProof`).
    proof : why the point is feasible, that is ``|u'M(nu)v| <= beta d`` for all signs u, v
        (bilinear, ``M(nu) = X' diag(nu) X``) or ``|u'M(nu)u| <= beta d`` for all signs with a last
        one of +1 (polynomial). The bound is ``-g*(-nu)``, less what verified arithmetic takes off.

    In a file the three are members side by side; those without a value are left out.
    """

    claim: Claim
    nu: Array
    proof: Proof

    def stating(self, **claim: Any) -> Certificate:
        """The same point and proof with these fields of the claim written over, as ``data``."""
        return replace(self, claim=replace(self.claim, **claim))

    @property
    def kind(self) -> str:
        """The level of proof: "relaxation", "tightened", "exact", or what a newer proof says."""
        return self.proof.kind

    @property
    def method(self) -> str | None:
        """How a proof of its kind works, where the kind has several."""
        return self.proof.method

    @property
    def lower_bound(self) -> float:
        """The bound that is claimed."""
        return self.claim.lower_bound

    @property
    def beta(self) -> float:
        """The problem's beta."""
        return self.claim.beta

    @property
    def d(self) -> int:
        """The problem's columns."""
        return self.claim.d

    @property
    def loss(self) -> str:
        """The problem's loss, by name."""
        return self.claim.loss

    @property
    def loss_parameter(self) -> float | None:
        """The loss's number, where it has one."""
        return self.claim.loss_parameter

    @property
    def activation(self) -> str:
        """The problem's activation, by name."""
        return self.claim.activation

    @property
    def polynomial(self) -> Array | None:
        """The coefficients (3,) of a polynomial activation."""
        return self.claim.polynomial

    @property
    def alphabet(self) -> str:
        """The problem's alphabet, by name."""
        return self.claim.alphabet

    @property
    def weights(self) -> Array | None:
        """What each row counts for (n,); None where all count 1."""
        return self.claim.weights

    @property
    def output(self) -> int:
        """Which target of the data it speaks of."""
        return self.claim.output

    @property
    def data(self) -> str:
        """The file of the training matrix."""
        return self.claim.data

    @property
    def data_sha256(self) -> str:
        """The SHA-256 of its rows [x, y]."""
        return self.claim.data_sha256

    @property
    def format(self) -> int:
        """The number of the file's format."""
        return FORMAT

    def arrays(self) -> dict[str, Array]:
        """The members of the file as plain arrays, those without a value left out."""
        claim = {field.name: getattr(self.claim, field.name) for field in fields(Claim)}
        last = {"output": claim.pop("output"), "data": claim.pop("data"), "format": FORMAT}
        values = {"nu": self.nu, **claim, **self.proof.members(), **last}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    def check_types(self) -> None:
        """Raise CertificateError where an array is of another type than files have.

        Sums of fewer digits round by more than checks allow for.
        """
        readers = {**_OWN, **Claim.fields, **self.proof.fields}
        for name, array in self.arrays().items():
            try:
                if array.ndim:
                    readers[name](array)
            except ValueError:
                raise CertificateError(f"{name} has the wrong type ({array.dtype})") from None

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> Self:
        """The record from plain arrays; ``where`` names their origin in errors.

        Raises NotACertificateError, which is an InputError, where they do not make one.
        """
        values = _values(arrays, where)
        claim = {name: values[name] for name in Claim.fields if name in values}
        try:
            return cls(Claim(**claim), values["nu"], _proof(values))
        except CertificateError as error:
            raise NotACertificateError(f"{where}: {error}") from None


def _values(arrays: dict[str, Array], where: str) -> dict[str, Any]:
    """The members as what they are; raises where one is missing, foreign or of another type."""
    readers = {**_OWN, **Claim.fields}
    for proof in PROOFS.values():
        readers.update(proof.fields)
    needed = {"nu", "kind", "format", *Claim.fields} - set(Claim.optional)
    missing, foreign = needed - set(arrays), set(arrays) - set(readers)
    if missing or foreign:
        what = f"lacks {sorted(missing)[0]!r}" if missing else f"has {sorted(foreign)[0]!r}"
        raise NotACertificateError(f"{where}: not a certificate of format {FORMAT}: it {what}")
    try:
        values = {name: readers[name](array) for name, array in arrays.items()}
    except (TypeError, ValueError):
        raise NotACertificateError(
            f"{where}: a field of the certificate has the wrong type"
        ) from None
    if values["format"] != FORMAT:
        raise NotACertificateError(
            f"{where}: certificate format {values['format']} is not {FORMAT}: use the version "
            "that wrote it"
        )
    return values


def _proof(values: dict[str, Any]) -> Proof:
    kind, method = values["kind"], values.get("method")
    found = proof_of(kind, method, compressed="nu_matrix" in values)
    own = {name: value for name, value in values.items() if name in found.fields}
    for name in sorted(set(values) - {*_OWN, *Claim.fields, *own}):
        owners = (proof for proof in PROOFS.values() if name in proof.fields)
        owner = min(owners, key=lambda proof: len(proof.fields))
        raise CertificateError(owner.misplaced.format(name=name, kind=kind, method=method))
    return found.read(own)
