"""Solving the relaxation over blocks of rows, whatever the loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.losses import Loss, get_loss
from qnn.numerics.arguments import check_limits
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.blocks import Blocks
from qnn.training.relaxation.blocks.compressed import Compressed, compress_blocks, solve_compressed
from qnn.training.relaxation.blocks.low_rank import Scan, scan_blocks, solve_low_rank
from qnn.training.relaxation.blocks.result import BlocksRelaxation

Array = np.ndarray

#: up to this many columns p^2 numbers, p = d (d + 1) / 2, are less work than a gradient a step
COMPRESSED_TO = 60


@dataclass(frozen=True)
class ColumnsPass:
    """The work on a block: its number of columns, from its first rows."""

    def __call__(self, index: int, batches: Batches) -> int:
        """Of one block."""
        X, _ = next(row_blocks(batches))
        return X.shape[1]


def first_pass(
    blocks: Blocks, loss: Loss | str = "squared", tol: float = 1e-4
) -> Compressed | Scan:
    """What the solves at all betas share, and from which ``beta_max`` is known.

    The squared loss of up to `COMPRESSED_TO` columns is compressed; otherwise the blocks are
    listed, with the dual point of the zero network. Raises InputError for rows that cannot be read.
    """
    loss = get_loss(loss)
    d = blocks.reduce(ColumnsPass(), max)
    if loss.quadratic and d <= COMPRESSED_TO:
        return compress_blocks(blocks)
    return scan_blocks(blocks, loss, d, tol)


def solve_blocks(
    blocks: Blocks,
    beta: float,
    tol: float = 1e-4,
    loss: Loss | str = "squared",
    time_limit: float | None = None,
    max_iterations: int | None = None,
    first: Compressed | Scan | None = None,
    warm_start: tuple[Array, Array] | None = None,
) -> BlocksRelaxation:
    """Solve the relaxation over rows in blocks, wherever they lie.

    Parameters
    ----------
    blocks : see `qnn.numerics.blocks`; the result has the same bits whoever holds them.
    beta : positive; the penalty is ``beta * d * sum|alpha|``.
    tol : wanted verified relative gap.
    loss : a name, or a `Loss`.
    time_limit : seconds; a pass over the rows is not interrupted.
    max_iterations : of the small solve, or of L-BFGS.
    first : of the same blocks and loss, from `first_pass`, to spare that (for several betas).
    warm_start : P and N (d, d) of a solution at another beta.

    Raises
    ------
    InputError : bad limits, rows that cannot be read, or that have changed between two passes.
    CertificateError : a beta so small that its budget is lost in rounding.
    """
    if not (np.isfinite(beta) and beta > 0.0):
        raise InputError(f"beta must be a positive number (got {beta})")
    check_limits(tol, time_limit, max_iterations)
    known, loss = first or first_pass(blocks, loss, tol), get_loss(loss)
    if isinstance(known, Compressed):
        return solve_compressed(blocks, float(beta), tol, time_limit, max_iterations, known)
    return solve_low_rank(
        blocks, loss, float(beta), tol, time_limit, max_iterations, known, warm_start
    )
