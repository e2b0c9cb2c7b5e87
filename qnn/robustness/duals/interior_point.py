"""The semidefinite dual of a ReLU network's margin, by a primal-dual interior point method.

On ``u = [1; z]`` the margin is ``u'M u / 2`` and each constraint k is a product of two linear
functions, ``p_k = (xi_k'u)(eta_k'u)`` with ``p_k + c_k >= 0``, or 0 where its multiplier is free:

    minimize c'theta  subject to  Z = M + sum_k theta_k A_k >= 0,  A_k = -(xi_k eta_k' + eta_k
    xi_k'),

and minus its value bounds the margin. Every iterate with Z positive definite is such a bound. The
direction is that of Helmberg, Rendl, Vanderbei and Wolkowicz / Kojima, Shindoh and Hara / Monteiro,
with the corrector of S. Mehrotra (SIAM J. Optim. 2, 1992): with Y = Z^-1 the Schur matrix is

    S_kl = (eta_k'X xi_l)(eta_l'Y xi_k) + (eta_k'X eta_l)(xi_l'Y xi_k)
         + (xi_k'X xi_l)(eta_l'Y eta_k) + (xi_k'X eta_l)(xi_l'Y eta_k),

all of them from Gram matrices of few vectors: 1, z, the neurons' x and their y - x. Multipliers: of
1, which is kappa_0; of ``x (y - x) = 0``, free; then at least 0: of ``1 - z^2``, of ``x - y``, of
``x`` and of ``s y`` where a split has chosen a sign.

It begins far inside the cone, with all multipliers of a size: begun at the multipliers of linear
bounds, it crawls along the boundary and stops at what is no optimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from qnn.certificates.robustness.relu import System
from qnn.robustness.duals.arrow import Arrow, Spread

Array = np.ndarray
# After two steps shorter than the first, each aims at this part of mu: without that a network with
# many inputs crawls: 80 steps ended at 2.36 where the optimum is 3.02.
SHORT, CENTRING = 0.3, 0.3
# Part of the way to the boundary that a step goes. With 0.95 of it a network of images took 63
# steps instead of 23.
FAR = 0.9
# Changes of theta, Z, X and s.
Direction = tuple[Array, Arrow, Arrow, Array]


@dataclass(frozen=True)
class Solved:
    """Multipliers in the checker's order, the bound that they give (not proven), and the moments.

    z (n,): the point that the primal side suggests. limit: what no bound of this relaxation
    exceeds, up to the primal side's own errors.
    """

    multipliers: Array
    value: float
    z: Array
    limit: float
    steps: int


class Relaxation:
    """The products of a system's constraints: which vectors, with which weights."""

    def __init__(self, system: System) -> None:
        self.system = system
        n, h, q = len(system.m), len(system.y0), len(system.s0)
        self.n, self.h, self.q = n, h, q
        self.neurons = np.arange(n - h, n)
        # In a quadratic objective inputs meet each other: then none of them is plain.
        self.inputs = n - h if system.H is None else 0
        self.rows = n - self.inputs + 1
        # Where the neurons stand in the core.
        self.at = self.neurons + 1 - self.inputs
        m, r = system.m[self.neurons], system.r[self.neurons]
        reach = np.abs(system.Y).sum(axis=0)
        self.range = m + r + np.abs(system.y0) + reach
        self.scale = r * np.maximum(r, reach)
        ones = np.ones(h)
        # Of 1, y - x, x and s y the weight of their product with 1.
        self.weight = np.concatenate([[-0.5], -ones, ones, np.ones(q)])
        # Their entries in the plain rows, which only y - x and s y have, and in the core.
        self.plain_part = np.concatenate([system.Y[: self.inputs], system.S[: self.inputs]], axis=1)
        self.moving = np.concatenate([1 + np.arange(h), 1 + 2 * h + np.arange(q)])
        self.core_part = self._core_part(m, r)
        self.c = np.concatenate([[0.5], np.zeros(h), np.ones(n), np.zeros(2 * h + q)])
        self.free = 1 + h
        # What makes the objective convex when it is added to the multipliers of 1 - z^2 (n,).
        self.concavity = np.zeros(n) if system.H is None else 0.5 * np.abs(system.H).sum(axis=1)

    def _core_part(self, m: Array, r: Array) -> Array:
        system, h, inputs = self.system, self.h, self.inputs
        own, one = np.zeros((self.rows, h)), np.zeros((self.rows, 1))
        own[0], own[self.at, np.arange(h)] = m, r
        one[0] = 1.0
        y = np.vstack([system.y0, system.Y[inputs:]])
        chosen = np.vstack([system.s0, system.S[inputs:]])
        return np.concatenate([one, y - own, own, chosen], axis=1)

    def gram(self, S: Spread) -> tuple[Array, Array]:
        """Under S: of 1, y - x, x and s y (p, p), and of these with all z (p, n)."""
        moving, seen = self.moving, self.core_part.copy()
        seen[:, moving] += S.G.T @ self.plain_part
        core = seen.T @ S.C
        plain = (S.rest[:, None] * self.plain_part).T
        own = core @ seen
        own[np.ix_(moving, moving)] += plain @ self.plain_part
        across = np.concatenate([core @ S.G.T, core[:, 1:]], axis=1)
        across[moving, : self.inputs] += plain
        return own, across

    def inner(self, K: Arrow) -> Array:
        """``A_k . K`` of all constraints; they have entries only where an arrow has."""
        system, at, inputs = self.system, self.at, self.inputs
        m, r, y0, Y = system.m[self.neurons], system.r[self.neurons], system.y0, system.Y
        head = np.concatenate([K.edge[:, 0], K.core[0, 1:]])
        own = K.core[1:, 1:].diagonal()
        squares = own[at - 1]
        rows = K.edge.T @ Y[:inputs] + K.core[:, 1:] @ Y[inputs:]
        X = m * K.core[0, 0] + r * K.core[0, at]
        D = y0 * K.core[0, 0] + rows[0] - X
        D_at = y0 * K.core[at, 0] + rows[at].diagonal() - m * K.core[at, 0] - r * squares
        S = system.s0 * K.core[0, 0] + head @ system.S
        products = [
            -0.5 * K.core[:1, 0], (m * D + r * D_at) / self.scale, -K.diagonal, -own, -D, X, S
        ]  # fmt: skip
        return -2.0 * np.concatenate(products)

    def schur(self, X: Spread, Y: Spread) -> Array:
        """The matrix S of above, its lower triangle."""
        h, n = self.h, self.n
        done = np.zeros((len(self.c),) * 2)
        products, squares, rest = slice(1, 1 + h), slice(1 + h, 1 + h + n), slice(1 + h + n, None)
        X.squares(Y, done[squares, squares])
        (X_own, X_across), (Y_own, Y_across) = self.gram(X), self.gram(Y)
        weight, own_weight = self.weight, 1.0 / self.scale
        one, every, behind, own = slice(1), slice(None), slice(1, 1 + h), slice(1 + h, 1 + 2 * h)
        block = _products(X_own, Y_own, (one, every), (one, every)) * weight * weight[:, None]
        done[0, 0], done[rest, 0], done[rest, rest] = block[0, 0], block[1:, 0], block[1:, 1:]
        block = _products(X_own, Y_own, (one, every), (own, behind)) * own_weight * weight[:, None]
        done[products, 0], done[rest, products] = block[0], block[1:]
        block = _products(X_own, Y_own, (own, behind), (own, behind))
        done[products, products] = block * own_weight * own_weight[:, None]
        block = X_across[one] * Y_across + X_across * Y_across[one]
        block *= -2.0 * weight[:, None]
        done[squares, 0], done[rest, squares] = block[0], block[1:]
        block = X_across[own] * Y_across[behind] + X_across[behind] * Y_across[own]
        done[squares, products] = (block * (-2.0 * own_weight[:, None])).T
        return done

    def Z(self, theta: Array, objective: float = 1.0) -> Arrow:
        """``objective M + sum theta_k A_k``."""
        system, at, n, h = self.system, self.neurons, self.n, self.h
        inputs, inner = self.inputs, self.at - 1
        product = theta[1 : 1 + h] / self.scale
        kappa, above, positive, chosen = np.split(theta[1 + h :], np.cumsum([n, h, h]))
        m, r, y0, Y = system.m[at], system.r[at], system.y0, system.Y
        corner = 2.0 * objective * system.c + theta[0]
        corner -= 2.0 * float(
            product @ (m * (y0 - m)) + above @ (m - y0) + positive @ m + chosen @ system.s0
        )
        g = objective * system.g - Y @ (product * m - above) - system.S @ chosen
        g[at] -= r * (product * (y0 - 2.0 * m) + above + positive)
        coupling = -Y * (product * r)
        core = np.zeros((n - inputs + 1,) * 2)
        core[0, 0], core[0, 1:], core[1:, 0] = corner, g[inputs:], g[inputs:]
        block = core[1:, 1:]
        block[:, inner] += coupling[inputs:]
        block[inner] += coupling[inputs:].T
        block[inner, inner] += 2.0 * product * r * r
        block[np.diag_indices(n - inputs)] += 2.0 * kappa[inputs:]
        if system.H is not None:
            block += objective * system.H
        edge = np.zeros((inputs, n - inputs + 1))
        edge[:, 0], edge[:, self.at] = g[:inputs], coupling[:inputs]
        return Arrow(2.0 * kappa[:inputs], edge, core)

    def value(self, theta: Array, Z: Arrow) -> float:
        """The bound that theta gives with the best kappa_0; -inf where Z is not definite."""
        schur = Z.schur()
        if len(schur) > 1:
            factor, info = dpotrf(schur[1:, 1:], lower=1)
            if info:
                return -np.inf
            cut = float(schur[0, 1:] @ dpotrs(factor, schur[0, 1:], lower=1)[0])
        else:
            cut = 0.0
        corner = float(schur[0, 0]) - theta[0] - cut
        return 0.5 * corner - float(self.c[1:] @ theta[1:])

    def multipliers(self, theta: Array) -> Array:
        """In the checker's order and scales."""
        h, n = self.h, self.n
        product, kappa, rest = np.split(theta[1:], [h, h + n])
        return np.concatenate([2.0 * kappa, product / self.scale, rest])


