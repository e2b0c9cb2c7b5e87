"""The float ceiling, quantized after training: what is left of the convex network in few bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.training.arms.post_training import QuantizedFloat, quantized, squares_model
from qnn.training.arms.spectrahedra import spectrahedra
from qnn.training.problems.problem import Problem


@dataclass(frozen=True, eq=False)
class QuantizedSquares:
    """A quantized sum of `neurons` squares; None: the zero network.

    objective: none, biases that the calibration adds leave the problem's networks.
    """

    network: QuantizedFloat | None
    neurons: int
    loss_value: float
    objective: None = None

    @property
    def size_in_bytes(self) -> int:
        """Bytes of the ONNX file."""
        return 0 if self.network is None else self.network.size_in_bytes

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """X (n, d) to f (n,)."""
        return _scores(self.network, X)


def quantized_spectrahedra(problem: Problem, seconds: float) -> QuantizedSquares:
    """`spectrahedra` in `seconds`, quantized on the problem's rows. Raises InputError as both."""
    found = spectrahedra(problem, seconds)
    network = None
    if len(found.signs):
        network = quantized(squares_model(found.R, found.signs), problem.X, 0)
    loss = problem.loss.value(_scores(network, problem.X), problem.y)
    return QuantizedSquares(network, len(found.signs), loss)


def _scores(network: QuantizedFloat | None, X: np.ndarray) -> np.ndarray:
    return np.zeros(len(X)) if network is None else network.outputs(X)[:, 0]
