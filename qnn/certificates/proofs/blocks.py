"""The proof of the relaxation where rows lie in blocks on many machines, for every loss.

The dual point is computed from each row by a formula, ``nu_i = -t l'(x_i' Z x_i, y_i)`` with a
(d, d) matrix Z and a number t; of a loss with kinks the derivative is that of its Moreau envelope
``min over r of l(r) + (r - v)^2 / (2 s)``, which is ``(v - prox(v)) / s`` and lies in the
conjugate's domain (J.-J. Moreau, 1965). The numbers that the formula gives in floating arithmetic
*are* the dual point that is proven; only sums over rows need bounds of their errors.

The rows are named by the root of a Merkle tree over the blocks' SHA-256, as in RFC 6962.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Self

import numpy as np

from qnn.certificates.claim import Claim
from qnn.certificates.fields import Reader, number, numbers
from qnn.certificates.proofs.base import Proof
from qnn.certificates.proofs.diagonal import (
    DIAGONALS,
    check_diagonals,
    named,
    prove_diagonals,
    read_diagonals,
)
from qnn.errors import CertificateError, InputError
from qnn.losses import Loss, get_loss
from qnn.numerics.blocks import tree_sum

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class BlocksProof(Proof):
    """``diagonals``: one (d,) for M and -M; ``nu_matrix`` (d, d): Z.

    ``nu_scale``: t; ``nu_smoothing``: s, 0 where the loss has a derivative of its own.
    ``block_rows`` (B,) int64, ``block_sha256`` (B, 32) uint8 and ``block_values`` (B,): of each
    block its number of rows, their digest, and what is stated of its part of the dual value.
    """

    name: ClassVar[str] = "blocks"
    kind: ClassVar[str] = "relaxation"
    method: ClassVar[str | None] = "blocks"
    fields: ClassVar[Mapping[str, Reader]] = {
        **DIAGONALS,
        "nu_matrix": numbers(2),
        "nu_scale": number,
        "nu_smoothing": number,
        "block_rows": numbers(1, np.int64),
        "block_sha256": numbers(2, np.uint8),
        "block_values": numbers(1),
    }
    compressed: ClassVar[bool] = True

    diagonals: tuple[Array, ...]
    nu_matrix: Array
    nu_scale: float
    nu_smoothing: float
    block_rows: Array
    block_sha256: Array
    block_values: Array

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Self:
        """From all its members."""
        own = [name for name in cls.fields if name not in DIAGONALS]
        for name in own:
            if name not in members:
                raise CertificateError(f"{name} is missing: a proof over blocks needs it")
        return cls(read_diagonals(members), *(members[name] for name in own))

    def members(self) -> dict[str, Any]:
        """All of them, kind and method."""
        own = {name: getattr(self, name) for name in self.fields if name not in DIAGONALS}
        return {**named(self.diagonals), **own, "kind": self.kind, "method": self.method}

    def fits(self, claim: Claim) -> None:
        """Of the bilinear activation and binary weights, any loss; its blocks make the root."""
        if claim.activation != "bilinear" or claim.polynomial is not None:
            raise CertificateError("a proof over blocks belongs to the bilinear activation")
        if claim.alphabet != "binary":
            raise CertificateError("a proof over blocks belongs to the binary alphabet")
        claim.check()
        loss = loss_of(claim)
        d, count = claim.d, len(self.block_rows)
        if self.nu_matrix.shape != (d, d) or not np.isfinite(self.nu_matrix).all():
            raise CertificateError(f"nu_matrix must be {d} x {d} finite numbers")
        if not (np.isfinite(self.nu_scale) and self.nu_scale >= 0.0):
            raise CertificateError("nu_scale must be a finite number of at least 0")
        if not (np.isfinite(self.nu_smoothing) and self.nu_smoothing >= 0.0):
            raise CertificateError("nu_smoothing must be a finite number of at least 0")
        if not loss.smooth and not self.nu_smoothing > 0.0:
            raise CertificateError(f"nu_smoothing must be positive for loss {loss.name!r}")
        if count == 0 or not (self.block_rows > 0).all():
            raise CertificateError("every block must have rows")
        if self.block_sha256.shape != (count, 32) or self.block_values.shape != (count,):
            raise CertificateError(f"it lists {count} blocks, but not one digest and value each")
        if merkle_root(self.block_rows, self.block_sha256) != claim.data_sha256:
            raise CertificateError("the digests of its blocks do not make its root")
        check_diagonals(self.diagonals, claim)

    def prove(self, M: Array, radius: Array, claim: Claim, margin: float) -> None:
        """Semidefinite and within the budget, both signs."""
        prove_diagonals(self.diagonals, M, radius, claim, margin)

    def dual_point(self, loss: Loss, X: Array, y: Array) -> Array:
        """``nu`` of some rows X (k, d) with targets y (k,)."""
        predictions = np.einsum("ij,ij->i", X @ self.nu_matrix, X)
        if self.nu_smoothing > 0.0:
            step = self.nu_smoothing
            slope = (predictions - loss.prox(predictions, y, step)) / step
        else:
            slope = loss.gradient(predictions, y)
        return np.asarray(loss.clip_dual(-self.nu_scale * slope, y))


def loss_of(claim: Claim) -> Loss:
    """The claim's loss; CertificateError without one or its number, or with sample weights."""
    if claim.weights is not None:
        raise CertificateError("a proof over blocks has no sample weights")
    try:
        loss = get_loss(claim.loss, claim.loss_parameter)
    except InputError as error:
        raise CertificateError(str(error)) from None
    if loss.parameter != claim.loss_parameter:
        raise CertificateError(f"loss {claim.loss!r}: its parameter is missing")
    return loss


def merkle_root(rows: Array, digests: Array) -> str:
    """SHA-256, in hexadecimal digits, of a tree over (rows, digest) of each block.

    A leaf hashes a 0, the number of rows (8 bytes, little-endian) and the digest; a node hashes a 1
    and its two children.
    """
    root = tree_sum(
        (0, len(rows)),
        lambda b: sha256(
            b"\0" + int(rows[b]).to_bytes(8, "little") + digests[b].tobytes()
        ).digest(),
        lambda left, right: sha256(b"\1" + left + right).digest(),
    )
    return root.hex()
