"""Certificates over blocks: made from a dual point's formula and a diagonal, proven in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qnn.certificates.blockwise import BlockFacts, ProofPass, ProofSums, combine, proven_bound
from qnn.certificates.claim import Claim
from qnn.certificates.proofs.blocks import BlocksProof, merkle_root
from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.losses import Loss
from qnn.numerics.batches import Batch, Batches, row_blocks
from qnn.numerics.blocks import Blocks

Array = np.ndarray

#: a maker's margin for rounding, so that another machine's cannot refuse what this one accepted
_MARGIN = 4.0


@dataclass(frozen=True, eq=False)
class DualFormula:
    """``nu_i = -scale l'(x_i' Z x_i)``, with the loss smoothed by ``smoothing`` where it is > 0."""

    Z: Array
    scale: float = 1.0
    smoothing: float = 0.0


@dataclass(frozen=True)
class Listed:
    """The blocks as a first pass found them: number of rows and SHA-256 (32 bytes) of each."""

    rows: tuple[int, ...]
    digests: tuple[bytes, ...]

    @classmethod
    def of(cls, blocks: tuple[BlockFacts, ...]) -> Listed:
        """From what a pass has found."""
        return cls(tuple(b.rows for b in blocks), tuple(b.digest for b in blocks))

    @property
    def n(self) -> int:
        """All rows."""
        return sum(self.rows)

    @property
    def roundings(self) -> int:
        """Of the longest sum over rows: the longest block's, and one a level of the tree."""
        return max(self.rows) + (len(self.rows) - 1).bit_length()

    def require(self, found: tuple[BlockFacts, ...]) -> None:
        """Raise InputError where a later pass has read other rows than the first."""
        for block in found:
            if (block.rows, block.digest) != (self.rows[block.index], self.digests[block.index]):
                raise InputError(
                    f"block {block.index} has changed between two passes over the data (SHA-256 "
                    "differs): start again once nothing writes to them"
                )


@dataclass(frozen=True, eq=False)
class PointPass:
    """The work of one pass: the sums of a proof, and the loss at ``x' Z x`` for a primal Z."""

    proof: ProofPass
    loss: Loss
    Z: Array
    listed: Listed | None

    def __call__(self, index: int, batches: Batches) -> PointSums:
        """Of one block."""
        total = _Total(self.loss, self.Z, batches)
        sums = self.proof(index, total.rows)
        if self.listed is not None:
            self.listed.require(sums.blocks)
        return PointSums(sums, total.value)


class _Total:
    """Rows that add up their loss as they are read."""

    def __init__(self, loss: Loss, Z: Array, batches: Batches) -> None:
        self.loss, self.Z, self.batches, self.value = loss, Z, batches, 0.0

    def rows(self) -> Iterator[Batch]:
        """The blocks, read once."""
        for X, y in row_blocks(self.batches):
            self.value += self.loss.value(np.einsum("ij,ij->i", X @ self.Z, X), y)
            yield X, y


@dataclass(frozen=True, eq=False)
class PointSums:
    """The sums of a proof, and the loss at the primal point."""

    proof: ProofSums
    loss: float


def add_points(left: PointSums, right: PointSums) -> PointSums:
    """The sums over two neighbours."""
    return PointSums(combine(left.proof, right.proof), left.loss + right.loss)


def draft(
    loss: Loss, beta: float, formula: DualFormula, a: Array, listed: Listed | None
) -> Certificate:
    """A certificate that states no values yet; ``listed`` None: one for `ProofPass` alone."""
    d, known = len(a), listed or Listed((), ())
    rows = np.array(known.rows, dtype=np.int64)
    digests = np.frombuffer(b"".join(known.digests), dtype=np.uint8).reshape(len(rows), 32)
    root = merkle_root(rows, digests) if len(rows) else ""
    claim = Claim(-np.inf, beta, d, root, loss.name, loss.parameter)
    values = np.full(len(rows), -np.inf)
    proof = BlocksProof(
        (a,), formula.Z, float(formula.scale), float(formula.smoothing), rows, digests, values
    )
    return Certificate(claim, np.empty(0), proof)


def look(
    blocks: Blocks, loss: Loss, formula: DualFormula, Z: Array, listed: Listed | None = None
) -> tuple[ProofSums, float]:
    """The sums of a dual point that is not proven yet, and the loss at Z; one pass."""
    certificate = draft(loss, 1.0, formula, np.zeros(len(Z)), None)
    work = PointPass(ProofPass(certificate, stated=False), loss, Z, listed)
    sums = blocks.reduce(work, add_points)
    return sums.proof, sums.loss


def prove(
    blocks: Blocks,
    loss: Loss,
    beta: float,
    formula: DualFormula,
    a: Array,
    listed: Listed,
    Z: Array,
) -> tuple[Certificate, float]:
    """The certificate of a dual point with its diagonal a (d,), and the loss at Z (d, d).

    One pass. Raises CertificateError where it is not proven with room to spare, InputError where
    a block cannot be read or has changed.
    """
    certificate = draft(loss, beta, formula, a, listed)
    work = PointPass(ProofPass(certificate, _MARGIN, stated=False), loss, Z, listed)
    sums = blocks.reduce(work, add_points)
    bound = proven_bound(certificate, sums.proof, _MARGIN)
    return stating(certificate, sums.proof.blocks, bound), sums.loss


def stating(certificate: Certificate, found: tuple[BlockFacts, ...], bound: float) -> Certificate:
    """The same with the values of its blocks, and the bound."""
    proof = certificate.proof
    assert isinstance(proof, BlocksProof)
    values = np.array([block.value for block in found])
    stated = BlocksProof(
        proof.diagonals, proof.nu_matrix, proof.nu_scale, proof.nu_smoothing, proof.block_rows,
        proof.block_sha256, values,
    )  # fmt: skip
    return Certificate(certificate.claim, certificate.nu, stated).stating(lower_bound=bound)
