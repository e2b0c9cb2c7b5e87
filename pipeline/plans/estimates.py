"""How long and how big: rough figures for plans and for batching, fitted to measurements.

They are for planning, and right to a factor of about three on one core of an ordinary machine.
"""

from __future__ import annotations

FLOPS = 5e9  # small dense products and eigh, one core, one thread
ITERATIONS = 150  # ADMM to tol 1e-4, the mean over a warm-started path
ITERATION_OVERHEAD = 1e-3  # seconds of Python around an iteration's products
BASE_BYTES = 200e6  # the interpreter with numpy, scipy and cvxpy


def lifted_size(d: int) -> int:
    """Number of free entries of a symmetric d×d matrix."""
    return d * (d + 1) // 2


def estimate_seconds(n: int, d: int, betas: int, networks: int, width: float, solver: str) -> float:
    """Seconds on one core for a path: its SDPs, set up once, and the rounding of its networks.

    Args:
        n: training rows.
        d: columns of the matrix.
        betas: number of SDPs along the path.
        networks: number of networks rounded from all of them together.
        width: their mean width.
        solver: as in the config.
    """
    rank = min(n, lifted_size(d))
    setup = rank**3 / FLOPS + n * rank**2 / FLOPS
    # Two eigendecompositions of d×d (about 20 d³ each) and the operators both ways.
    iteration = (40 * d**3 + 6 * n * d**2) / FLOPS + ITERATION_OVERHEAD
    slower = 10.0 if solver.startswith("cvxpy") else 1.0
    # Sampling signs, a local search of a few sweeps over the bits, and a refit.
    rounding = networks * (10 * n * d * width / FLOPS + 0.02)
    return setup + slower * betas * ITERATIONS * iteration + rounding


def estimate_bytes(n: int, d: int, solver: str) -> float:
    """Peak memory in bytes of one solve, the interpreter included.

    cvxpy: about 30 copies of the dense n×d² operator, as measured. Otherwise: the data, the
    factorized operator of its rank, and a few dozen d×d matrices.
    """
    if solver.startswith("cvxpy"):
        return BASE_BYTES + 240.0 * n * d**2
    rank = min(n, lifted_size(d))
    return BASE_BYTES + 8.0 * (4 * n * d + n * rank + 3 * rank**2 + 40 * d**2)


def estimate_raising(n: int, d: int, level: str, limit: float | None) -> float:
    """Seconds on one core for raising the bound of one SDP to a level of proof.

    Tightening took 2 to 90 s from d = 9 to d = 62, about as d²; an enumeration takes 2 s at d = 31
    and twice as long for each column more; column generation a second.
    """
    if level == "relaxation":
        return 0.0
    seconds = 1.0 + (0.02 * d**2 if level == "tightened" else 2.0 ** (d - 30))
    return seconds if limit is None else min(seconds, limit)


def estimate_join_seconds(n: int, d: int, outputs: int, networks: int, width: float) -> float:
    """Seconds on one core for putting the outputs of each network together and measuring it.

    `width` is the mean number of neurons of a joined network.
    """
    return networks * (4 * n * width * (d + outputs) / FLOPS + 0.01 + 0.002 * outputs)


def estimate_join_bytes(n: int, d: int, outputs: int, width: int) -> float:
    """Peak memory in bytes of joining: the data and the hidden layer of one network."""
    return BASE_BYTES + 8.0 * n * (4 * d + 4 * outputs + width)
