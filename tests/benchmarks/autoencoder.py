"""A variational autoencoder of ReLU layers, trained in numpy (D. Kingma, M. Welling, 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from qnn.networks.layered import LayeredNetwork
from tests.benchmarks.adversarial_training import Adam, Array


@dataclass(frozen=True)
class Autoencoder:
    """encoder: image to means and logarithms of variances of the latents; decoder: back."""

    encoder: LayeredNetwork
    decoder: LayeredNetwork

    def latents(self, X: Array) -> tuple[Array, Array]:
        """Means and standard deviations, each (n, latents)."""
        means, logarithms = np.split(self.encoder.scores(X), 2, axis=1)
        return means, np.exp(0.5 * logarithms)


def trained(X: Array, hidden: int, latents: int, epochs: int, seed: int = 0) -> Autoencoder:
    """Adam on the squared error plus the divergence of the latents from a standard normal one."""
    rng = np.random.default_rng(seed)
    there, back = [X.shape[1], hidden, 2 * latents], [latents, hidden, X.shape[1]]
    layers = [
        (rng.normal(size=(a, b)) * np.sqrt(2.0 / a), np.zeros(b))
        for a, b in [*pairwise(there), *pairwise(back)]
    ]
    layers[1][0][:] *= 0.1
    parameters = [array for layer in layers for array in layer]
    adam = Adam(parameters)
    for epoch in range(epochs):
        for rows in np.array_split(rng.permutation(len(X)), max(1, len(X) // 100)):
            noise = rng.normal(size=(len(rows), latents))
            rate = 1e-3 * (0.1 if epoch > 0.8 * epochs else 1.0)
            adam.step(_gradients(layers, X[rows], noise), rate)
    network = [LayeredNetwork(*zip(*layers[k : k + 2], strict=True)) for k in (0, 2)]
    return Autoencoder(*network)


def _gradients(layers: list[tuple[Array, Array]], x: Array, noise: Array) -> list[Array]:
    """Of the mean loss in all weights and biases, in their order."""
    (A, a), (B, b), (C, c), (D, d) = layers
    first = np.maximum(x @ A + a, 0.0)
    means, logarithms = np.split(first @ B + b, 2, axis=1)
    deviations = np.exp(0.5 * logarithms)
    z = means + deviations * noise
    second = np.maximum(z @ C + c, 0.0)
    out = 2.0 * (second @ D + d - x) / len(x)
    into = (out @ D.T) * (second > 0.0)
    at_z = into @ C.T
    of_logarithms = 0.5 * at_z * noise * deviations + 0.5 * (deviations**2 - 1.0) / len(x)
    latent = np.concatenate([at_z + means / len(x), of_logarithms], axis=1)
    start = (latent @ B.T) * (first > 0.0)
    pairs = [(x, start), (first, latent), (z, into), (second, out)]
    return [array for x, slope in pairs for array in (x.T @ slope, slope.sum(axis=0))]
