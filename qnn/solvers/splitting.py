"""The iteration of ADMM on the symmetric reduction, in scaled units."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from qnn.solvers.anderson import Anderson
from qnn.solvers.ridge import Ridge, constant_diagonal
from qnn.solvers.scaling import ScaledProblem

Array = np.ndarray

_RELAX = 1.7


class _Layout:
    """Where the parts of a state lie in its vector; ``tracked`` is empty for steps by p x p.

    P and N are stacked as (2, D, D); ``loss`` (n,) is empty for squared loss. The first
    ``measured`` entries determine the others.
    """

    def __init__(self, scaled: ScaledProblem, tracks: bool) -> None:
        D, n = scaled.size, scaled.n
        self.D, self.squares = D, 2 * D * D
        self.measured = self.squares + (0 if scaled.loss.name == "squared" else n)
        self.length = self.measured + (n if tracks else 0)

    def matrices(self, state: Array) -> Array:
        return state[: self.squares].reshape(2, self.D, self.D)

    def loss(self, state: Array) -> Array:
        return state[self.squares : self.measured]

    def tracked(self, state: Array) -> Array:
        return state[self.measured :]


class Splitting:
    """Douglas-Rachford form of ADMM: the state ``Y_P``, ``Y_N`` (D, D) and u (n,) for the loss.

    The state's ``shadow`` are the cone's copies ``P = Y_P+``, ``N = Y_N+`` and the loss's copy of
    the predictions ``r = prox(u)``. ``Y_P - P`` is the scaled multiplier: the dual slack is its
    ``-sigma`` multiple. A step maps twice the shadow less the state to the nearest point of the
    linear part, and moves the state by ``1.7`` times that point less the shadow. Squared loss needs
    no copy: its quadratic is in the linear part. The predictions ``A(Y_P - Y_N)`` follow the state
    linearly, so A is only ever applied to P and N, by their low-rank factors.
    """

    def __init__(
        self, scaled: ScaledProblem, ridge: Ridge, sigma: float, loss_sigma: float = 1.0
    ) -> None:
        self.scaled, self.ridge = scaled, ridge
        self.sigma, self.loss_sigma = sigma, loss_sigma
        self.direct = scaled.loss.name == "squared"
        self.nu = np.zeros(scaled.n)
        self._layout = _Layout(scaled, ridge.in_rows)
        self._state = np.zeros(self._layout.length)
        self._shadow = np.zeros(self._layout.length)
        self._anderson = Anderson(self._layout.length, self._layout.measured)
        self._restart()
        self._project()

    @property
    def P(self) -> Array:
        """The positive block, (D, D); changed in place by the next step."""
        return np.asarray(self._layout.matrices(self._shadow)[0])

    @property
    def N(self) -> Array:
        """The negative block, (D, D); changed in place by the next step."""
        return np.asarray(self._layout.matrices(self._shadow)[1])

    def set_state(
        self, P: Array, N: Array, slack_P: Array, slack_N: Array, nu: Array, predictions: Array
    ) -> None:
        """Start from a primal and a dual point."""
        layout, state, s = self._layout, self._state, self.sigma
        Y = layout.matrices(state)
        Y[0], Y[1] = P - slack_P / s, N - slack_N / s
        if self.ridge.in_rows:
            difference = Y[0] - Y[1]
            if not self.scaled.lift.joint:
                difference = constant_diagonal(difference)
            layout.tracked(state)[:] = self.scaled.lift.apply(difference)
        if not self.direct:
            layout.loss(state)[:] = predictions - nu / self.loss_sigma
        self._restart()
        self._project()

    def step(self) -> None:
        """One iteration."""
        scaled, layout = self.scaled, self._layout
        reflected = 2.0 * self._shadow - self._state
        base_P, base_N = layout.matrices(reflected)
        base = base_P - base_N
        if not scaled.lift.joint:
            base = constant_diagonal(base)
        if self.direct:
            target = scaled.y
            self.ridge.set_shift(0.5 * self.sigma)
        else:
            target = layout.loss(reflected)
            self.ridge.set_shift(0.5 * self.sigma / self.loss_sigma)
        Z, fitted = self.ridge.step(target, base, layout.tracked(reflected))
        V = base_P + base_N
        self._set_diagonals(V, Z, base_P, base_N, base)
        point = reflected
        blocks = layout.matrices(point)
        np.add(V, Z, out=blocks[0])
        np.subtract(V, Z, out=blocks[1])
        blocks *= 0.5
        if self.direct:
            self.nu = scaled.y - fitted
        else:
            layout.loss(point)[:] = fitted
        if self.ridge.in_rows:
            layout.tracked(point)[:] = fitted
        point -= self._shadow
        point *= _RELAX
        point += self._state
        self._state = self._anderson.combine(self._state, point)
        self._project()
        if not self.direct:
            w = layout.loss(self._shadow) - layout.loss(self._state)
            self.nu = scaled.loss.clip_dual(self.loss_sigma * w, scaled.y)

    def _set_diagonals(self, V: Array, Z: Array, base_P: Array, base_N: Array, base: Array) -> None:
        """The diagonal of V = P + N that is best for the budget's price; Z's where separate."""
        D, sigma, budget = len(V), self.sigma, self.scaled.budget
        if self.scaled.lift.joint:
            rho = float(V.trace()) / D - 2.0 * budget / (sigma * D)
            V.flat[:: D + 1] = max(rho, 0.0)
            return
        pull = 0.5 * (float(Z.trace()) - float(base.trace()))
        rho_plus = (float(base_P.trace()) + pull - budget / sigma) / D
        rho_minus = (float(base_N.trace()) - pull - budget / sigma) / D
        V.flat[:: D + 1] = rho_plus + rho_minus
        Z.flat[:: D + 1] = rho_plus - rho_minus

    def _project(self) -> None:
        """The shadow of the state."""
        layout, state, shadow = self._layout, self._state, self._shadow
        Y, cone = layout.matrices(state), layout.matrices(shadow)
        left = project_to_cone(Y[0], cone[0])
        right = project_to_cone(Y[1], cone[1])
        if self.ridge.in_rows:
            layout.tracked(shadow)[:] = self._apply(cone, left, right)
        if not self.direct:
            u = layout.loss(state)
            layout.loss(shadow)[:] = self.scaled.loss.prox(u, self.scaled.y, 1.0 / self.loss_sigma)

    def _apply(self, cone: Array, left: Array, right: Array) -> Array:
        """The predictions of P - N, from factors where their ranks are small."""
        lift, rank = self.scaled.lift, left.shape[1]
        if lift.template is None and rank + right.shape[1] <= lift.size:
            hidden = lift.features @ np.concatenate((left, right), axis=1)
            np.multiply(hidden, hidden, out=hidden)
            signs = np.ones(hidden.shape[1])
            signs[rank:] = -1.0
            return np.asarray(hidden @ signs)
        Z = cone[0] - cone[1]
        return lift.apply(Z if lift.joint else constant_diagonal(Z))

    def _restart(self) -> None:
        """The map has changed: so has the metric in which its residual is measured."""
        if not self.direct:
            weights = np.ones(self._layout.measured)
            self._layout.loss(weights)[:] = np.sqrt(self.loss_sigma / self.sigma)
            self._anderson.weights = weights
        self._anderson.restart()

    def rescale(self, sigma: float, loss_sigma: float) -> None:
        """Change the penalties; primal and dual points stay."""
        layout = self._layout
        ratio, loss_ratio = self.sigma / sigma, self.loss_sigma / loss_sigma
        multiplier = self._state - self._shadow
        layout.matrices(multiplier)[:] *= ratio
        layout.tracked(multiplier)[:] *= ratio
        layout.loss(multiplier)[:] *= loss_ratio
        self._state = self._shadow + multiplier
        self.sigma, self.loss_sigma = sigma, loss_sigma
        self._restart()

    def natural_sigmas(self) -> tuple[float, float]:
        """The penalties that weigh primal and dual points alike.

        ``||slacks|| / ||(P, N)||`` for the cone and ``||nu|| / ||r||`` for the loss; not finite or
        zero where one of the points is zero.
        """
        squares = self._layout.squares
        cone = self._shadow[:squares]
        primal = float(np.linalg.norm(cone))
        dual = self.sigma * float(np.linalg.norm(self._state[:squares] - cone))
        natural = dual / primal if primal > 0.0 else np.inf
        if self.direct:
            return natural, self.loss_sigma
        size = float(np.linalg.norm(self._layout.loss(self._shadow)))
        return natural, float(np.linalg.norm(self.nu)) / size if size > 0.0 else np.inf

    def dual(self) -> tuple[Array, Array, tuple[Array, ...]]:
        """``(nu, M(nu), diagonals)``, near feasible."""
        nu = self.scaled.loss.clip_dual(self.nu, self.scaled.y)
        M = self.scaled.lift.adjoint(nu)
        Y, cone = self._layout.matrices(self._state), self._layout.matrices(self._shadow)
        slack_P, slack_N = (self.sigma * np.diag(cone[k] - Y[k]) for k in range(2))
        if self.scaled.lift.joint:
            return nu, M, (0.5 * (slack_P + slack_N),)
        return nu, M, (slack_P + np.diag(M), slack_N - np.diag(M))


def project_to_cone(Y: Array, out: Array) -> Array:
    """Write the projection of Y (D, D) to the semidefinite cone to out; returns its factor F."""
    values, vectors, _ = lapack.dsyevd(Y.T, lower=1)
    negative = int(values.searchsorted(0.0))
    factor = vectors[:, negative:] * np.sqrt(values[negative:])
    if 2 * negative >= len(values):
        np.dot(factor, factor.T, out=out)
    else:
        part = vectors[:, :negative] * np.sqrt(-values[:negative])
        np.dot(part, part.T, out=out)
        out += Y
    return np.asarray(factor)
