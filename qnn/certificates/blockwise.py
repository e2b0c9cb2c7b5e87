"""Checking a proof over blocks, block by block: each is read alone, and only sums travel.

The error of a sum over rows is that of its longest block, and one rounding more for each level of
the tree over blocks (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from qnn.certificates.proofs.blocks import BlocksProof, loss_of
from qnn.certificates.record import Certificate
from qnn.certificates.slack import underflow_of, with_radius
from qnn.errors import CertificateError, InputError, shown
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.blocks import Blocks
from qnn.numerics.floating import summed

Array = np.ndarray


@dataclass(frozen=True)
class BlockFacts:
    """Of one block: its rows, their SHA-256 (32 bytes), and a proven part of the dual value."""

    index: int
    rows: int
    digest: bytes
    value: float


@dataclass(frozen=True, eq=False)
class ProofSums:
    """Sums over some blocks: M(nu) (d, d), row sums of ``|X|' diag|nu| |X|`` (d,), and the facts.

    ``top``: the largest |x|; ``weight``: the sum of |nu|; ``touched`` (d,): columns that are not 0.
    """

    M: Array
    sizes: Array
    top: float
    weight: float
    touched: Array
    blocks: tuple[BlockFacts, ...]


@dataclass(frozen=True, eq=False)
class ProofPass:
    """The work on a block, for `qnn.numerics.blocks.Blocks.reduce`; ``margin`` as in `verify`.

    With ``stated`` a block whose rows are not those of the certificate is refused at once.
    """

    certificate: Certificate
    margin: float = 1.0
    stated: bool = True

    def __call__(self, index: int, batches: Batches) -> ProofSums:
        """The sums of one block; raises CertificateError where its rows prove less than stated."""
        sums = _block_sums(self.certificate, index, batches, self.margin)
        if self.stated:
            check_block(self.certificate, sums.blocks[0])
        return sums


def combine(left: ProofSums, right: ProofSums) -> ProofSums:
    """The sums over two neighbours."""
    return ProofSums(
        left.M + right.M,
        left.sizes + right.sizes,
        max(left.top, right.top),
        left.weight + right.weight,
        left.touched | right.touched,
        left.blocks + right.blocks,
    )


def verify_blocks(certificate: Certificate, blocks: Blocks) -> float:
    """The proven lower bound of a certificate over blocks, each of them read once and alone.

    Parameters
    ----------
    certificate : a record with a `BlocksProof`; what it states is only compared.
    blocks : the rows, cut into blocks as the certificate lists them.

    Raises
    ------
    CertificateError : where anything is not proven; it names the block that is another one.
    InputError : where a block cannot be read.
    """
    proof = proof_over_blocks(certificate)
    if blocks.count != len(proof.block_rows):
        raise CertificateError(
            f"it is for {len(proof.block_rows)} blocks of rows, the data have {blocks.count}"
        )
    bound = proven_bound(certificate, blocks.reduce(ProofPass(certificate), combine))
    if not certificate.lower_bound <= bound:
        raise CertificateError(
            f"it states the bound {shown(certificate.lower_bound)}, but only "
            f"{shown(bound)} is proven"
        )
    return bound


def proof_over_blocks(certificate: Certificate) -> BlocksProof:
    """Its proof, with shapes and root checked; CertificateError where it is another kind."""
    proof = certificate.proof
    if not isinstance(proof, BlocksProof) or certificate.nu.size:
        raise CertificateError("it has no dual point over blocks: check it with verify")
    certificate.check_types()
    proof.fits(certificate.claim)
    return proof


def check_block(certificate: Certificate, found: BlockFacts) -> None:
    """Raise CertificateError unless a block is the one that is listed, and proves its value."""
    proof = certificate.proof
    assert isinstance(proof, BlocksProof)
    b = found.index
    if not 0 <= b < len(proof.block_rows):
        raise CertificateError(f"block {b} is not one of the certificate's")
    if found.rows != proof.block_rows[b] or found.digest != proof.block_sha256[b].tobytes():
        raise CertificateError(f"block {b} has other rows than the certificate's (SHA-256 differs)")
    if not proof.block_values[b] <= found.value:
        raise CertificateError(
            f"block {b} states the value {shown(proof.block_values[b])}, but only "
            f"{shown(found.value)} is proven"
        )


def proven_bound(certificate: Certificate, sums: ProofSums, margin: float = 1.0) -> float:
    """The bound that the sums over all blocks prove, whatever the record states.

    Raises CertificateError unless they are of each block once, and the slack is proven.
    """
    proof, found = proof_over_blocks(certificate), sums.blocks
    if [block.index for block in found] != list(range(len(proof.block_rows))):
        raise CertificateError("the sums are not of each block once, in order")
    longest = max(block.rows for block in found)
    roundings = longest + (len(found) - 1).bit_length()
    rows = sum(block.rows for block in found)
    underflow = underflow_of(rows, sums.top, sums.weight)
    M, radius = with_radius(sums.M, sums.sizes, roundings, underflow, sums.touched)
    proof.prove(M, radius, certificate.claim, margin)
    return _below(block.value for block in found)


def _block_sums(certificate: Certificate, index: int, batches: Batches, margin: float) -> ProofSums:
    claim, proof = certificate.claim, certificate.proof
    assert isinstance(proof, BlocksProof)
    loss, d = loss_of(claim), claim.d
    M, sizes, touched = np.zeros((d, d)), np.zeros(d), np.zeros(d, dtype=bool)
    rows, top, weight, digest, values = 0, 0.0, 0.0, hashlib.sha256(), []
    for X, y in row_blocks(batches):
        if X.shape[1] != d:
            raise CertificateError(f"it is for {d} columns, block {index} has {X.shape[1]}")
        try:
            loss.check_targets(y)
        except InputError as error:
            raise CertificateError(f"block {index}: {error}") from None
        digest.update(np.column_stack([X, y]).astype("<f8").tobytes())
        nu = proof.dual_point(loss, X, y)
        if not np.isfinite(nu).all():
            raise CertificateError(f"the dual point of block {index} overflows")
        absolute = np.abs(X)
        M += (X * nu[:, None]).T @ X
        sizes += absolute.T @ (np.abs(nu) * absolute.sum(axis=1))
        values.append(loss.proven_dual_value(nu, y, margin))
        top = max(top, float(absolute.max()))
        weight += float(np.abs(nu).sum())
        touched |= X.any(axis=0)
        rows += len(X)
    facts = BlockFacts(index, rows, digest.digest(), _below(values))
    return ProofSums(M, sizes, top, weight, touched, (facts,))


def _below(values: Iterable[float]) -> float:
    """Below the exact sum."""
    return float(np.nextafter(summed(np.array([*values]), "the dual value"), -np.inf))
