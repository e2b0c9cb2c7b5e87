"""The ℓ1 problem of a smooth loss, `min_α ℓ(Hα) + λ Σ|α_j|`, by a proximal Newton method.

Each step minimises the loss's second-order model plus the penalty over a working set, by the
active-set Lasso (Lee, Sun, Saunders, Proximal Newton-type methods for minimizing composite
functions, SIAM J. Optim. 2014). The model's Hessian `HᵀDH` may be singular where a loss is flat or
linear (squared hinge, Huber): a Levenberg-Marquardt weight on its diagonal follows how well the
model predicts, and vanishes where it does.

Why not coordinate descent (scikit-learn, skglm): see `qnn.training.rounding.refit.lasso`.
"""

import numpy as np

from qnn.losses import Loss
from qnn.numerics.weights import weighted
from qnn.training.rounding.refit.lasso import solve_lasso

# Atoms that join the working set at once, beyond those with a coefficient.
BATCH = 64
MAX_STEPS = 300
# Weight on the diagonal, relative to that of the majorant: at first, and the range it moves in.
DAMPING = 1e-6
LEAST, MOST = 1e-13, 1e6
# Expected gains below this, relative to the objective, drown in its rounding errors.
ROUNDING = 1e-13


def solve_smooth(
    loss: Loss,
    H: np.ndarray,
    y: np.ndarray,
    penalty: float,
    start: np.ndarray | None = None,
    tol: float = 1e-11,
) -> np.ndarray:
    """Coefficients (m,), many of them exactly 0; the objective is never above that of `start`.

    loss: one with a curvature and a second derivative. H (n, m), y (n,), penalty λ > 0. Optimal
    when no subgradient condition is violated by more than `tol · λ`, or when rounding errors allow
    no further step.
    """
    m = H.shape[1]
    a = np.zeros(m) if start is None else np.array(start, dtype=np.float64)
    square = np.einsum("ij,ij->j", H, weighted(H, loss.weights))
    # The floor keeps the model bounded where an atom vanishes on all rows.
    majorant = (loss.curvature or 1.0) * np.maximum(square, 1e-8 * square.max(initial=0.0))
    if not majorant.any():
        return np.zeros(m)
    predictions = H @ a
    value = loss.value(predictions, y) + penalty * float(np.abs(a).sum())
    damping, polished = DAMPING, 0
    best, lowest = a, np.inf
    for _ in range(MAX_STEPS):
        slope = -(H.T @ loss.gradient(predictions, y))
        violation, working = _violation(a, slope, penalty, tol)
        if polished and violation > 0.5 * lowest:
            break
        best, lowest = a, violation
        if violation <= tol * penalty:
            break
        part = H[:, working]
        curved = part * np.sqrt(loss.second_derivative(predictions, y))[:, None]
        G = curved.T @ curved
        accepted = False
        while not accepted and damping <= MOST:
            damped = G.copy()
            damped.flat[:: len(G) + 1] += damping * majorant[working]
            old = a[working]
            q = slope[working] + damped @ old
            new = solve_lasso(damped, q, penalty, old, tol=0.1 * tol).coefficients
            step = new - old
            moved = predictions + part @ step
            reached = loss.value(moved, y) + penalty * float(np.abs(a).sum())
            reached += penalty * float(np.abs(new).sum() - np.abs(old).sum())
            expected = float(slope[working] @ step) - 0.5 * float(step @ damped @ step)
            expected -= penalty * float(np.abs(new).sum() - np.abs(old).sum())
            if expected <= ROUNDING * abs(value):
                # The objective cannot tell any more, but the violation can: Newton's last steps.
                accepted, polished = True, polished + 1
                break
            ratio = (value - reached) / expected
            accepted = ratio > 0.01
            damping = max(LEAST, 0.1 * damping) if ratio > 0.7 else damping
            damping = 10.0 * damping if ratio < 0.3 else damping
        if not accepted:
            break
        a = a.copy()
        a[working] = new
        # Summed anew: the updates' rounding errors would stay.
        predictions = H @ a
        value = loss.value(predictions, y) + penalty * float(np.abs(a).sum())
    return best


def _violation(
    a: np.ndarray, slope: np.ndarray, penalty: float, tol: float
) -> tuple[float, np.ndarray]:
    """The largest violation of optimality, and the support with the atoms that violate most."""
    inactive = a == 0.0
    excess = np.where(inactive, np.abs(slope) - penalty, 0.0)
    inside = np.where(inactive, 0.0, np.abs(slope - penalty * np.sign(a)))
    order = np.argsort(-excess, kind="stable")[:BATCH]
    added = order[excess[order] > tol * penalty]
    violation = float(max(excess.max(initial=0.0), inside.max(initial=0.0)))
    return violation, np.sort(np.concatenate([np.flatnonzero(~inactive), added]))
