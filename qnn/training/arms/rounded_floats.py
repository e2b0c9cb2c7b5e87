"""Float training, then rounding: weights in [−1, 1] are trained as they are, rounded at the end."""

from __future__ import annotations

import numpy as np

from qnn.networks.quantized import QuantizedNetwork
from qnn.training.arms.base import Layer
from qnn.training.arms.descent import backpropagate
from qnn.training.problems.problem import Problem


def _as_it_is(problem: Problem, layer: Layer) -> Layer:
    return layer


def rounded_floats(
    problem: Problem, width: int, seconds: float, rng: np.random.Generator
) -> QuantizedNetwork:
    """The best network of at most `width` neurons found in `seconds` of wall time.

    Adam on the box [−1, 1] with the settings and restarts of `straight_through`; the weights are
    rounded to the nearest level and the second layer is refitted at many points of each run.
    """
    return backpropagate(problem, width, seconds, rng, _as_it_is)
