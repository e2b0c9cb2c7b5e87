"""What each solver costs, told from sizes alone: bytes above the import baseline, operations.

The solver that refuses for want of memory, the choice between solvers and the plan of a sweep ask
the same functions. n is the number of rows, size the order D of the lifted matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Memory = Callable[[int, int], float]
Work = Callable[[int, int, float], float]

#: columns that the low-rank factors start from, and steps of L-BFGS between two of its certificates
START_RANK, ROUND = 15, 60
#: rows that are few to the interior point whatever the columns
FEW = 400


def rows_pay(n: int, p: int, size: int) -> bool:
    """Whether the n x n kernel costs less than the p x p Gram matrix in a solve."""
    return n <= p or step_work(n, size, True, 25.0) < step_work(n, size, False, 25.0)


def step_work(n: int, size: int, in_rows: bool, steps: float) -> float:
    """Operations: forming the matrix, two factorizations, these steps and what they do with rows.

    The p x p matrix spares the steps the rows.
    """
    p = size * (size + 1) // 2
    if in_rows:
        return n**2 * size + 2.0 * n**3 / 3.0 + steps * (2.0 * n**2 + 3.0 * n * size**2)
    return n * p**2 + 2.0 * p**3 / 3.0 + steps * 2.0 * p**2


def admm_work(n: int, size: int, tol: float) -> float:
    """Two factorizations, some ten iterations for each digit, eigendecompositions of 10 D^3."""
    steps = 10.0 * max(-math.log10(tol), 1.0)
    in_rows = rows_pay(n, size * (size + 1) // 2, size)
    return step_work(n, size, in_rows, steps) + 20.0 * steps * size**3


def admm_memory(n: int, size: int) -> float:
    """The step's matrix, in whose memory its factor is, the rows, the iterates, rows in blocks.

    Between what single precision takes, which coarse
    tolerances get by with, and double.
    """
    p = size * (size + 1) // 2
    in_rows = rows_pay(n, p, size)
    matrices, blocks = (1.4 * n**2, 0) if in_rows else (1.2 * p**2, 256 * p)
    return 8.0 * (matrices + 5.2 * n * size + 50.0 * size**2 + 9.0 * n + blocks)


def low_rank_work(n: int, size: int, tol: float) -> float:
    """Some 120 steps of L-BFGS for each digit at 50 columns, and an interior point in each round.

    Counted four times: on planted (200, 2000), (200, 4000), (100, 4000) an operation took up to
    four times as long as one of ADMM's, which are in larger products.
    """
    steps = 120.0 * max(-math.log10(tol), 1.0)
    return 4.0 * (steps * 4.0 * n * size * min(50, 2 * size) + steps / ROUND * 500.0 * size**3)


def low_rank_memory(n: int, size: int) -> float:
    """X scaled and as proofs copy it, L-BFGS's pairs, (d, d) matrices, some rows' vectors."""
    return 8.0 * (2.2 * n * size + 30.0 * 4 * START_RANK * size + 12.0 * size**2 + 10.0 * n)


def few_rows(n: int, size: int) -> bool:
    """Whether the interior point factorizes in the rows, not in their coordinates."""
    return n <= max(size * (size + 1) // 2, FEW)


def interior_point_work(n: int, size: int, tol: float) -> float:
    """Some 20 steps: forming and factorizing the smaller of the two matrices."""
    p = size * (size + 1) // 2
    if few_rows(n, size):
        return 20.0 * ((n + 2.0 * size) ** 3 / 3.0 + 4.0 * n**2 * size)
    return 20.0 * (n * p**2 + 4.0 * p**3)


def interior_point_memory(n: int, size: int) -> float:
    """The matrix, its factor and terms, features and blocks; for many rows their coordinates."""
    p = size * (size + 1) // 2
    if few_rows(n, size):
        return 8.0 * (6.0 * (n + 2 * size) ** 2 + 2.0 * n * size + 30.0 * size**2)
    return 8.0 * (9.0 * p**2 + 2.0 * n * p + 6.0 * n * size + 60.0 * size**2)


def scs_work(n: int, size: int, tol: float) -> float:
    """A hundred of ADMM's on the reduction, as measured: a rough figure, for plans."""
    return 100.0 * admm_work(n, size, tol)


def scs_memory(n: int, size: int) -> float:
    """Measured: importing cvxpy, and some 300 bytes per entry of the dense lifted design."""
    return 7.5e7 + 300.0 * n * size**2


def clarabel_work(n: int, size: int, tol: float) -> float:
    """Some ten factorizations of the 2D x 2D cone's dense block, and the dense design."""
    return 8.0 * float(size * (2 * size + 1)) ** 3 + 100.0 * n * size**2


def clarabel_memory(n: int, size: int) -> float:
    """As SCS's; on top the dense block of the 2D x 2D cone, four times as measured."""
    return scs_memory(n, size) + 32.0 * float(size * (2 * size + 1)) ** 2
