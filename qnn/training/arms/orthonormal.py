"""Weights kept near orthonormal, by a map W -> h(W) inside the network or by a penalty.

A map of a layer's weights W (out, in) to near-orthonormal rows (columns where out > in):

* ``sn``: W / sigma, the largest singular value (T. Miyato et al., ICLR 2018);
* ``aon``: approximately orthonormal normalization: with ``S = W W' / sigma^2`` the Taylor expansion
  ``sum_{k<=order} C(2k, k) 4^-k (I - S)^k`` of ``S^(-1/2)``, times W, then ``sn``. At order 1 it is
  one step of Newton-Schulz;
* ``bjorck``: the expansion of ``order`` applied ``iterations`` times after ``sn`` (A. Bjorck,
  C. Bowie, 1971);
* ``soft``: W itself, with the penalty ``weight ||W W' - I||^2``; ``none``: W itself.

Gradients pass through the expansion and through sigma, whose singular vectors come from power steps
that go on from one update to the next. The last layer stays free; each other layer has a gain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qnn.errors import InputError, shown
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.arms.base import Layer, to_alphabet
from qnn.training.arms.descent import backpropagate
from qnn.training.problems.problem import Problem

Array = np.ndarray
#: the gradient by what went in, from that by what came out
Pullback = Callable[[Array], Array]

KINDS = ("none", "soft", "sn", "aon", "bjorck")


@dataclass(frozen=True)
class Orthogonality:
    """How weights are kept near orthonormal; see the top of this file.

    order of the expansion; iterations of ``bjorck``; weight of the ``soft`` penalty; gain: whether
    a factor of each layer is learned; detach: whether gradients leave the map out.
    """

    kind: str = "none"
    order: int = 1
    iterations: int = 1
    weight: float = 1e-3
    gain: bool = True
    detach: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"orthogonality must be one of {', '.join(KINDS)} (got {shown(self.kind)})"
            )
        if self.order < 1 or self.iterations < 1:
            raise InputError("orthogonality: order and iterations must be at least 1")
        if not 0.0 <= self.weight < np.inf:
            raise InputError("orthogonality: weight must be a number from 0")

    @property
    def maps(self) -> bool:
        """Whether the network's weights are others than the trained ones."""
        return self.kind in ("sn", "aon", "bjorck")


@dataclass
class PowerSteps:
    """The left singular vectors of a layer's matrices, kept from update to update."""

    vectors: dict[str, Array] = field(default_factory=dict)
    steps: int = 1

    def largest(self, name: str, W: Array) -> tuple[float, Array, Array]:
        """(sigma, u, v) by `steps` power steps from the last vectors; many at the first call."""
        steps = self.steps if name in self.vectors else max(30, self.steps)
        u = self.vectors.get(name, np.ones(len(W)) / np.sqrt(len(W)) + 0.1 * W[:, 0])
        if name == "expanded":
            # The expansion keeps singular vectors, and the order of values between 0 and 1.
            u = self.vectors["raw"]
        for _ in range(steps):
            v = _unit(W.T @ u)
            u = _unit(W @ v)
        self.vectors[name] = u
        return float(u @ W @ v), u, v


def _unit(x: Array) -> Array:
    scaled: Array = x / max(float(np.linalg.norm(x)), np.finfo(float).tiny)
    return scaled


def mapped(W: Array, setting: Orthogonality, state: PowerSteps) -> tuple[Array, Pullback]:
    """h(W) and its pullback, without the gain."""
    if not setting.maps:
        return W, lambda G: G
    wide = len(W) <= W.shape[1]
    A = W if wide else W.T
    pullbacks = []
    Y, back = _normalized(A, state, "raw")
    pullbacks.append(back)
    if setting.kind != "sn":
        for _ in range(setting.iterations if setting.kind == "bjorck" else 1):
            Y, back = expanded(Y, setting.order)
            pullbacks.append(back)
    if setting.kind == "aon":
        Y, back = _normalized(Y, state, "expanded")
        pullbacks.append(back)

    def pullback(G: Array) -> Array:
        G = G if wide else G.T
        if not setting.detach:
            for back in reversed(pullbacks):
                G = back(G)
        return G if wide else G.T

    return (Y if wide else Y.T), pullback


def _normalized(W: Array, state: PowerSteps, name: str) -> tuple[Array, Pullback]:
    """W / sigma; the pullback is ``(G - <G, Y> u v') / sigma``."""
    sigma, u, v = state.largest(name, W)
    Y = W / sigma

    def back(G: Array) -> Array:
        return (G - float((G * Y).sum()) * np.outer(u, v)) / sigma

    return Y, back


def expanded(W: Array, order: int) -> tuple[Array, Pullback]:
    """``sum_k a_k (I - W W')^k W``, ``a_k = C(2k, k) / 4^k``, by Horner's rule."""
    a = np.cumprod([1.0, *[(2 * k - 1) / (2 * k) for k in range(1, order + 1)]])
    identity = np.eye(len(W))
    E = identity - W @ W.T
    P = [a[order] * identity]
    for k in range(order - 1, -1, -1):
        P.append(a[k] * identity + E @ P[-1])
    Y = P[-1] @ W

    def back(G: Array) -> Array:
        slope, by_E = G @ W.T, np.zeros_like(E)
        for inner in reversed(P[:-1]):
            by_E += slope @ inner.T
            slope = E.T @ slope
        result: Array = P[-1].T @ G - (by_E + by_E.T) @ W
        return result

    return Y, back


def penalty_gradient(W: Array, weight: float) -> Array:
    """Of ``weight ||W W' - I||^2``, or of the Gram matrix of columns where there are fewer."""
    if len(W) > W.shape[1]:
        return penalty_gradient(W.T, weight).T
    result: Array = 4.0 * weight * (W @ W.T - np.eye(len(W))) @ W
    return result


def orthonormal_straight_through(
    problem: Problem,
    width: int,
    seconds: float,
    rng: np.random.Generator,
    setting: Orthogonality | None = None,
) -> QuantizedNetwork:
    """Straight-through backpropagation whose latent weights are mapped before they are rounded.

    Neurons are the rows of the map; the rows of h(U') are scaled to the largest latent weight. The
    derivative of map and rounding together is taken as 1, so ``detach`` changes nothing here, and
    the alphabet fixes the size, so neither does ``gain``. ``soft`` penalizes U' / sqrt(d) a row,
    whose orthonormal rows have the length of sign vectors.
    """
    chosen = setting or Orthogonality("aon")
    if chosen.kind == "soft":
        scale = np.sqrt(problem.d)

        def pull(latent: Array) -> Array:
            found: Array = penalty_gradient(latent.T / scale, chosen.weight).T / scale
            return problem.n * found

        return backpropagate(problem, width, seconds, rng, to_alphabet, pull)
    states = (PowerSteps(), PowerSteps())

    def one(latent: Array, state: PowerSteps) -> Array:
        Y = mapped(latent.T, chosen, state)[0].T
        largest = np.abs(Y).max()
        return Y * (np.abs(latent).max() / largest) if largest > 0.0 else latent

    def forward(problem: Problem, latent: Layer) -> Layer:
        V = None if latent.V is None else one(latent.V, states[1])
        return to_alphabet(problem, Layer(one(latent.U, states[0]), V))

    return backpropagate(problem, width, seconds, rng, forward)
