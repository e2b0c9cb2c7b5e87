"""The float MLP, quantized after training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnn.training.arms.post_training import QuantizedFloat, quantized, relu_model
from qnn.training.arms.references.float_mlp import as_scores, float_mlp

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class QuantizedMlp:
    """A quantized network and the classes (k,) that its outputs stand for; as `FloatMlp`."""

    network: QuantizedFloat
    classes_: Array

    def decision_function(self, X: Array) -> Array:
        """Scores of rows (n, d)."""
        return as_scores(self.network.outputs(X))

    def predict(self, X: Array) -> Array:
        """The class of each row (n, d)."""
        found: Array = self.classes_[self.network.outputs(X).argmax(axis=1)]
        return found

    @property
    def size_in_bytes(self) -> int:
        """Bytes of the ONNX file."""
        return self.network.size_in_bytes


def quantized_mlp(X: Array, labels: Array, seed: int) -> QuantizedMlp:
    """`float_mlp` of the same seed, quantized on X (n, d). Raises InputError as `quantized`."""
    trained = float_mlp(X, labels, seed)
    model = relu_model(trained.network.weights, trained.network.biases)
    return QuantizedMlp(quantized(model, X, seed), trained.classes_)
