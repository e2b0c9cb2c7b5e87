"""What is asked of a network: one row, what may happen to it, the answer that must survive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


# A leaf of a tree whose bound is proven by multipliers, and one whose linear bounds are enough.
DUAL, LINEAR = -1, -2
# The same layer by layer (see `structured`): for sparse layers, balls, and networks that are large.
LAYERED_DUAL, LAYERED_LINEAR = -3, -4


@dataclass(frozen=True, eq=False)
class Question:
    """One row, what may happen to it, and the answer that must survive.

    network_sha256: of the network's npz file, bit for bit.
    norm: "linf", each number by at most its radius, or "l2", ``sum((delta / radius)^2) <= 1`` over
    the numbers whose radius is not 0.
    numbers, radii (k,): the raw numeric columns in the layout's order and how far each may move, in
    its own unit; NaN is a missing value, which stays missing. Of a network without preprocessing:
    its d inputs.
    lowest, highest (k,): the values that a number may have at all ("linf" only).
    categories: the raw categorical columns in order, None where missing; choices: for each, the
    values that it may have instead; swaps: how many may change at once.
    label: the index of the class that must win; of a network with one output 1 where the score must
    be positive and 0 where it must be negative.
    band (2,): instead of a label (then -1), between which scores output ``output`` must stay; NaN
    where there is a label.
    """

    network_sha256: str
    norm: str
    numbers: Array
    radii: Array
    lowest: Array
    highest: Array
    categories: tuple[str | None, ...]
    choices: tuple[tuple[str, ...], ...]
    swaps: int
    label: int
    band: Array
    output: int = 0
