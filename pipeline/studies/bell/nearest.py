"""Which verdicts are nearest to the boundary: those whose proofs have the least room."""

from __future__ import annotations

import numpy as np

from qnn.moments.bell import decide

Array = np.ndarray

# Candidates for each place: verdicts that took most steps, as steps halve the distance.
_CANDIDATES = 4
_GAP, _STEPS = 1e-6, 60


def nearest(b: Array, verdict: Array, steps: Array, scenario: str, level: str, count: int) -> Array:
    """`count` decided behaviours (N, p) near the boundary, both sides by turns; ascending.

    Of those that took most `steps` (N,), the ones whose gauges, bounded anew to a relative 1e-6,
    are nearest to 1. Fewer where fewer are decided.
    """
    sides = []
    for name in ("inside", "outside"):
        rows = np.flatnonzero(verdict == name)
        rows = rows[np.argsort(-steps[rows], kind="stable")][: _CANDIDATES * count]
        if len(rows):
            known = decide(b[rows], scenario, level, gap=_GAP, steps=_STEPS)
            bounds = np.stack([known.gauge_lower, known.gauge_upper])
            distance = np.abs(bounds - 1.0).min(axis=0)
            rows = rows[np.argsort(distance, kind="stable")]
        sides.append(rows.tolist())
    mixed = [
        side[place] for place in range(max(map(len, sides))) for side in sides if place < len(side)
    ]
    return np.array(sorted(mixed[:count]), dtype=np.int64)
