"""The ℓ1 problem of a piecewise linear loss (hinge, absolute): a linear program, by HiGHS.

Its dual is solved, `max yᵀν` over the box of the conjugate's domain and `|Hᵀν| ≤ λ`: two rows an
atom, a bounded column a data row, and the multipliers of the rows are α. The simplex method ends in
a vertex: as few neurons as possible, and both solutions to rounding errors.
"""

import numpy as np
from scipy.optimize import linprog

from qnn.errors import QnnError
from qnn.losses import Loss

_OPTIONS = {
    "presolve": False,
    "primal_feasibility_tolerance": 1e-10,
    "dual_feasibility_tolerance": 1e-10,
}


def solve_linear(
    loss: Loss, H: np.ndarray, y: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (m,), those not in the basis exactly 0, and the dual point ν (n,).

    loss: one with a linear dual. H (n, m), y (n,), penalty λ > 0. Raises QnnError where the linear
    program is not solved, which only numbers of very different sizes can cause.
    """
    n, m = H.shape
    lowest = loss.clip_dual(np.full(n, -np.inf), y)
    highest = loss.clip_dual(np.full(n, np.inf), y)
    if m == 0:
        return np.zeros(0), np.where(y > 0.0, highest, np.where(y < 0.0, lowest, 0.0))
    # The solver's tolerances are absolute: bounds of 1, as far as entries then stay moderate.
    unit = np.maximum(penalty, 1e-4 * np.abs(H).max(axis=0))
    size = float(np.abs(y).max()) or 1.0
    columns = (H / unit).T
    # The interior point method, with a crossover to a vertex, where the simplex method gives up.
    for method in ("highs-ds", "highs-ipm"):
        found = linprog(
            -y / size,
            A_ub=np.vstack([columns, -columns]),
            b_ub=np.tile(penalty / unit, 2),
            bounds=np.column_stack([lowest, highest]),
            method=method,
            options=_OPTIONS,
        )
        if found.status == 0 and found.x is not None:
            multipliers = found.ineqlin.marginals
            return size * (multipliers[m:] - multipliers[:m]) / unit, found.x
    raise QnnError(f"the refit's linear program was not solved: {found.message}")
