"""The second layer as an ℓ1 problem: `min_α ℓ(Hα, y) + λ Σ|α_j|`, λ = βd, H fixed.

Three methods, by what the loss is: the squared one is a Lasso; smooth ones take a proximal Newton
method; piecewise linear ones are linear programs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from qnn.errors import InputError
from qnn.losses import Loss
from qnn.numerics.weights import weighted
from qnn.training.rounding.refit.lasso import solve_lasso
from qnn.training.rounding.refit.linear_program import solve_linear
from qnn.training.rounding.refit.newton import solve_smooth

# Targets larger than this many δ leave Huber's loss linear nearly everywhere.
MANY_DELTAS = 30.0


@dataclass(frozen=True, eq=False)
class SecondLayer:
    """alpha (m,), predictions `Hα` (n,), the objective and its relative duality gap.

    nu (n,) is the dual point, in the domain of the loss's conjugate: `|Hᵀν| ≤ λ` up to rounding.
    """

    alpha: np.ndarray
    predictions: np.ndarray
    nu: np.ndarray
    objective: float
    measure_gap: Callable[[], float]

    @cached_property
    def gap(self) -> float:
        """Measured when it is asked for: of some losses it takes half as long as the refit."""
        return self.measure_gap()


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
    # Methods end at tolerances for weights of order one. A power of two, which rounds nothing.
    unit = 1.0 if loss.weights is None else 2.0 ** round(np.log2(loss.weights.mean()))
    if unit != 1.0:
        layer = refit(loss.per_weight(unit), H, y, penalty / unit, start)
        inside = loss.clip_dual(unit * layer.nu, y)
        return replace(layer, nu=inside, objective=unit * layer.objective)
    nu = None
    if loss.piecewise_linear:
        alpha, nu = solve_linear(loss, H, y, penalty)
        if start is not None and _value(loss, H, y, penalty, start) < _value(
            loss, H, y, penalty, alpha
        ):
            alpha = np.array(start, dtype=np.float64)
    elif loss.quadratic:
        weights = loss.weights
        G, q = weighted(H, weights).T @ H, weighted(H, weights).T @ y
        alpha = solve_lasso(G, q, penalty, start).coefficients
    elif loss.outlier_price is not None and np.abs(y).max() > MANY_DELTAS * loss.outlier_price:
        alpha = _solve_mostly_linear(loss, loss.outlier_price, H, y, penalty, start)
    else:
        alpha = solve_smooth(loss, H, y, penalty, start)
    predictions = H @ alpha
    objective = loss.value(predictions, y) + penalty * float(np.abs(alpha).sum())
    if nu is None:
        nu = -loss.gradient(predictions, y)
    nu = loss.clip_dual(nu, y)
    gap = partial(_gap, loss, H, y, penalty, nu, objective)
    return SecondLayer(alpha, predictions, nu, objective, gap)


def _gap(
    loss: Loss, H: np.ndarray, y: np.ndarray, penalty: float, nu: np.ndarray, objective: float
) -> float:
    # Any scaling with |Hᵀν| ≤ λ is dual feasible: `−g*(−ν)` bounds the optimum from below.
    steepest = float(np.abs(H.T @ nu).max(initial=0.0))
    limit = penalty / steepest if steepest > penalty else 1.0
    dual = loss.dual_value(loss.best_dual_scale(nu, y, limit) * nu, y)
    gap = (objective - dual) / objective if objective > 0.0 else 0.0
    return max(gap, 0.0)


def _solve_mostly_linear(
    loss: Loss,
    delta: float,
    H: np.ndarray,
    y: np.ndarray,
    penalty: float,
    start: np.ndarray | None,
) -> np.ndarray:
    """Huber's loss where δ is small beside the targets: a Lasso with an outlier's shift a row.

    `Huber(r) = min_o ½(r − o)² + δ|o|`, so the rows' shifts are columns of the unit matrix, scaled
    so that all have the penalty λ. Newton's method takes too many steps there: nearly everywhere
    the second derivative is 0. Of a row with a weight w, ``sqrt(w)`` times it has the price
    ``sqrt(w) δ``.
    """
    root = np.sqrt(loss.weight) * np.ones(len(y))
    H, y = root[:, None] * H, root * y
    scale = penalty / (delta * root)
    wide = np.hstack([H, np.diag(scale)])
    begin = None
    if start is not None:
        residual = y - H @ start
        shift = residual - np.clip(residual, -delta * root, delta * root)
        begin = np.concatenate([start, shift / scale])
    return solve_lasso(wide.T @ wide, wide.T @ y, penalty, begin).coefficients[: H.shape[1]]


def check_loss(loss: Loss) -> None:
    """Raise InputError, before any computing, if the second layer cannot be refitted."""
    if not (loss.smooth or loss.piecewise_linear):
        raise InputError(
            f"loss {loss.name!r} has no refit of the second layer: it must have a curvature and a "
            "second derivative, or a linear dual (see docs/adding_a_loss.md)"
        )


def _value(loss: Loss, H: np.ndarray, y: np.ndarray, penalty: float, alpha: np.ndarray) -> float:
    return loss.value(H @ alpha, y) + penalty * float(np.abs(alpha).sum())
