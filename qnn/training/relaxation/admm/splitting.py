"""The iteration of ADMM on the symmetric reduction, in scaled units."""

from __future__ import annotations

import numpy as np

from qnn.semidefinite.anderson import Anderson
from qnn.semidefinite.cone import Projection
from qnn.training.relaxation.admm.ridge import Ridge
from qnn.training.relaxation.scaling import ScaledProblem

Array = np.ndarray

_RELAX = 1.7


class _Vector:
    """A state as one vector with views of its parts.

    ``matrices`` (2, D, D) belongs to P and N, ``loss`` (n,) to the loss and is empty for squared
    loss, and ``tracked``, the predictions of the difference of the matrices, is empty where the
    linear step is p x p. Up to ``measured`` the entries determine the others.
    """

    def __init__(self, scaled: ScaledProblem, tracks: bool, dtype: str) -> None:
        D, n = scaled.size, scaled.n
        self.squares = 2 * D * D
        self.measured = self.squares + (0 if scaled.loss.quadratic else n)
        self.all = np.zeros(self.measured + (n if tracks else 0), dtype)
        self.matrices = self.all[: self.squares].reshape(2, D, D)
        self.P, self.N = self.matrices
        self.loss = self.all[self.squares : self.measured]
        self.tracked = self.all[self.measured :]


