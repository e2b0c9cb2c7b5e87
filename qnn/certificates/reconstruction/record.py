"""What is claimed of a decoder on a box of latents, and the numbers that prove it: one npz file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from qnn.certificates.fields import FieldByField, Reader, integer, number, numbers, text
from qnn.certificates.reconstruction.checker import proven_loss, verify
from qnn.errors import CertificateError

Array = np.ndarray
FORMAT = 1


@dataclass(frozen=True, eq=False)
class ReconstructionCertificate(FieldByField):
    """Proves ``||decoder(z) - target||^2 <= upper_bound`` where ``|z - latents| <= radii``.

    network_sha256: of the decoder's npz file, bit for bit. latents, radii (d,), target (q,).
    splits, cuts (nodes,), multipliers: a tree that covers the box, in preorder, as of a
    `RobustnessCertificate`: of a leaf -1 where multipliers prove it, -2 where linear bounds do.
    method says how they were found, for readers alone.
    """

    network_sha256: str
    latents: Array
    radii: Array
    target: Array
    upper_bound: float
    splits: Array
    cuts: Array
    multipliers: Array
    method: str = "dual"
    format: int = FORMAT

    kind: ClassVar[str] = "reconstruction"
    evidence: ClassVar[str | None] = "network"
    claims: ClassVar[str] = "reconstruction"
    version: ClassVar[int] = FORMAT
    readers: ClassVar[Mapping[str, Reader]] = {
        "network_sha256": text,
        "latents": numbers(1),
        "radii": numbers(1),
        "target": numbers(1),
        "upper_bound": number,
        "splits": numbers(1, np.int64),
        "cuts": numbers(1),
        "multipliers": numbers(1),
        "method": text,
        "format": integer,
    }

    def check(self, evidence: bytes | None, fast: bool = False) -> str:
        """What is proven, in a few words; CertificateError where anything is not."""
        if evidence is None:
            raise CertificateError("it speaks of a network: give the network's file")
        bound = proven_loss(self, evidence)
        return f"reconstruction loss at most {bound:.8g} in the whole box of latents"

    def verify(self, *evidence: Any, fast: bool = False) -> float:
        """The proven loss; evidence: the network, or its file's bytes."""
        (network,) = evidence
        return verify(self, network)

    def stating(self, bound: float) -> ReconstructionCertificate:
        """The same proof with another bound written on it."""
        return replace(self, upper_bound=bound)
