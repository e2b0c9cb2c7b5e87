"""Minima under lower bounds of zero: a projected quasi-Newton method that takes few evaluations.

Two-loop L-BFGS in the variables that are not held at 0 by their slope, steps along the projection
(compare D. Kim, S. Sra, I. Dhillon, Tackling box-constrained optimization via a new projected
quasi-Newton approach, SIAM J. Sci. Comput. 32, 2010). It costs less between two evaluations than
`scipy.optimize`'s L-BFGS-B, which with thousands of variables takes longer than the evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qnn.numerics.compiled import compiled

Array = np.ndarray

# Pairs of steps and changes of the slope that are kept.
MEMORY = 12
# Evaluations along a direction before it is given up.
_TRIES = 10
_DECREASE = 1e-4
# Curvature along a step, relative to the square of the slope's change, that is one.
_BENT = 1e-10


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A point x (m,), its value and slope (m,); `reached` where nothing better is asked for."""

    x: Array
    value: float
    slope: Array
    reached: bool


Evaluate = Callable[[Array], Evaluated]


def minimize_projected(
    evaluate: Evaluate, x: Array, head: int, steps: int, scale: float, tolerance: float
) -> Evaluated:
    """The last point of so many steps from x (m,), whose entries from `head` on stay >= 0.

    scale : of the first step, relative to the slope. tolerance : a step that gains less than this,
    relative to the value, is the last.
    """
    at = evaluate(x)
    S, Y, count = np.zeros((MEMORY, len(x))), np.zeros((MEMORY, len(x))), 0
    d = np.empty(len(x))
    for step in range(steps):
        if at.reached:
            break
        held = (at.x <= 0.0) & (at.slope > 0.0)
        held[:head] = False
        _direction(at.slope, held, S, Y, count, scale, d)
        new, whole = _along(evaluate, at, d, head)
        if new is None and count:
            count = 0
            _direction(at.slope, held, S, Y, count, scale, d)
            new, whole = _along(evaluate, at, d, head)
        if new is None:
            break
        s, y = new.x - at.x, new.slope - at.slope
        if s @ y > _BENT * (y @ y):
            S[count % MEMORY], Y[count % MEMORY] = s, y
            count += 1
        elif whole:
            scale *= 10.0
        gain, at = at.value - new.value, new
        if step and gain < tolerance * max(abs(at.value), 1.0):
            break
    return at


def _along(evaluate: Evaluate, at: Evaluated, d: Array, head: int) -> tuple[Evaluated | None, bool]:
    """A lower point of the projected path, None where there is none; whether it is the first."""
    t = 1.0
    for tries in range(_TRIES):
        x = at.x + t * d
        np.maximum(x[head:], 0.0, out=x[head:])
        decrease = float(at.slope @ (x - at.x))
        if not decrease < 0.0:
            break
        new = evaluate(x)
        rise = new.value - at.value
        if new.reached or rise <= _DECREASE * decrease:
            return new, tries == 0
        # The least point of the parabola through both values.
        t *= min(max(-0.5 * decrease / (rise - decrease), 0.1), 0.5)
    return None, False


@compiled(nogil=True)
def _direction(
    slope: Array, held: Array, S: Array, Y: Array, count: int, scale: float, d: Array
) -> None:
    """−H times the slope in the variables that are not held; S, Y (MEMORY, m): a ring of pairs."""
    m, memory = len(slope), len(S)
    for i in range(m):
        d[i] = 0.0 if held[i] else -slope[i]
    weights, curvatures = np.zeros(memory), np.zeros(memory)
    scaled = False
    kept = min(count, memory)
    for back in range(kept):
        p = (count - 1 - back) % memory
        sy, yy, sd = 0.0, 0.0, 0.0
        for i in range(m):
            if not held[i]:
                sy += S[p, i] * Y[p, i]
                yy += Y[p, i] * Y[p, i]
                sd += S[p, i] * d[i]
        if not sy > _BENT * yy:
            continue
        if not scaled:
            scale, scaled = sy / yy, True
        curvatures[p] = sy
        weights[p] = sd / sy
        for i in range(m):
            if not held[i]:
                d[i] -= weights[p] * Y[p, i]
    for i in range(m):
        d[i] *= scale
    for back in range(kept - 1, -1, -1):
        p = (count - 1 - back) % memory
        if curvatures[p] > 0.0:
            yd = 0.0
            for i in range(m):
                if not held[i]:
                    yd += Y[p, i] * d[i]
            change = weights[p] - yd / curvatures[p]
            for i in range(m):
                if not held[i]:
                    d[i] += change * S[p, i]
