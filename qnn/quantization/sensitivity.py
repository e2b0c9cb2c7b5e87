"""How much the network's predictions move with a pre-activation: the diagonal of Fisher's matrix.

For scores of classes ``E_c (d log p_c / d a)^2``, c drawn from the network's own prediction, so no
label is needed; for other outputs the square of the output's derivative. Exact for few outputs,
else an average over random directions with the same covariance.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from qnn.quantization.graph.execution import backward, output_rows
from qnn.quantization.graph.operators import softmax
from qnn.quantization.graph.reading import Graph
from qnn.quantization.tuning import classes_of

Array = np.ndarray

_MOST = 16


def sensitivities(
    graph: Graph,
    values: dict[str, Array],
    reference: Array,
    seed: int,
    kept: Collection[str] = (),
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Weights (rows, m) at least 0 by layer name; layers that no gradient reaches are left out.

    Rows of a convolution are positions, as in `output_rows`. Beside them, of the layers ``kept``,
    the gradients (c, rows, m) by direction whose squares these sum.
    """
    layers = {layer.name: layer for layer in graph.layers}
    found: dict[str, Array] = {}
    single: dict[str, list[Array]] = {name: [] for name in kept}
    for direction in _directions(reference, seed):
        for name, gradient in backward(graph, values, direction).items():
            rows = output_rows(layers[name], gradient)
            square = rows**2
            found[name] = found[name] + square if name in found else square
            if name in single:
                single[name].append(rows)
    return found, {name: np.stack(parts) for name, parts in single.items() if parts}


def _directions(reference: Array, seed: int) -> list[Array]:
    """Vectors by row whose products sum to Fisher's matrix of the outputs."""
    rng = np.random.default_rng(seed)
    if not classes_of(reference):
        if reference[0].size == 1:
            return [np.ones_like(reference)]
        root = 1.0 / np.sqrt(_MOST)
        return [root * rng.choice([-1.0, 1.0], reference.shape) for _ in range(_MOST)]
    p = softmax(reference)
    classes = p.shape[1]
    if classes <= _MOST:
        unit = np.eye(classes)
        return [np.sqrt(p[:, c : c + 1]) * (unit[c] - p) for c in range(classes)]
    made = []
    for _ in range(_MOST):
        signs = rng.choice([-1.0, 1.0], p.shape) * np.sqrt(p)
        made.append((signs - p * signs.sum(axis=1, keepdims=True)) / np.sqrt(_MOST))
    return made
