"""A network from a solution over blocks: drawn, refitted and improved from sums of rows alone.

Neurons are drawn by Krivine's rounding; then, a few times over, the second layer is refitted and
neurons whose product with the dual ``M(nu)`` is above the penalty are added: column generation with
sign vectors found by alternation. Where the rows are compressed all of it is done without them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from qnn.losses import Loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.blocks import Blocks
from qnn.training.relaxation.blocks.compressed import Compressed
from qnn.training.relaxation.blocks.low_rank import Scan, add_gradients, envelope
from qnn.training.relaxation.blocks.proving import DualFormula, look
from qnn.training.relaxation.blocks.result import BlocksRelaxation
from qnn.training.relaxation.streaming.compression import Compression, svec
from qnn.training.rounding.krivine import KrivineSampler
from qnn.training.rounding.refit.lasso import solve_lasso

Array = np.ndarray

_DRAWN = 4
_STARTS = 64
_NEW = 16
#: rounds of column generation: without the rows, and with two or more passes each
_ROUNDS_COMPRESSED, _ROUNDS = 60, 3
_REFIT_STEPS = 60


@dataclass(frozen=True, eq=False)
class BlocksNetwork:
    """A network and its objective over all rows, ``loss + beta d sum|alpha|``."""

    network: QuantizedNetwork
    objective: float


def round_blocks(
    blocks: Blocks,
    relaxed: BlocksRelaxation,
    loss: Loss,
    first: Compressed | Scan,
    seed: int = 0,
) -> BlocksNetwork:
    """The best network found; one pass over the rows at the end gives its objective from them."""
    rng = np.random.default_rng(seed)
    d, penalty = len(relaxed.P), relaxed.beta * len(relaxed.P)
    pool = _Pool(np.empty((d, 0)), np.empty((d, 0)), np.empty(0))
    if relaxed.rho > 0.0:
        drawn = KrivineSampler.from_relaxation(relaxed.P, relaxed.N, relaxed.rho)
        pool = pool.extended(*(part.astype(float) for part in drawn.sample(_DRAWN * d, rng)))
    if isinstance(first, Compressed):
        pool = _compressed(pool, first.data, penalty, rng)
    else:
        pool = _generated(pool, blocks, loss, first.smoothing, penalty, rng)
    Z = pool.matrix
    _, value = look(blocks, loss, DualFormula(Z, 1.0, _step_of(loss, first)), Z, first.listed)
    network = QuantizedNetwork(
        pool.U.astype(np.int8), pool.V.astype(np.int8), pool.alpha, beta=relaxed.beta,
        loss=loss.name, loss_parameter=loss.parameter,
    )  # fmt: skip
    return BlocksNetwork(network, value + penalty * float(np.abs(pool.alpha).sum()))


def _step_of(loss: Loss, first: Compressed | Scan) -> float:
    return 0.0 if loss.smooth or isinstance(first, Compressed) else first.smoothing


@dataclass(frozen=True, eq=False)
class _Pool:
    """Neurons U, V (d, m), and their second layer alpha (m,)."""

    U: Array
    V: Array
    alpha: Array

    @property
    def matrix(self) -> Array:
        """Z with ``f(x) = x' Z x``."""
        Z = (self.U * self.alpha) @ self.V.T
        return np.asarray(0.5 * (Z + Z.T))

    def extended(self, U: Array, V: Array) -> _Pool:
        """With new neurons of weight 0, none twice."""
        known = {_key(u, v) for u, v in zip(self.U.T, self.V.T, strict=True)}
        kept = []
        for k, (u, v) in enumerate(zip(U.T, V.T, strict=True)):
            key = _key(u, v)
            if key not in known:
                known.add(key)
                kept.append(k)
        return _Pool(
            np.hstack([self.U, U[:, kept]]),
            np.hstack([self.V, V[:, kept]]),
            np.append(self.alpha, np.zeros(len(kept))),
        )

    def refitted(self, alpha: Array) -> _Pool:
        """With this second layer, without the neurons that it leaves out."""
        active = np.flatnonzero(alpha)
        return _Pool(self.U[:, active], self.V[:, active], alpha[active])


def _key(u: Array, v: Array) -> frozenset[bytes]:
    """The same for (u, v), (v, u) and their negatives."""
    return frozenset((w * w[0]).astype(np.int8).tobytes() for w in (u, v))


