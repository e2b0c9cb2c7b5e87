"""Several outputs over one matrix: a problem, a certificate and a part of the network for each.

With `α_j ∈ R^C` the penalty `βd Σ_j ‖α_j‖₁` and a loss that is a sum over outputs separate: the
vector problem is C scalar problems that share X and β, its optimum is the sum of theirs, and the
sum of proven lower bounds is a proven lower bound.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from qnn.certificates.record import Certificate
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.stacks import stack
from qnn.numerics.arguments import check_limits, generator_of
from qnn.numerics.gaps import relative_gap, sum_down
from qnn.training.fit import Trained, train
from qnn.training.problems.vector import VectorProblem
from qnn.training.relaxation.solver import Callback

# Seconds that an output gets for its bound where the others left none.
LEAST = 1e-3


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
    sample_weight: np.ndarray | None = None,
    rounding: str = "graduated",
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
    problem = problem if sample_weight is None else problem.with_weights(sample_weight)
    count = len(problem.outputs)
    streams = generator_of(seed).spawn(count)
    outputs = []
    for index, (scalar, rng) in enumerate(zip(problem.outputs, streams, strict=True)):
        share = None
        if time_limit is not None:
            left = began + time_limit - time.monotonic()
            share = (max(left, LEAST) if index else time_limit) / (count - index)
        trained = train(
            scalar, rng, width, certify, share, tol, callback, second_layer, rounding=rounding
        )
        outputs.append(replace(trained, certificate=trained.certificate.stating(output=index)))
    network = stack([trained.network for trained in outputs])
    objective = problem.objective(network)
    lower_bound = sum_down([trained.lower_bound for trained in outputs])
    return TrainedOutputs(
        network, objective, lower_bound, relative_gap(objective, lower_bound), tuple(outputs)
    )
