"""The gauge, and the maximum of a functional, by an interior-point solver: Clarabel."""

from __future__ import annotations

import clarabel
import numpy as np
from scipy import sparse

from qnn.moments.hierarchy import MomentMatrix

Array = np.ndarray


class GaugeSolver:
    """``min s`` of ``s G + K(b) + F(x) >= 0`` for one behaviour after the other."""

    def __init__(self, level: MomentMatrix, tolerance: float = 1e-9) -> None:
        count = level.free.count
        unit = level.assemble(np.zeros((count, len(level.behaviour))), np.eye(count))
        self.level = level
        self._A = sparse.csc_matrix(-triangle(np.concatenate([level.centre[None], unit])).T)
        self._objective = np.append(1.0, np.zeros(count))
        self._quadratic = sparse.csc_matrix((count + 1, count + 1))
        self._cones = [clarabel.PSDTriangleConeT(level.size)]
        self._settings = settings(tolerance)

    def solve(self, b: Array) -> tuple[float, Array, Array]:
        """s, x (f,) and Y (n, n) for b (p,) relative to the centre, however the solver ended."""
        right = triangle(self.level.assemble(b, np.zeros(self.level.free.count))[None])[0]
        solution = clarabel.DefaultSolver(
            self._quadratic, self._objective, self._A, right, self._cones, self._settings
        ).solve()
        values = np.array(solution.x)
        return float(values[0]), values[1:], matrix(np.array(solution.z), self.level.size)


def maximize(level: MomentMatrix, coefficients: Array, tolerance: float) -> tuple[Array, Array]:
    """The best b (p,), relative to the centre, of ``coefficients . b``, and a dual Y (n, n)."""
    p, f = len(level.behaviour), level.free.count
    basis = level.assemble(np.eye(p + f)[:, :p], np.eye(p + f)[:, p:])
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix((p + f, p + f)),
        np.concatenate([-coefficients, np.zeros(f)]),
        sparse.csc_matrix(-triangle(basis).T),
        triangle(level.centre[None])[0],
        [clarabel.PSDTriangleConeT(level.size)],
        settings(tolerance),
    ).solve()
    return np.array(solution.x)[:p], matrix(np.array(solution.z), level.size)


def settings(tolerance: float) -> clarabel.DefaultSettings:
    """Quiet, one thread, and a tolerance for the gap and both residuals."""
    chosen = clarabel.DefaultSettings()
    chosen.verbose = False
    chosen.max_threads = 1
    chosen.tol_gap_abs = chosen.tol_gap_rel = chosen.tol_feas = tolerance
    return chosen


def triangle(matrices: Array) -> Array:
    """Upper triangles column by column, off-diagonal entries times sqrt 2: (N, n(n+1)/2)."""
    column, row = np.tril_indices(matrices.shape[-1])
    return matrices[:, row, column] * np.where(row == column, 1.0, 2.0**0.5)


def matrix(values: Array, n: int) -> Array:
    """The symmetric matrix of one `triangle`."""
    column, row = np.tril_indices(n)
    out = np.zeros((n, n))
    out[row, column] = out[column, row] = values / np.where(row == column, 1.0, 2.0**0.5)
    return out
