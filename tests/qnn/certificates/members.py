"""Certificates by the members of their files: to look at one, and to write over it."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.proofs import PROOFS
from qnn.certificates.record import Certificate
from qnn.numerics.archive import pack_arrays


def names() -> set[str]:
    """Of every member that any certificate of a training problem has."""
    own = {name for proof in PROOFS.values() for name in proof.fields}
    return {"nu", "kind", "method", "format", *Claim.fields, *own}


def members(certificate: Certificate) -> SimpleNamespace:
    """What its file holds; None for a member that it does not have."""
    return SimpleNamespace(**{**dict.fromkeys(names()), **certificate.arrays()})


def changed(certificate: Certificate, **changes: Any) -> Certificate:
    """What a file says in which these members are written over; None leaves one out.

    Raises NotACertificateError, from "changed: ", where nobody could read such a file.
    """
    return Certificate.from_bytes(changed_bytes(certificate, **changes), "changed")


def changed_bytes(certificate: Certificate, **changes: Any) -> bytes:
    """The bytes of that file, readable or not."""
    arrays: dict[str, Any] = {**certificate.arrays(), **changes}
    kept = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    return pack_arrays(kept)
