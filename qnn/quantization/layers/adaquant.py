"""AdaQuant (I. Hubara et al., ICML 2021): weights and steps learned through the rounding.

The rounding's derivative is taken for 1 inside the grid and 0 outside (straight-through). With a
free bias a layer's loss is a quadratic form in the weights' error, so that every step sees all rows
at once; the best codes of the whole run are kept, not the last.
"""

from __future__ import annotations

import numpy as np

from qnn.numerics.adam import Adam
from qnn.quantization.layers.grids import Codes, errors, limits, round_searched

Array = np.ndarray

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def adaquant(H: Array, W: Array, bits: int, rate: float = 3e-3, steps: int = 1000) -> Codes:
    """Learned codes and steps; rates are relative to the mean weight, and to the step."""
    start = round_searched(H, W, bits)
    unit = max(float(np.abs(W).mean()), np.finfo(float).tiny)
    latent, logarithm = W / unit, np.log(start.s)
    adam = Adam([latent, logarithm], rate)
    best, least = Codes(start.s.copy(), start.q.copy()), errors(H, start.weights - W)
    lo, hi = limits(bits)
    for step in range(steps):
        s = np.exp(logarithm)
        u = unit * latent / s[:, None]
        q = np.clip(np.rint(u), lo, hi)
        E = s[:, None] * q - W
        G = 2.0 * E @ H
        value = 0.5 * np.einsum("ij,ij->i", G, E)
        better = value < least
        least[better], best.s[better], best.q[better] = value[better], s[better], q[better]
        inside = (u >= lo - 0.5) & (u <= hi + 0.5)
        by_step = (G * (q - u * inside)).sum(axis=1) * s
        size = np.maximum(least, np.finfo(float).tiny)
        adam.step([G * inside * unit / size[:, None], by_step / size], 1.0 - step / steps)
    return best


def adaquant_best(H: Array, W: Array, bits: int) -> Codes:
    """The best of five rates times 1,000 and 5,000 steps, neuron by neuron."""
    best = round_searched(H, W, bits)
    for rate in RATES:
        for steps in (1000, 5000):
            best = best.better(adaquant(H, W, bits, rate, steps), H, W)
    return best
