"""One layer: its objective ‖s q − w‖²_H by neuron, methods that lower it, proofs of how far.

`grids` (steps and codes), `objective` (H from rows), `adaquant`, `lattice` (GPTQ, K-best, descent),
`sphere` (exact optima), `diagonals` (what the rest of a search costs), `bounds` (the SDP's one
diagonal), `methods` (the registry), `certify`.
"""

__all__ = [
    "adaquant",
    "blocks",
    "bounds",
    "certify",
    "diagonals",
    "grids",
    "lattice",
    "methods",
    "objective",
    "sphere",
]