def _products(X: Array, Y: Array, one: tuple[slice, slice], other: tuple[slice, slice]) -> Array:
    """Entries of the matrix S, without weights; xi and eta of its rows and of its columns."""
    (xi, eta), (xi_l, eta_l) = one, other
    done = X[eta, xi_l] * Y[xi, eta_l]
    done = done + X[eta, eta_l] * Y[xi, xi_l]
    done += X[xi, xi_l] * Y[eta, eta_l]
    done += X[xi, eta_l] * Y[eta, xi_l]
    return done


def solve(
    system: System,
    tol: float = 1e-4,
    target: float = np.inf,
    most_steps: int = 120,
    expired: Callable[[], bool] = lambda: False,
) -> Solved:
    """The dual's solution to ``tol`` of the margin's size; earlier once a bound exceeds ``target``.

    It also ends once the primal side says that no bound will reach ``target``, and once a bound
    exceeds what the margin can be: then no input has the signs that splits have chosen, and bounds
    would grow without end.
    """
    size = 0.0 if system.H is None else 0.5 * float(np.abs(system.H).sum())
    wanted, target = target, min(target, system.c + float(np.abs(system.g).sum()) + size)
    relaxation = Relaxation(system)
    state = _State(relaxation)
    best = (-np.inf, state.theta)
    steps, limit = 0, np.inf
    while steps < most_steps and state.advance():
        steps += 1
        value = relaxation.value(state.theta, state.Z)
        if value > best[0]:
            best = (value, state.theta)
        gap = state.mu * state.size
        limit = value + gap
        hopeless = state.feasible and limit < wanted - gap and np.isfinite(wanted)
        if value > target or gap < tol * (1.0 + abs(value)) or hopeless or expired():
            break
    moments = np.concatenate([state.X.edge[:, 0], state.X.core[0, 1:]])
    z = moments / state.X.core[0, 0]
    multipliers = relaxation.multipliers(np.asarray(best[1]))
    return Solved(multipliers, float(best[0]), np.clip(z, -1.0, 1.0), float(limit), steps)