def _violating(M: Array, penalty: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Pairs of sign vectors with ``|u'Mv|`` above the penalty, the largest first, (d, k) each."""
    V = rng.choice([-1.0, 1.0], (len(M), _STARTS))
    U = V
    for _ in range(30):
        U = np.where(M @ V >= 0.0, 1.0, -1.0)
        V = np.where(M @ U >= 0.0, 1.0, -1.0)
    values = np.einsum("ik,ik->k", U, M @ V)
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > penalty * (1.0 + 1e-6)]
    return U[:, order], V[:, order]


def _compressed(pool: _Pool, data: Compression, penalty: float, rng: np.random.Generator) -> _Pool:
    for _ in range(_ROUNDS_COMPRESSED):
        pool = _lasso(pool, data, penalty)
        z = svec(pool.matrix) if len(pool.alpha) else np.zeros_like(data.cross)
        U, V = _violating(data.adjoint(z), penalty, rng)
        grown = pool.extended(U[:, :_NEW], V[:, :_NEW])
        if len(grown.alpha) == len(pool.alpha):
            return pool
        pool = grown
    return _lasso(pool, data, penalty)


def _lasso(pool: _Pool, data: Compression, penalty: float) -> _Pool:
    if not len(pool.alpha):
        return pool
    features = np.stack(
        [svec(0.5 * (np.outer(u, v) + np.outer(v, u)))
         for u, v in zip(pool.U.T, pool.V.T, strict=True)], axis=1,
    )  # fmt: skip
    gram = features.T @ (data.gram @ features)
    found = solve_lasso(gram, features.T @ data.cross, penalty, pool.alpha)
    return pool.refitted(found.coefficients)


@dataclass(frozen=True, eq=False)
class LayerPass:
    """The work on a block: the (smoothed) loss at a second layer, and its gradient (m,)."""

    loss: Loss
    smoothing: float
    U: Array
    V: Array
    alpha: Array

    def __call__(self, index: int, batches: Batches) -> tuple[float, Array]:
        """Of one block."""
        value, gradient = 0.0, np.zeros(len(self.alpha))
        for X, y in row_blocks(batches):
            H = (X @ self.U) * (X @ self.V)
            part, slope = envelope(self.loss, self.smoothing, H @ self.alpha, y)
            value += part
            gradient += H.T @ slope
        return value, gradient


def _generated(
    pool: _Pool,
    blocks: Blocks,
    loss: Loss,
    smoothing: float,
    penalty: float,
    rng: np.random.Generator,
) -> _Pool:
    for _ in range(_ROUNDS):
        pool = _descended(pool, blocks, loss, smoothing, penalty)
        sums, _ = look(blocks, loss, DualFormula(pool.matrix, 1.0, smoothing), pool.matrix)
        M = 0.5 * (sums.M + sums.M.T)
        U, V = _violating(M, penalty, rng)
        grown = pool.extended(U[:, :_NEW], V[:, :_NEW])
        if len(grown.alpha) == len(pool.alpha):
            return pool
        pool = grown
    return _descended(pool, blocks, loss, smoothing, penalty)


def _descended(pool: _Pool, blocks: Blocks, loss: Loss, smoothing: float, penalty: float) -> _Pool:
    """The second layer by L-BFGS in ``alpha = a - b``, a, b >= 0, one pass a step."""
    m = len(pool.alpha)
    if not m:
        return pool

    def objective(point: Array) -> tuple[float, Array]:
        alpha = scale * (point[:m] - point[m:])
        work = LayerPass(loss, smoothing, pool.U, pool.V, alpha)
        value, gradient = blocks.reduce(work, add_gradients)
        whole = np.concatenate([gradient, -gradient]) + penalty
        return (value + penalty * scale * float(point.sum())) / size, scale * whole / size

    # In units in which a network of one neuron of weight 1 costs about as much as none at all.
    zero, _ = blocks.reduce(LayerPass(loss, smoothing, pool.U, pool.V, np.zeros(m)), add_gradients)
    size = max(zero, 1e-300)
    scale = size / (penalty * math.sqrt(m))
    start = np.concatenate([np.maximum(pool.alpha, 0.0), np.maximum(-pool.alpha, 0.0)]) / scale
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * (2 * m),
        options={"maxiter": _REFIT_STEPS, "maxcor": 20, "ftol": 1e-9, "gtol": 0.0},
    )
    return pool.refitted(scale * (found.x[:m] - found.x[m:]))
