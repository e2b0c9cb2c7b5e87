"""The second layer as an ℓ1 problem: `min_α ℓ(Hα, y) + λ Σ|α_j|`, λ = βd, H fixed.

One function a loss, found in `REFITS` by the loss's name.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.losses import Loss
from qnn.rounding.lasso import solve_lasso


@dataclass(frozen=True, eq=False)
class SecondLayer:
    """alpha (m,), predictions `Hα` (n,), the objective and its relative duality gap."""

    alpha: np.ndarray
    predictions: np.ndarray
    objective: float
    gap: float


def refit(
    loss: Loss,
    H: np.ndarray,
    y: np.ndarray,
    penalty: float,
    start: np.ndarray | None = None,
) -> SecondLayer:
    """The best second layer for features H (n, m), targets y (n,) and penalty λ > 0.

    `start` (m,) is a warm start; the objective is never above its own. Many entries of the result
    are exactly 0. Raises InputError for a loss that has no refit.
    """
    check_loss(loss)
    return REFITS[loss.name](loss, H, y, penalty, start)


def check_loss(loss: Loss) -> None:
    """Raise InputError, before any computing, if the second layer cannot be refitted."""
    if loss.name not in REFITS:
        raise InputError(
            f"loss {loss.name!r} has no refit of the second layer yet: use one of "
            + ", ".join(sorted(REFITS))
        )


def _refit_squared(
    loss: Loss, H: np.ndarray, y: np.ndarray, penalty: float, start: np.ndarray | None
) -> SecondLayer:
    """`½‖Hα−y‖² + λΣ|α|`: a Lasso, solved on the Gram matrix."""
    alpha = solve_lasso(H.T @ H, H.T @ y, penalty, start).coefficients
    predictions = H @ alpha
    objective = loss.value(predictions, y) + penalty * float(np.abs(alpha).sum())
    nu = y - predictions
    # Any scaling with |Hᵀν| ≤ λ is dual feasible: `νᵀy − ½‖ν‖²` bounds the optimum from below.
    steepest = float(np.abs(H.T @ nu).max(initial=0.0))
    limit = penalty / steepest if steepest > penalty else 1.0
    dual = loss.dual_value(loss.best_dual_scale(nu, y, limit) * nu, y)
    gap = (objective - dual) / objective if objective > 0.0 else 0.0
    return SecondLayer(alpha, predictions, objective, max(gap, 0.0))


Refit = Callable[[Loss, np.ndarray, np.ndarray, float, np.ndarray | None], SecondLayer]
REFITS: dict[str, Refit] = {"squared": _refit_squared}
