"""After the codes: biases by distillation, and the statistics of channels matched again.

Neither sees labels. Bias tuning minimizes the divergence of the quantized network's predictions
from the float one's over the biases alone. Statistics tuning gives every output channel of a layer
the mean and the variance that it had in the float network: the batch normalization that was folded
away, unfolded, measured again and folded into step and bias (I. Hubara et al., ICML 2021, call it
para-normalization).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qnn.numerics.adam import Adam
from qnn.quantization.graph.execution import (
    ActivationGrid,
    Weights,
    backward,
    logits_of,
    output_rows,
    run,
)
from qnn.quantization.graph.operators import softmax
from qnn.quantization.graph.reading import Graph

Array = np.ndarray


def classes_of(logits: Array) -> bool:
    """Whether outputs are scores of classes: a table of two columns or more."""
    return logits.ndim == 2 and logits.shape[1] > 1


def divergence(reference: Array, logits: Array) -> float:
    """Mean KL(softmax(reference) || softmax(logits)); else half the mean square error."""
    if not classes_of(reference):
        return 0.5 * float(((reference - logits) ** 2).mean())
    p = reference - reference.max(axis=1, keepdims=True)
    q = logits - logits.max(axis=1, keepdims=True)
    p = p - np.log(np.exp(p).sum(axis=1, keepdims=True))
    q = q - np.log(np.exp(q).sum(axis=1, keepdims=True))
    return max(float((np.exp(p) * (p - q)).sum(axis=1).mean()), 0.0)


def tune_biases(
    graph: Graph,
    X: Array,
    reference: Array,
    weights: Mapping[str, Weights],
    grids: Mapping[str, ActivationGrid],
    steps: int = 200,
    rate: float = 3e-3,
) -> dict[str, Weights]:
    """Biases that bring the outputs nearer to the reference (n, ...): the best seen."""
    pairs = {name: (W, b.copy()) for name, (W, b) in weights.items()}
    names = [layer.name for layer in graph.layers]
    adam = Adam([pairs[name][1] for name in names], rate)
    best, least = pairs, np.inf
    output = logits_of(graph)
    for step in range(steps + 1):
        values = run(graph, X, pairs, grids)
        loss = divergence(reference, values[output])
        if loss < least:
            best, least = {n: (W, b.copy()) for n, (W, b) in pairs.items()}, loss
        if step == steps:
            break
        found = backward(graph, values, _slope(reference, values[output]), pairs, grids)
        layers = {layer.name: layer for layer in graph.layers}
        gradients = [
            output_rows(layers[n], found[n]).sum(axis=0) if n in found else 0.0 * pairs[n][1]
            for n in names
        ]
        adam.step(gradients, 1.0 - step / steps)
    return best


def _slope(reference: Array, logits: Array) -> Array:
    """The gradient of `divergence` by the logits."""
    if not classes_of(reference):
        return (logits - reference) / logits.size
    return (softmax(logits) - softmax(reference)) / len(logits)


def match_statistics(
    graph: Graph,
    X: Array,
    weights: Mapping[str, Weights],
    grids: Mapping[str, ActivationGrid],
) -> tuple[dict[str, Weights], dict[str, Array]]:
    """Layers with the float network's means and variances of channels, and the factors (m,).

    Layer by layer, each on inputs from the layers matched before it. A channel that does not vary
    keeps its weights.
    """
    floats = run(graph, X)
    pairs, factors = dict(weights), {}
    for layer in graph.layers:
        values = run(graph, X, pairs, grids, until=layer.target)
        wanted, got = (output_rows(layer, v[layer.target]) for v in (floats, values))
        W, b = pairs[layer.name]
        spread = got.std(axis=0)
        good = spread > 1e-12 * (1.0 + np.abs(got).max())
        factor = np.divide(wanted.std(axis=0), spread, out=np.ones(len(W)), where=good)
        factor[factor <= 0.0] = 1.0
        mean = wanted.mean(axis=0) - factor * (got.mean(axis=0) - b)
        pairs[layer.name] = (W * factor[:, None], mean)
        factors[layer.name] = factor
    return pairs, factors
