"""Several outputs over one matrix: a problem, a certificate and a part of the network for each.

With `α_j ∈ R^C` the penalty `βd Σ_j ‖α_j‖₁` and a loss that is a sum over outputs separate: the
vector problem is C scalar problems that share X and β, its optimum is the sum of theirs, and the
sum of proven lower bounds is a proven lower bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from qnn.activations import Activation
from qnn.alphabets import Alphabet
from qnn.arguments import check_limits, generator_of
from qnn.certificates.record import Certificate
from qnn.errors import InputError
from qnn.losses import Loss
from qnn.network import QuantizedNetwork
from qnn.outputs import stack, unstack
from qnn.problem import Problem
from qnn.solvers.base import Callback
from qnn.solvers.result import relative_gap
from qnn.training import Trained, train

# Seconds that an output gets for its bound where the others left none.
LEAST = 1e-3


class VectorProblem:
    """``min over networks of any width: sum_c loss(f_c(X), Y_c) + beta d sum_j ||alpha_j||_1``.

    Parameters
    ----------
    X : (n, d) array, taken as it is.
    Y : (n, C) array of targets, one column an output (-1 and +1 for the margin losses: of classes,
        column c is +1 on class c and -1 on the rest).
    beta, loss, activation, alphabet : as `Problem` takes them, the same for all outputs.

    ``outputs`` are the C scalar problems; they share X and its lift.

    Raises
    ------
    InputError : where data or arguments cannot make a problem.

    Examples
    --------
    >>> import numpy as np
    >>> problem = VectorProblem(np.eye(3), np.eye(3), beta=0.1)
    >>> len(problem.outputs), problem.outputs[2].y.tolist()
    (3, [0.0, 0.0, 1.0])
    """

    def __init__(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        beta: float,
        loss: str | Loss = "squared",
        activation: str | Activation = "bilinear",
        alphabet: str | int | Alphabet = "binary",
    ) -> None:
        targets = np.asarray(Y)
        if targets.ndim != 2 or targets.shape[1] == 0:
            raise InputError(
                f"Y must have one row a row of X and one column an output (got shape "
                f"{targets.shape})"
            )
        first = Problem(X, targets[:, 0], beta, loss, activation, alphabet)
        self.outputs = (first, *(first.with_target(y) for y in targets.T[1:]))

    @property
    def beta(self) -> float:
        """The price of a neuron, of each output that uses it."""
        return self.outputs[0].beta

    @property
    def beta_max(self) -> float:
        """The smallest beta at which the relaxation's answer is zero in every output."""
        return max(problem.beta_max for problem in self.outputs)

    def with_beta(self, beta: float) -> VectorProblem:
        """The same problem at another beta; what is known of it is shared."""
        twin = object.__new__(VectorProblem)
        twin.outputs = tuple(problem.with_beta(beta) for problem in self.outputs)
        return twin

    def objective(self, network: QuantizedNetwork) -> float:
        """Loss plus penalty of a network of C outputs on X.

        Raises InputError for a network of another activation, alphabet or number of outputs.
        """
        parts = unstack(network)
        if len(parts) != len(self.outputs):
            raise InputError(
                f"a network of {len(parts)} outputs has no objective in a problem of "
                f"{len(self.outputs)}"
            )
        pairs = zip(self.outputs, parts, strict=True)
        return math.fsum(problem.objective(part) for problem, part in pairs)


@dataclass(frozen=True, eq=False)
class TrainedOutputs:
    """One network of C outputs, with its objective and the verified bound below every network.

    `outputs`: what was trained for each, with its own network, bounds and certificate (of index
    `certificate.output`, to be verified with its column of targets). `objective` and `lower_bound`
    are over all outputs, the bound summed and rounded down; `gap` is between them.
    """

    network: QuantizedNetwork
    objective: float
    lower_bound: float
    gap: float
    outputs: tuple[Trained, ...]

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificate of each output: together they prove `lower_bound`."""
        return tuple(trained.certificate for trained in self.outputs)


def train_outputs(
    problem: VectorProblem,
    seed: int | np.random.Generator = 0,
    width: int | None = None,
    certify: str = "relaxation",
    time_limit: float | None = None,
    tol: float = 1e-4,
    callback: Callback | None = None,
    second_layer: str | int = "float",
) -> TrainedOutputs:
    """Train every output and join them: one network, one certificate an output, bounds summed.

    Arguments are those of `qnn.train`, with three that are shared out. width: most neurons that
    *one output* uses, so the network has at most C times as many, fewer where outputs share some;
    each output can then be trained on its own, anywhere, to the same result. time_limit: seconds
    for all of them; each gets its share of what is left. seed: each output draws from a stream of
    its own.

    An output whose own beta_max is below beta gets no neurons; its certificate proves them
    worthless. Raises InputError, before any computing, for what cannot be trained or certified.
    """
    began = time.monotonic()
    check_limits(tol, time_limit)
    count = len(problem.outputs)
    streams = generator_of(seed).spawn(count)
    outputs = []
    for index, (scalar, rng) in enumerate(zip(problem.outputs, streams, strict=True)):
        share = None
        if time_limit is not None:
            left = began + time_limit - time.monotonic()
            share = (max(left, LEAST) if index else time_limit) / (count - index)
        trained = train(scalar, rng, width, certify, share, tol, callback, second_layer)
        outputs.append(replace(trained, certificate=replace(trained.certificate, output=index)))
    network = stack([trained.network for trained in outputs])
    objective = problem.objective(network)
    lower_bound = sum_down([trained.lower_bound for trained in outputs])
    return TrainedOutputs(
        network, objective, lower_bound, relative_gap(objective, lower_bound), tuple(outputs)
    )


def sum_down(bounds: Sequence[float]) -> float:
    """The largest float64 not above the exact sum: proven lower bounds stay proven when summed."""
    nearest = math.fsum(bounds)
    if Fraction(nearest) > sum(map(Fraction, bounds)):
        return math.nextafter(nearest, -math.inf)
    return nearest
