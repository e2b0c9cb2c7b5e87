"""How long and how big: rough figures for plans, for batching and for what Ray reserves.

Solvers and levels of proof know what they cost; what is here adds the interpreter, the rounding of
networks and the clock. Times are right to a factor of about three on one core of an ordinary
machine, memory to a factor of two.
"""

from __future__ import annotations

from dataclasses import dataclass

from qnn.losses import Loss
from qnn.networks.activations import Activation
from qnn.training.problems.levels import LEVELS
from qnn.training.relaxation.registry import SOLVERS, candidates
from qnn.training.relaxation.solver import Solver

FLOPS = 5e9  # the rounding's small products, one core, one thread
SOLVER_FLOPS = 2e10  # what the solvers count as work, which is in larger ones
SOLVE_OVERHEAD = 0.02  # seconds of Python around a solve's products
BASE_BYTES = 200e6  # the interpreter with numpy, scipy and what a worker imports


@dataclass(frozen=True)
class Relaxed:
    """The relaxation that a path solves, as its solver is asked about it.

    `n` rows, `d` columns, `bits` of a weight; `solver` as in the config.
    """

    n: int
    d: int
    loss: Loss
    activation: Activation
    bits: int
    solver: str
    tol: float

    @property
    def size(self) -> int:
        """The order of the lifted matrices."""
        return self.activation.lift_size(self.d, self.bits)

    @property
    def chosen(self) -> Solver:
        """The solver: by its name, or the one of least work."""
        if self.solver != "auto":
            return SOLVERS[self.solver]
        return candidates(self, self.n, self.size, self.tol)[0]

    @property
    def refusal(self) -> str | None:
        """Why the solver cannot take it, None where it can."""
        return self.chosen.supports(self)

    @property
    def seconds(self) -> float:
        """Rough time of one solve on one core."""
        return self.chosen.work(self.n, self.size, self.tol) / SOLVER_FLOPS + SOLVE_OVERHEAD

    @property
    def bytes(self) -> float:
        """Peak memory of one solve, the interpreter included."""
        return BASE_BYTES + self.chosen.memory_estimate(self.n, self.size)


def estimate_rounding(n: int, d: int, networks: int, width: float) -> float:
    """Seconds on one core for rounding networks of this mean width.

    Sampling signs, a local search of a few sweeps over the bits, and a refit.
    """
    return networks * (10 * n * d * width / FLOPS + 0.02)


def estimate_raising(n: int, d: int, level: str, limit: float | None) -> float:
    """Seconds on one core for raising the bound of one SDP to a level of proof."""
    seconds = LEVELS[level].seconds(n, d)
    return seconds if limit is None else min(seconds, limit)


def estimate_join_seconds(n: int, d: int, outputs: int, networks: int, width: float) -> float:
    """Seconds on one core for putting the outputs of each network together and measuring it.

    `width` is the mean number of neurons of a joined network.
    """
    return networks * (4 * n * width * (d + outputs) / FLOPS + 0.01 + 0.002 * outputs)


def estimate_join_bytes(n: int, d: int, outputs: int, width: int) -> float:
    """Peak memory in bytes of joining: the data and the hidden layer of one network."""
    return BASE_BYTES + 8.0 * n * (4 * d + 4 * outputs + width)
