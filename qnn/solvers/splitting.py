"""The iteration of ADMM on the symmetric reduction, in scaled units."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from qnn.solvers.anderson import Anderson
from qnn.solvers.ridge import Ridge, constant_diagonal
from qnn.solvers.scaling import ScaledProblem

Array = np.ndarray

_RELAX = 1.7


class Splitting:
    """Douglas-Rachford form of ADMM: the state ``Y_P``, ``Y_N`` (D, D) and u (n,) for the loss.

    Projecting gives the cone's copies ``P = Y_P+`` and ``N = Y_N+``, and the multipliers
    ``Y_P - P``, whose ``-sigma`` multiple is the dual slack; the loss's copy of the predictions is
    ``r = prox(u)``. Squared loss needs no copy: its quadratic is part of the linear step. The
    predictions of ``Y_P - Y_N`` follow the state linearly, so A is applied to low-rank P, N only.
    """

    def __init__(
        self, scaled: ScaledProblem, ridge: Ridge, sigma: float, loss_sigma: float = 1.0
    ) -> None:
        self.scaled, self.ridge = scaled, ridge
        self.sigma, self.loss_sigma = sigma, loss_sigma
        self.direct = scaled.loss.name == "squared"
        D, n = scaled.size, scaled.n
        self._squares = 2 * D * D
        measured = self._squares + (0 if self.direct else n)
        self.state = np.zeros(measured + (n if ridge.in_rows else 0))
        self._anderson = Anderson(len(self.state), measured)
        self.P = self.N = self.U = self.W = np.zeros((D, D))
        self.nu = np.zeros(n)
        self._restart()
        self._split()

    def set_state(
        self, P: Array, N: Array, slack_P: Array, slack_N: Array, nu: Array, predictions: Array
    ) -> None:
        """Start from a primal and a dual point."""
        D, s = self.scaled.size, self.sigma
        state = self.state
        state[: self._squares] = np.concatenate(
            [(P - slack_P / s).ravel(), (N - slack_N / s).ravel()]
        )
        if self.ridge.in_rows:
            Y = state[: self._squares].reshape(2, D, D)
            difference = Y[0] - Y[1]
            if not self.scaled.lift.joint:
                difference = constant_diagonal(difference)
            self._tracked(state)[:] = self.scaled.lift.apply(difference)
        if not self.direct:
            self._loss_state(state)[:] = predictions - nu / self.loss_sigma
        self._restart()
        self._split()

    def _restart(self) -> None:
        """The map has changed: so has the metric in which its residual is measured."""
        if not self.direct:
            weights = np.ones(self._anderson.measured)
            self._loss_state(weights)[:] = np.sqrt(self.loss_sigma / self.sigma)
            self._anderson.weights = weights
        self._anderson.restart()

    def _tracked(self, state: Array) -> Array:
        """A(Y_P - Y_N), a linear function of the state."""
        return state[len(state) - self.scaled.n :]

    def _loss_state(self, state: Array) -> Array:
        return state[self._squares : self._squares + self.scaled.n]

    def _split(self) -> None:
        D = self.scaled.size
        Y = self.state[: self._squares].reshape(2, D, D)
        self.P, self.U, left = split_cone(Y[0])
        self.N, self.W, right = split_cone(Y[1])
        self._cone_predictions = None
        if self.ridge.in_rows:
            self._cone_predictions = self._apply(left, right)
        if not self.direct:
            u = self._loss_state(self.state)
            self.r = self.scaled.loss.prox(u, self.scaled.y, 1.0 / self.loss_sigma)

    def _apply(self, left: Array, right: Array) -> Array:
        """The predictions of P - N, from factors where their ranks are small."""
        lift = self.scaled.lift
        Z = self.P - self.N
        if lift.template is None and left.shape[1] + right.shape[1] <= lift.size:
            hidden = lift.features @ np.hstack([left, right])
            np.multiply(hidden, hidden, out=hidden)
            signs = np.ones(hidden.shape[1])
            signs[left.shape[1] :] = -1.0
            return np.asarray(hidden @ signs)
        return lift.apply(Z if lift.joint else constant_diagonal(Z))

    def step(self, accelerate: bool = True) -> None:
        """One iteration."""
        scaled, sigma = self.scaled, self.sigma
        base_P, base_N = self.P - self.U, self.N - self.W
        base = base_P - base_N
        if self.direct:
            target = scaled.y
            self.ridge.set_shift(0.5 * sigma)
        else:
            u = self._loss_state(self.state)
            target = 2.0 * self.r - u
            self.ridge.set_shift(0.5 * sigma / self.loss_sigma)
        if not scaled.lift.joint:
            base = constant_diagonal(base)
        predictions = self._cone_predictions
        tracked = None
        if predictions is not None:
            tracked = self._tracked(self.state)
            base_predictions = 2.0 * predictions - tracked
        else:
            base_predictions = scaled.y
        Z, fitted = self.ridge.step(target, base, base_predictions)
        V = base_P + base_N
        self._set_diagonals(V, Z, base_P, base_N, base)
        moved = np.empty_like(self.state)
        D = scaled.size
        Y = moved[: self._squares].reshape(2, D, D)
        Z *= 0.5 * _RELAX
        V *= 0.5 * _RELAX
        np.add(V, Z, out=Y[0])
        np.subtract(V, Z, out=Y[1])
        Y[0] += (1.0 - _RELAX) * self.P + self.U
        Y[1] += (1.0 - _RELAX) * self.N + self.W
        if tracked is not None:
            self._tracked(moved)[:] = _RELAX * fitted - _RELAX * predictions + tracked
        if self.direct:
            self.nu = scaled.y - fitted
        else:
            relaxed = _RELAX * fitted + (1.0 - _RELAX) * self.r
            self._loss_state(moved)[:] = relaxed - (self.r - u)
        self.state = self._anderson.combine(self.state, moved) if accelerate else moved
        self._split()
        if not self.direct:
            w = self.r - self._loss_state(self.state)
            self.nu = scaled.loss.clip_dual(self.loss_sigma * w, scaled.y)

    def _set_diagonals(self, V: Array, Z: Array, base_P: Array, base_N: Array, base: Array) -> None:
        """The diagonal of V = P + N that is best for the budget's price; Z's where separate."""
        D, sigma, budget = len(V), self.sigma, self.scaled.budget
        if self.scaled.lift.joint:
            rho = float(np.trace(V)) / D - 2.0 * budget / (sigma * D)
            V.flat[:: D + 1] = max(rho, 0.0)
            return
        pull = 0.5 * (float(np.trace(Z)) - float(np.trace(base)))
        rho_plus = (float(np.trace(base_P)) + pull - budget / sigma) / D
        rho_minus = (float(np.trace(base_N)) - pull - budget / sigma) / D
        V.flat[:: D + 1] = rho_plus + rho_minus
        Z.flat[:: D + 1] = rho_plus - rho_minus

    def rescale(self, sigma: float, loss_sigma: float) -> None:
        """Change the penalties; primal and dual points stay."""
        ratio, loss_ratio = self.sigma / sigma, self.loss_sigma / loss_sigma
        D = self.scaled.size
        Y = self.state[: self._squares].reshape(2, D, D)
        self.U, self.W = self.U * ratio, self.W * ratio
        np.add(self.P, self.U, out=Y[0])
        np.add(self.N, self.W, out=Y[1])
        if self._cone_predictions is not None:
            tracked = self._tracked(self.state)
            tracked += (ratio - 1.0) * (tracked - self._cone_predictions)
        if not self.direct:
            u = self._loss_state(self.state)
            u += (loss_ratio - 1.0) * (u - self.r)
        self.sigma, self.loss_sigma = sigma, loss_sigma
        self._restart()

    def natural_sigmas(self) -> tuple[float, float]:
        """The penalties that weigh primal and dual points alike.

        ``||slacks|| / ||(P, N)||`` for the cone and ``||nu|| / ||r||`` for the loss; not finite or
        zero where one of the points is zero.
        """
        primal = np.hypot(np.linalg.norm(self.P), np.linalg.norm(self.N))
        dual = self.sigma * np.hypot(np.linalg.norm(self.U), np.linalg.norm(self.W))
        cone = float(dual / primal) if primal > 0.0 else np.inf
        if self.direct:
            return cone, self.loss_sigma
        size = float(np.linalg.norm(self.r))
        return cone, float(np.linalg.norm(self.nu)) / size if size > 0.0 else np.inf

    def dual(self) -> tuple[Array, Array, tuple[Array, ...]]:
        """``(nu, M(nu), diagonals)``, near feasible."""
        nu = self.scaled.loss.clip_dual(self.nu, self.scaled.y)
        M = self.scaled.lift.adjoint(nu)
        slack_P, slack_N = -self.sigma * np.diag(self.U), -self.sigma * np.diag(self.W)
        if self.scaled.lift.joint:
            return nu, M, (0.5 * (slack_P + slack_N),)
        return nu, M, (slack_P + np.diag(M), slack_N - np.diag(M))


def split_cone(Y: Array) -> tuple[Array, Array, Array]:
    """``(Y+, Y - Y+, F)`` with ``Y+ = F F'`` the projection of Y (D, D) to the cone."""
    values, vectors, _ = lapack.dsyevd(Y.T, lower=1)
    negative = int(np.searchsorted(values, 0.0))
    factor = vectors[:, negative:] * np.sqrt(values[negative:])
    if 2 * negative >= len(values):
        positive = factor @ factor.T
        return positive, Y - positive, factor
    part = vectors[:, :negative] * np.sqrt(-values[:negative])
    rest = part @ part.T
    return Y + rest, -rest, factor