class Splitting:
    """Douglas-Rachford form of ADMM: the state ``Y_P``, ``Y_N`` (D, D) and u (n,) for the loss.

    The state's ``shadow`` are the cone's copies ``P = Y_P+``, ``N = Y_N+`` and the loss's copy of
    the predictions ``r = prox(u)``. ``Y_P - P`` is the scaled multiplier: the dual slack is its
    ``-sigma`` multiple. A step maps twice the shadow less the state to the nearest point of the
    linear part, and moves the state by ``1.7`` times that point less the shadow. Squared loss needs
    no copy: its quadratic is in the linear part. The predictions ``A(Y_P - Y_N)`` follow the state
    linearly, so A is only ever applied to P and N, by their low-rank factors. All is done in the
    precision of ``ridge``.
    """

    def __init__(
        self, scaled: ScaledProblem, ridge: Ridge, sigma: float, loss_sigma: float = 1.0
    ) -> None:
        self.scaled, self.ridge = scaled, ridge
        self.sigma, self.loss_sigma = sigma, loss_sigma
        self.direct = scaled.loss.quadratic
        self.y = scaled.y.astype(ridge.dtype)
        fixed = self.direct and not ridge.in_rows
        self._moment = ridge.moment(self.y) if fixed else None
        self._Z, self._V = np.zeros((2, scaled.size, scaled.size), ridge.dtype)
        self._V_diagonal = self._V.reshape(-1)[:: scaled.size + 1]
        self._signs = np.repeat(np.array([1.0, -1.0], ridge.dtype), scaled.size)
        self._residual = np.zeros(scaled.n, ridge.dtype)
        self._state, self._shadow, self._point = (
            _Vector(scaled, ridge.in_rows, ridge.dtype) for _ in range(3)
        )
        self._anderson = Anderson(len(self._state.all), self._state.measured, ridge.dtype)
        self._project_P, self._project_N = (Projection(scaled.size, ridge.dtype) for _ in range(2))
        self._factors = np.zeros((scaled.size, 0)), np.zeros((scaled.size, 0))
        self._restart()
        self._cast_loss()

    @property
    def P(self) -> Array:
        """The positive block, (D, D); changed in place by the next step."""
        return self._shadow.P

    @property
    def N(self) -> Array:
        """The negative block, (D, D); changed in place by the next step."""
        return self._shadow.N

    def set_state(
        self, P: Array, N: Array, slack_P: Array, slack_N: Array, nu: Array, predictions: Array
    ) -> None:
        """Start from a primal and a dual point."""
        state, s = self._state, self.sigma
        state.P[:], state.N[:] = P - slack_P / s, N - slack_N / s
        if self.ridge.in_rows:
            lift = self.ridge.lift
            state.tracked[:] = lift.apply(lift.settled(state.P - state.N))
        if not self.direct:
            state.loss[:] = predictions - nu / self.loss_sigma
        self._restart()
        self._cast_shadow()

    def continue_from(self, other: Splitting) -> None:
        """Accelerate with the steps of a solve at another budget, where the maps are alike."""
        alike = self.direct or self.loss_sigma == other.loss_sigma
        if alike and self.sigma == other.sigma:
            self._anderson.adopt(other._anderson)

    def step(self) -> float:
        """One iteration; returns the square of its residual, not finite where precision failed."""
        state, shadow, point = self._state, self._shadow, self._point
        np.add(shadow.all, shadow.all, out=point.all)
        point.all -= state.all
        base = self.ridge.lift.settled(point.P - point.N)
        if self.direct:
            target = self.y
            self.ridge.set_shift(0.5 * self.sigma)
        else:
            target = point.loss
            self.ridge.set_shift(0.5 * self.sigma / self.loss_sigma)
        if self._moment is None:
            Z, self._residual = self.ridge.step(target, base, point.tracked)
            fitted = target - self._residual
            point.loss[:] = fitted[: len(point.loss)]
            point.tracked[:] = fitted[: len(point.tracked)]
        else:
            Z = self.ridge.step_by_moment(self._moment, base)
        V = np.add(point.P, point.N, out=self._V)
        self._set_diagonals(Z, base)
        np.add(V, Z, out=point.P)
        np.subtract(V, Z, out=point.N)
        point.matrices *= 0.5
        self._Z = Z
        point.all -= shadow.all
        point.all *= _RELAX
        residual = self._anderson.advance(state.all, point.all)
        self._cast_shadow()
        return residual

    def _set_diagonals(self, Z: Array, base: Array) -> None:
        """The diagonal of V = P + N that is best for the budget's price; Z's if it is not free."""
        diagonal = self._V_diagonal
        D, price = len(diagonal), self.scaled.budget / self.sigma
        if self.ridge.lift.free_diagonal:
            diagonal[:] = max((float(diagonal.sum()) - 2.0 * price) / D, 0.0)
            return
        pull = 0.5 * (float(Z.trace()) - float(base.trace()))
        rho_plus = (float(self._point.P.trace()) + pull - price) / D
        rho_minus = (float(self._point.N.trace()) - pull - price) / D
        diagonal[:] = rho_plus + rho_minus
        Z.flat[:: D + 1] = rho_plus - rho_minus

    def _cast_shadow(self) -> None:
        state, shadow = self._state, self._shadow
        left = self._project_P(state.P, shadow.P)
        right = self._project_N(state.N, shadow.N)
        self._factors = left, right
        if self.ridge.in_rows:
            shadow.tracked[:] = self._apply(left, right)
        self._cast_loss()

    def _cast_loss(self) -> None:
        if not self.direct:
            loss = self._state.loss
            self._shadow.loss[:] = self.scaled.loss.prox(loss, self.y, 1.0 / self.loss_sigma)

    def _apply(self, left: Array, right: Array) -> Array:
        """The predictions of P - N, from factors where their ranks are small."""
        lift, rank = self.ridge.lift, left.shape[1]
        if lift.template is None and rank + right.shape[1] <= lift.size:
            hidden = np.dot(lift.features, np.concatenate((left, right), axis=1))
            np.multiply(hidden, hidden, out=hidden)
            signs = self._signs[lift.size - rank : lift.size + right.shape[1]]
            return np.asarray(np.dot(hidden, signs))
        return lift.apply(lift.settled(self.P - self.N))

    def _restart(self) -> None:
        """The map or the state has changed, and with it the metric of the residual."""
        if not self.direct:
            weights = np.ones(self._state.measured, self.ridge.dtype)
            weights[self._state.squares :] = np.sqrt(self.loss_sigma / self.sigma)
            self._anderson.weights = weights
        self._anderson.restart()

    def rescale(self, sigma: float, loss_sigma: float) -> None:
        """Change the penalties; primal and dual points stay."""
        state, shadow = self._state, self._shadow
        ratio, loss_ratio = self.sigma / sigma, self.loss_sigma / loss_sigma
        state.all -= shadow.all
        state.matrices *= ratio
        state.tracked *= ratio
        state.loss *= loss_ratio
        state.all += shadow.all
        self.sigma, self.loss_sigma = sigma, loss_sigma
        self._restart()

    def natural_sigmas(self) -> tuple[float, float]:
        """The penalties that weigh primal and dual points alike.

        ``||slacks|| / ||(P, N)||`` for the cone and ``||nu|| / ||r||`` for the loss; not finite or
        zero where one of the points is zero.
        """
        cone = self._shadow.all[: self._shadow.squares]
        primal = float(np.linalg.norm(cone))
        dual = self.sigma * float(np.linalg.norm(self._state.all[: len(cone)] - cone))
        natural = dual / primal if primal > 0.0 else np.inf
        if self.direct:
            return natural, self.loss_sigma
        size = float(np.linalg.norm(self._shadow.loss))
        return natural, float(np.linalg.norm(self.nu())) / size if size > 0.0 else np.inf

    def nu(self) -> Array:
        """The dual point, (n,), in the domain, double precision."""
        if self.direct:
            if self._moment is None:
                return self._residual.astype(np.float64)
            return self.scaled.y - self.predictions()
        w = self._shadow.loss.astype(np.float64) - self._state.loss
        return self.scaled.loss.clip_dual(self.loss_sigma * w, self.scaled.y)

    def predictions(self) -> Array:
        """``A(Z)`` of the last linear step, (n,), double precision."""
        return self.scaled.lift.apply(self._Z.astype(np.float64))

    def slacks(self) -> tuple[Array, Array]:
        """The dual slacks, (D, D), double precision."""
        matrices = self.sigma * (self._shadow.matrices.astype(np.float64) - self._state.matrices)
        return matrices[0], matrices[1]

    def factors(self) -> tuple[Array, Array]:
        """F and G (D, r), P = F F' and N = G G': semidefinite in double precision."""
        left, right = self._factors
        return left.astype(np.float64), right.astype(np.float64)

    def dual(self) -> tuple[Array, Array, tuple[Array, ...]]:
        """``(nu, M(nu), diagonals)``, near feasible, double precision."""
        nu = self.nu()
        M = self.scaled.lift.adjoint(nu)
        P, N = (slack.diagonal() for slack in self.slacks())
        if self.scaled.lift.diagonals == 1:
            return nu, M, (0.5 * (P + N),)
        return nu, M, (P + M.diagonal(), N - M.diagonal())
