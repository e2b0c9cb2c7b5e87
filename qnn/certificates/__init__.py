"""The trusted kernel: records of proofs, their readers, and what checks them; nothing makes any.

It imports numerics, losses and errors alone. What is proven here is proven for whoever reads these
files, whatever made the certificate.

A kind of certificate is a module of this folder (or a folder in it), of the name that its files
carry in the member ``kind``. Adding one touches no other file. It has, or its ``__init__`` names,
one class that fits `Proven`:

* ``kind``, a class attribute: the module's name, and what ``arrays()["kind"]`` holds;
* ``evidence``, a class attribute: what is needed besides the certificate, in a word that messages
  use, such as "network"; None where the file says everything;
* ``from_arrays(arrays, where)``: the record from the members of an npz file, already read without
  pickle; raises InputError that begins with ``where`` for a missing, foreign or mistyped one;
* ``arrays()``: those members, in the file's order; ``save`` and ``to_bytes`` write them;
* ``check(evidence, fast)``: proves the claim from the record and the bytes of the evidence's file
  (None where there is none), and returns it in a few words, as "bound 1.25"; raises
  CertificateError where anything is not proven, and with ``fast`` may raise NotProvenAgainError
  instead of a long proof. This is what `qnn verify FILE` calls;
* ``verify(*evidence, fast=False)``: the proven number, from objects in memory; this is what
  `qnn.verify` calls.

The kinds "relaxation", "tightened" and "exact" are one record, `Certificate`: a claim about a
training problem, a dual point and a proof; the proofs are files of their own in ``proofs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar, Protocol, Self, cast, overload

import numpy as np

from qnn.certificates import checker
from qnn.certificates.proofs import PROOFS
from qnn.certificates.record import Certificate
from qnn.errors import InputError

__all__ = ["Certificate", "Proven", "kind_of", "read_certificate", "verify"]

Array = np.ndarray


class Proven(Protocol):
    """What each kind of certificate but the training problem's offers; see above."""

    kind: ClassVar[str]
    evidence: ClassVar[str | None]

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array], where: str) -> Self:
        """The record; ``where`` names the arrays' origin in errors."""

    def arrays(self) -> dict[str, Array]:
        """The file's members in their order."""

    def check(self, evidence: bytes | None, fast: bool = False) -> str:
        """What is proven, in a few words; raises CertificateError where it is not."""

    def verify(self, *evidence: Any, fast: bool = False) -> float:
        """The proven number."""


def kind_of(arrays: Mapping[str, Array]) -> str | None:
    """The kind that a file's members state; None where it is not a certificate's file."""
    tag = arrays.get("kind")
    if tag is None or tag.dtype.kind != "U" or tag.ndim != 0:
        return None
    return str(tag)


def read_certificate(arrays: dict[str, Array], where: str) -> Certificate | Proven:
    """The record of whatever kind the members state; InputError where it is of none."""
    kind = kind_of(arrays)
    found = None if kind is None else _class_of(kind)
    if found is not None:
        return found.from_arrays(arrays, where)
    if kind is None or "nu" in arrays or kind in {proof.kind for proof in PROOFS.values()}:
        return Certificate.from_arrays(arrays, where)
    raise InputError(
        f"{where}: a certificate of the kind {kind!r}, which this version of qnn does not have: "
        "use the version that wrote it"
    )


@overload
def verify(certificate: Certificate, X: Array, y: Array, fast: bool = False) -> float: ...


@overload
def verify(certificate: Proven, *evidence: Any, **options: Any) -> float: ...


def verify(certificate: Certificate | Proven, *evidence: Any, **options: Any) -> float:
    """The number that a certificate of any kind proves, with the evidence that the kind needs.

    Of a training problem: ``verify(certificate, X, y, fast=False)``, see
    `qnn.certificates.checker.verify`. Raises CertificateError where anything is not proven.
    """
    if isinstance(certificate, Certificate):
        return checker.verify(certificate, *evidence, **options)
    return certificate.verify(*evidence, **options)


def _class_of(kind: str) -> type[Proven] | None:
    # Only modules that are here are imported, whatever a file says.
    if kind in {module.name for module in iter_modules(__path__)}:
        for found in vars(import_module(f"{__name__}.{kind}")).values():
            if isinstance(found, type) and vars(found).get("kind") == kind:
                return cast("type[Proven]", found)
    return None
