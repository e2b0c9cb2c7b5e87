"""Solving the relaxation over blocks of rows, whatever the loss."""

from __future__ import annotations

import numpy as np

from qnn.errors import InputError
from qnn.numerics.arguments import check_limits
from qnn.numerics.blocks import Blocks
from qnn.training.relaxation.blocks.compressed import Compressed, compress_blocks, solve_compressed
from qnn.training.relaxation.blocks.result import BlocksRelaxation


def solve_blocks(
    blocks: Blocks,
    beta: float,
    tol: float = 1e-4,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    compressed: Compressed | None = None,
) -> BlocksRelaxation:
    """Solve the relaxation for the squared loss over rows in blocks, wherever they lie.

    Parameters
    ----------
    blocks : see `qnn.numerics.blocks`; the result has the same bits whoever holds them.
    beta : positive; the penalty is ``beta * d * sum|alpha|``.
    tol : wanted verified relative gap.
    time_limit : seconds for the small solve; passes over the rows are not interrupted.
    max_iterations : of the small solve.
    compressed : of the same blocks, from `compress_blocks`, to spare the first pass.

    Raises
    ------
    InputError : bad limits, rows that cannot be read, or that have changed between two passes.
    CertificateError : a beta so small that its budget is lost in rounding.
    """
    if not (np.isfinite(beta) and beta > 0.0):
        raise InputError(f"beta must be a positive number (got {beta})")
    check_limits(tol, time_limit, max_iterations)
    first = compress_blocks(blocks) if compressed is None else compressed
    return solve_compressed(blocks, float(beta), tol, time_limit, max_iterations, first)
