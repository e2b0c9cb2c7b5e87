"""The iteration of ADMM on the symmetric reduction, in scaled units."""

from __future__ import annotations

import numpy as np

from qnn.semidefinite.anderson import Anderson
from qnn.semidefinite.cone import project_to_cone
from qnn.semidefinite.positive import LARGE, PASSES
from qnn.training.relaxation.admm.kernels import join, pack, project, reflect, unpack
from qnn.training.relaxation.admm.ridge import Ridge
from qnn.training.relaxation.scaling import ScaledProblem

Array = np.ndarray

_RELAX = 1.7


class _Vector:
    """A state as one vector with views of its parts.

    ``P`` and ``N`` are the matrices' upper triangles by rows, ``loss`` (n,) belongs to the loss and
    is empty for squared loss, and ``tracked``, the predictions of the difference of the matrices,
    is empty where the linear step is p x p. Up to ``measured`` the entries determine the others.
    """

    def __init__(self, scaled: ScaledProblem, tracks: bool, dtype: str) -> None:
        D, n = scaled.size, scaled.n
        self.squares = D * (D + 1)
        self.measured = self.squares + (0 if scaled.loss.quadratic else n)
        self.all = np.zeros(self.measured + (n if tracks else 0), dtype)
        self.matrices = self.all[: self.squares]
        self.P, self.N = self.matrices.reshape(2, self.squares // 2)
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
        self._Z, self._base = np.zeros((2, scaled.size, scaled.size), ridge.dtype)
        self._signs = np.repeat(np.array([1.0, -1.0], ridge.dtype), scaled.size)
        self._residual = np.zeros(scaled.n, ridge.dtype)
        self._state, self._shadow, self._point = (
            _Vector(scaled, ridge.in_rows, ridge.dtype) for _ in range(3)
        )
        self._anderson = Anderson(len(self._state.all), self._state.measured, ridge.dtype)
        self._weights = self._anderson.weights = self._metric()
        self._factors = np.zeros((0, scaled.size)), 0
        self._restart()
        self._cast_loss()

    @property
    def P(self) -> Array:
        """The positive block, (D, D)."""
        return self._matrix(self._shadow.P)

    @property
    def N(self) -> Array:
        """The negative block, (D, D)."""
        return self._matrix(self._shadow.N)

    def _matrix(self, packed: Array) -> Array:
        return np.asarray(unpack(packed, self.scaled.size))

    def _metric(self) -> Array:
        """What entries of a residual count: one off the diagonal stands for two."""
        weights = np.ones(self._state.measured, self.ridge.dtype)
        off = np.full((self.scaled.size,) * 2, np.sqrt(2.0), self.ridge.dtype)
        np.fill_diagonal(off, 1.0)
        for packed in weights[: self._state.squares].reshape(2, -1):
            pack(off, packed)
        return weights

    def set_state(
        self, P: Array, N: Array, slack_P: Array, slack_N: Array, nu: Array, predictions: Array
    ) -> None:
        """Start from a primal and a dual point."""
        state, s = self._state, self.sigma
        left, right = P - slack_P / s, N - slack_N / s
        pack(left, state.P)
        pack(right, state.N)
        if self.ridge.in_rows:
            lift = self.ridge.lift
            state.tracked[:] = lift.apply(lift.settled(left - right))
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
        reflect(state.all, shadow.all, point.all, self._base)
        base = self.ridge.lift.settled(self._base)
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
        price = self.scaled.budget / self.sigma
        join(point.all, shadow.all, Z, base, price, self.ridge.lift.free_diagonal, _RELAX)
        self._Z = Z
        residual = self._anderson.advance(state.all, point.all)
        self._cast_shadow()
        return residual

    def _cast_shadow(self) -> None:
        state, shadow, size = self._state, self._shadow, self.scaled.size
        found = False
        if size < LARGE:
            passes = PASSES[self.ridge.dtype]
            found, factors, first = project(state.all, shadow.all, size, passes)
        if not found:
            pairs = ((state.P, shadow.P), (state.N, shadow.N))
            left, right = (self._project_alone(*pair) for pair in pairs)
            factors, first = np.concatenate((left, right), axis=1).T, left.shape[1]
        self._factors = factors, first
        if self.ridge.in_rows:
            shadow.tracked[:] = self._apply(factors, first)
        self._cast_loss()

    def _project_alone(self, packed: Array, out: Array) -> Array:
        Y = self._matrix(packed)
        projected = np.empty_like(Y)
        factor = project_to_cone(Y, projected)
        pack(projected, out)
        return factor

    def _cast_loss(self) -> None:
        if not self.direct:
            loss = self._state.loss
            self._shadow.loss[:] = self.scaled.loss.prox(loss, self.y, 1.0 / self.loss_sigma)

    def _apply(self, factors: Array, first: int) -> Array:
        """The predictions of P - N, from factors where their ranks are small."""
        lift = self.ridge.lift
        if lift.template is None and len(factors) <= lift.size:
            hidden = np.dot(lift.features, factors.T)
            np.multiply(hidden, hidden, out=hidden)
            signs = self._signs[lift.size - first : lift.size + len(factors) - first]
            return np.asarray(np.dot(hidden, signs))
        return lift.apply(lift.settled(self.P - self.N))

    def _restart(self) -> None:
        """The map or the state has changed, and with it the metric of the residual."""
        if not self.direct:
            weight = np.sqrt(self.loss_sigma / self.sigma)
            self._weights[self._state.squares :] = weight
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

    def extent(self) -> float:
        """The norm of the state's matrices."""
        weights = self._weights[: self._state.squares]
        return float(np.linalg.norm(weights * self._state.matrices))

    def natural_sigmas(self) -> tuple[float, float]:
        """The penalties that weigh primal and dual points alike.

        ``||slacks|| / ||(P, N)||`` for the cone and ``||nu|| / ||r||`` for the loss; not finite or
        zero where one of the points is zero.
        """
        cone, weights = self._shadow.matrices, self._weights[: self._shadow.squares]
        primal = float(np.linalg.norm(weights * cone))
        dual = self.sigma * float(np.linalg.norm(weights * (self._state.matrices - cone)))
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
        state, shadow = self._state, self._shadow
        matrices = self.sigma * (shadow.matrices.astype(np.float64) - state.matrices)
        left, right = matrices.reshape(2, -1)
        return self._matrix(left), self._matrix(right)

    def factors(self) -> tuple[Array, Array]:
        """F and G (D, r), P = F F' and N = G G': semidefinite in double precision."""
        factors, first = self._factors
        double = factors.astype(np.float64)
        return double[:first].T, double[first:].T

    def dual(self) -> tuple[Array, Array, tuple[Array, ...]]:
        """``(nu, M(nu), diagonals)``, near feasible, double precision."""
        nu = self.nu()
        M = self.scaled.lift.adjoint(nu)
        P, N = (slack.diagonal() for slack in self.slacks())
        if self.scaled.lift.diagonals == 1:
            return nu, M, (0.5 * (P + N),)
        return nu, M, (P + M.diagonal(), N - M.diagonal())
