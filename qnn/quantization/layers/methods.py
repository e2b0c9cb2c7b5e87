"""The methods by name: each takes H (d, d), W (m, d) and bits, and gives codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnn.quantization.layers.adaquant import adaquant
from qnn.quantization.layers.grids import Codes, round_searched, round_to_range
from qnn.quantization.layers.lattice import descent, gptq, kbest

Array = np.ndarray

METHODS: dict[str, Callable[[Array, Array, int], Codes]] = {
    "rtn_range": round_to_range,
    "rtn": round_searched,
    "gptq": gptq,
    "descent": descent,
    "adaquant": adaquant,
    "kbest": kbest,
}


def codes_of(
    method: str,
    H: Array,
    W: Array,
    bits: Array,
    beam: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Codes:
    """Codes of neurons with bits (m,) of their own; steps rounded to 32 bits, as in the file.

    progress is told the share that is done.
    """
    s, q = np.ones(len(W)), np.zeros(W.shape, np.int8)
    done = 0

    def say(share: float) -> None:
        progress((done + share * len(rows)) / len(W))

    for width in np.unique(bits):
        rows = np.flatnonzero(bits == width)
        if method == "kbest":
            made = kbest(H, W[rows], int(width), beam, say)
        else:
            made = METHODS[method](H, W[rows], int(width))
        s[rows], q[rows] = made.s, made.q
        say(1.0)
        done += len(rows)
    return Codes(s.astype(np.float32).astype(np.float64), q)
