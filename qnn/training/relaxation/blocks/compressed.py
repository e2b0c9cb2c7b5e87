"""The squared loss over blocks: one pass to compress, shared by all betas; one a beta to certify.

What comes together of a block are its fourth moments, each once, and ``d^2 + 1`` numbers, summed by
the tree.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from qnn.certificates.blockwise import BlockFacts
from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.losses import get_loss
from qnn.numerics.batches import Batches
from qnn.numerics.blocks import Blocks
from qnn.numerics.gaps import relative_gap
from qnn.training.relaxation.blocks.proving import DualFormula, Listed, prove
from qnn.training.relaxation.blocks.result import BlocksRelaxation
from qnn.training.relaxation.result import settled
from qnn.training.relaxation.streaming.compression import Compression, compressed_from
from qnn.training.relaxation.streaming.moments import Moments, moments_of
from qnn.training.relaxation.streaming.small import SmallProblem, certify
from qnn.training.relaxation.streaming.solve import LIMIT

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Compressed:
    """The compression of some blocks, and which they are; its digest is of no use."""

    data: Compression
    blocks: tuple[BlockFacts, ...]

    @property
    def listed(self) -> Listed:
        """The blocks."""
        return Listed.of(self.blocks)

    @property
    def beta_max(self) -> float:
        """The smallest beta at which the relaxation's answer is the zero network."""
        return self.data.beta_max


@dataclass(frozen=True, eq=False)
class BlockMoments:
    """The moments of some blocks, and which they are; their digest is of no use."""

    data: Moments
    blocks: tuple[BlockFacts, ...]


@dataclass(frozen=True)
class MomentsPass:
    """The work on a block: `moments_of`."""

    def __call__(self, index: int, batches: Batches) -> BlockMoments:
        """Of one block."""
        data = moments_of(batches)
        digest = bytes.fromhex(data.data_sha256)
        return BlockMoments(data, (BlockFacts(index, data.n, digest, 0.0),))


def add_moments(left: BlockMoments, right: BlockMoments) -> BlockMoments:
    """The sums over two neighbours."""
    if left.data.d != right.data.d:
        raise InputError(
            f"block {right.blocks[0].index} has {right.data.d} columns, the ones before have "
            f"{left.data.d}"
        )
    return BlockMoments(left.data + right.data, left.blocks + right.blocks)


def compress_blocks(blocks: Blocks) -> Compressed:
    """One pass over all blocks; raises InputError as `moments_of`."""
    found = blocks.reduce(MomentsPass(), add_moments)
    return Compressed(compressed_from(found.data), found.blocks)


def solve_compressed(
    blocks: Blocks,
    beta: float,
    tol: float,
    time_limit: float | None,
    max_iterations: int | None,
    compressed: Compressed,
) -> BlocksRelaxation:
    """The relaxation at one beta: a small solve without the rows, and one pass over them."""
    started = time.perf_counter()
    data, listed, loss = compressed.data, compressed.listed, get_loss("squared")
    small = SmallProblem(data, beta * data.d, 0.5 * tol)
    deadline = np.inf if time_limit is None else started + time_limit
    outcome, iterations = small.run(deadline, max_iterations or LIMIT)
    solved = time.perf_counter()
    passes, losses = 0, [0.0]

    def proven(Z: Array, a: Array) -> Certificate:
        nonlocal passes
        passes += 1
        certificate, losses[0] = prove(
            blocks, loss, beta, DualFormula(Z), a, listed, small.P - small.N
        )
        return certificate

    certificate = certify(data, beta, small.dual, listed.roundings, proven)
    upper = losses[0] + small.budget * small.rho
    gap = relative_gap(upper, certificate.lower_bound)
    outcome = settled(outcome, gap, tol)
    message = f"compressed ADMM: {outcome.replace('_', ' ')} after {iterations} iterations"
    seconds = {
        "iterations": float(iterations),
        "solve_seconds": solved - started,
        "certify_seconds": time.perf_counter() - solved,
    }
    return BlocksRelaxation(
        beta, small.P, small.N, small.rho, upper, certificate, outcome, message, passes, seconds
    )
