"""The numbers that prove an upper bound: what the record keeps, and the checker reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

# 1: the file has every field; 2: whole numbers are packed (see `packing`).
FORMATS = (1, 2)


@dataclass(frozen=True, eq=False)
class CspProof:
    """A tree over all assignments, and of each leaf the numbers that bound its values from above.

    A variable i of k values is written as k − 1 signs, entries 1 + i (k − 1) + a of x: −1 where
    the value is a, else +1; the entry 0 of x is +1. `tree` lists the nodes in preorder: a
    variable, followed by the k subtrees in which it has the values 0..k−1, or −1, a leaf. `free`:
    the root's first variable is 0 without a node of its own, all else following from the symmetry
    of values (see the checker); else −1. Of each leaf, one after the other in the order of the
    tree, for `w` = (the fixed part, the free signs in their order): `diagonals`, one number for
    each entry of w; `exclusions`, one for each pair a < b of signs of each free variable (none if
    k = 2); and its cuts, `leaf_cuts[leaf_starts[l]:leaf_starts[l + 1]]` with `multipliers` ≥ 0.
    A cut c is an odd vector over x: `cut_entries`, `cut_coefficients` from `cut_starts[c]`.
    """

    n: int
    k: int
    problem_sha256: str
    upper_bound: float
    free: int
    tree: Array
    diagonals: Array
    exclusions: Array
    cut_starts: Array
    cut_entries: Array
    cut_coefficients: Array
    leaf_starts: Array
    leaf_cuts: Array
    multipliers: Array
    format: int = 1

    @property
    def leaves(self) -> int:
        """How many the tree has."""
        return int(np.count_nonzero(self.tree == -1))
