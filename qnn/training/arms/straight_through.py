"""Straight-through backpropagation: the network computes with rounded weights, Adam moves latents.

Y. Bengio, N. Léonard, A. Courville, *Estimating or Propagating Gradients Through Stochastic
Neurons*, 2013; latent weights are clipped to [−1, 1] as in M. Courbariaux et al., *Binarized Neural
Networks*, 2016.
"""

from __future__ import annotations

import numpy as np

from qnn.networks.quantized import QuantizedNetwork
from qnn.training.arms.base import to_alphabet
from qnn.training.arms.descent import backpropagate
from qnn.training.arms.orthonormal import Orthogonality, orthonormal_straight_through
from qnn.training.problems.problem import Problem


def straight_through(
    problem: Problem,
    width: int,
    seconds: float,
    rng: np.random.Generator,
    setting: Orthogonality | None = None,
) -> QuantizedNetwork:
    """The best network of at most `width` neurons found in `seconds` of wall time.

    Up to eight settings (rates, with and without the penalty in training, all rows or a part of
    them a step), long runs of the best two, refits of the second layer along the way. `setting`:
    how the latent weights are kept near orthonormal, as `orthonormal_straight_through`.
    """
    if setting is not None and setting.kind != "none":
        return orthonormal_straight_through(problem, width, seconds, rng, setting)
    return backpropagate(problem, width, seconds, rng, to_alphabet)