class _State:
    """The iterate: theta, Z and its inverse Y, X, and the slacks s of the inequalities."""

    def __init__(self, relaxation: Relaxation) -> None:
        self.relaxation = relaxation
        n, free = relaxation.n, relaxation.free
        self.mu = 10.0 * float(np.abs(relaxation.system.g).sum() / max(n, 1) + 1e-3)
        theta = np.empty(len(relaxation.c))
        theta[:free] = 0.0
        theta[free : free + n] = self.mu + relaxation.concavity
        small = self.mu / relaxation.range
        signs = np.abs(relaxation.system.s0) + np.abs(relaxation.system.S).sum(axis=0) + 1e-6
        theta[free + n :] = np.concatenate([small, small, self.mu / signs])
        Z = relaxation.Z(theta)
        # kappa_0: twice mu above where Z becomes semidefinite.
        theta[0] = (
            -2.0 * (relaxation.value(theta, Z) + relaxation.c[1:] @ theta[1:]) + 2.0 * self.mu
        )
        self.theta, self.Z = theta, relaxation.Z(theta)
        inputs, t = relaxation.inputs, relaxation.rows
        self.X = Arrow(np.full(inputs, 0.5), np.zeros((inputs, t)), 0.5 * np.eye(t))
        self.s = self.mu / theta[free:]
        self.size = n + 1 + len(self.s)
        self.feasible = False
        # The longer of both sides' lengths, of the last two steps.
        self.lengths = (1.0, 1.0)

    def advance(self) -> bool:
        """One step with its corrector; False where numbers no longer allow one."""
        relaxation, f = self.relaxation, self.relaxation.free
        Y, X = self.Z.inverse(), self.X.completed()
        if Y is None or X is None:
            return False
        S = relaxation.schur(X, Y)
        own = Y.arrow()
        S.flat[f * (len(S) + 1) :: len(S) + 1] += self.s / self.theta[f:]
        root = 1.0 / np.sqrt(S.diagonal())
        S *= root[:, None]
        S *= root
        S.flat[:: len(S) + 1] += 1e-13
        # Transposed, so that it is factored where it stands.
        factor, info = dpotrf(S.T, lower=0, overwrite_a=1)
        if info or not np.isfinite(root).all():
            return False
        AY = relaxation.inner(own)
        total = self.Z.inner(self.X) + float(self.s @ self.theta[f:])
        self.mu = total / self.size

        def direction(target: float, K: Arrow | None, k: Array | float) -> Direction:
            rhs = target * AY - relaxation.c
            if K is not None:
                rhs -= relaxation.inner(K)
            rhs[f:] += (target - k) / self.theta[f:]
            d_theta = root * dpotrs(factor, root * rhs, lower=0)[0]
            dZ = relaxation.Z(d_theta, 0.0)
            dX = own.times(target).plus(X.around(dZ, Y), -1.0).plus(self.X, -1.0)
            if K is not None:
                dX = dX.plus(K, -1.0)
            ds = (target - k) / self.theta[f:] - self.s - self.s / self.theta[f:] * d_theta[f:]
            return d_theta, dZ, dX, ds

        d_theta, dZ, dX, ds = direction(0.0, None, 0.0)
        dual, primal = self._lengths(d_theta, dZ, dX, ds, 0.1)
        ahead = self.Z.plus(dZ, dual).inner(self.X.plus(dX, primal))
        ahead += float((self.s + primal * ds) @ (self.theta[f:] + dual * d_theta[f:]))
        ratio = max(ahead, 0.0) / total
        power = 3 if min(dual, primal) > 0.5 else 2
        centring = self.mu * max(1e-3, min(1.0, ratio**power))
        share = 1.0
        if max(self.lengths) < SHORT:
            # Near the boundary, the corrector of a whole step is far from that of the one taken.
            share, centring = dual * primal, CENTRING * self.mu
        K = X.change_around(dX, dZ, Y).times(share)
        d_theta, dZ, dX, ds = direction(centring, K, share * ds * d_theta[f:])
        dual, primal = self._lengths(d_theta, dZ, dX, ds, 0.05)
        if not (np.isfinite(d_theta).all() and max(dual, primal) > 1e-6):
            return False
        self.lengths = (self.lengths[1], max(dual, primal))
        self.theta = self.theta + dual * d_theta
        self.Z = relaxation.Z(self.theta)
        self.X = self.X.plus(dX, primal)
        self.s = self.s + primal * ds
        self.feasible = self.feasible or primal == 1.0
        self.mu = (self.Z.inner(self.X) + float(self.s @ self.theta[f:])) / self.size
        return True

    def _lengths(
        self, d_theta: Array, dZ: Arrow, dX: Arrow, ds: Array, tol: float
    ) -> tuple[float, float]:
        f = self.relaxation.free
        dual = _to_boundary(self.theta[f:], d_theta[f:])
        primal = _to_boundary(self.s, ds)
        dual = _longest(dual, lambda size: self.Z.plus(dZ, size).factor() is not None, tol)
        return dual, _longest(primal, lambda size: self.X.plus(dX, size).has_completion(), tol)


def _to_boundary(values: Array, changes: Array) -> float:
    least = float((changes / values).min(initial=0.0))
    return np.inf if least >= 0.0 else -1.0 / least


def _longest(most: float, inside: Callable[[float], bool], tol: float) -> float:
    """The part FAR of the longest step up to ``most`` that stays inside, at most 1.

    tol: how near to the longest, relative.
    """
    low, high = 0.0, min(1.0 / FAR, most)
    if inside(high):
        return min(1.0, FAR * high)
    while high - low > tol * high and high > 1e-8:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if inside(middle) else (low, middle)
    return FAR * low
