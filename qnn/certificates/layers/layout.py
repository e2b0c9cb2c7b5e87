"""What a layer's certificate states; nothing here is trusted by the checker.

The objective of neuron j on rows x_r with weights ω_rj >= 0 is

    f_j(s, q) = (s q - w_j)' H_j (s q - w_j),
    H_j = sum_r ω_rj (x_r - m_j)(x_r - m_j)' / sum_r ω_rj + rho_j I,    m_j the weighted mean,

over codes q in {-2^(b-1), ..., 2^(b-1) - 1}^d. Its state says over what the bound holds:

* ``optimal``: over all steps s > 0 and all codes, and it is the neuron's own value but for a
  relative 1e-5;
* ``optimal_at_scale``: the same at the neuron's own step only;
* ``bounded``: at its own step, and the value may lie above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

FORMAT = 1
STATES = ("bounded", "optimal_at_scale", "optimal")


@dataclass(frozen=True, eq=False)
class LayerClaim:
    """m neurons of d inputs; see the module for what is claimed.

    target w (m, d); rho (m,); bits, scale s, value, bound (m,); codes q (m, d) int8; state (m,):
    the place in STATES. The proof: ``square``, ``linear`` (m, d): the parabolas of a bounded
    neuron; of one that is optimal at its step minus two diagonals below s^2 H, in that order (the
    second below a leading block), or zeros; zeros of others; ``order`` (1 or m, d): in which the
    search decides coordinates, the last one first; ``edges``: one after the other the cells of
    steps of each optimal neuron, as many as ``edge_counts`` (m,) says; ``nodes`` (m,): how long its
    search was.
    """

    layer: str
    data_sha256: str
    target: Array
    rho: Array
    bits: Array
    scale: Array
    codes: Array
    value: Array
    bound: Array
    state: Array
    square: Array
    linear: Array
    order: Array
    edges: Array
    edge_counts: Array
    nodes: Array
    format: int = FORMAT

    @property
    def states(self) -> list[str]:
        """The state of each neuron, by name."""
        return [STATES[k] for k in self.state]

    def counts(self) -> dict[str, int]:
        """How many neurons are in each state."""
        names = self.states
        return {name: names.count(name) for name in STATES}

    def cells(self, j: int) -> Array:
        """The ends of the cells of steps of neuron j."""
        ends = np.cumsum(self.edge_counts)
        cells: Array = self.edges[ends[j] - self.edge_counts[j] : ends[j]]
        return cells
