"""Krivine's rounding of the bilinear relaxation, in closed form.

With `γ = ln(1+√2)`, `V = (P+N)/ρ` (unit diagonal) and `Z = (P−N)/ρ`, the matrix
`Q° = [sinh(γV) sin(γZ); sin(γZ)ᵀ sinh(γV)]`, entrywise, is positive semidefinite with unit
diagonal, and `(u; v) = sign(N(0, Q°))` has `E[uvᵀ] = (2/π)γZ` (Krivine 1977; Bartan & Pilanci,
ICML 2021, §4). With the one common value `α = ρπ/(2γm)` the network of m such neurons has
`E f(x) = xᵀ(P−N)x`.

Q° is never formed. Its blocks commute with the swap of u and v, so with `S = sinh(γV)` and
`T = sin(γZ)` independent `p ~ N(0, S+T)`, `q ~ N(0, S−T)` give `((p+q)/√2; (p−q)/√2) ~ N(0, Q°)`:
two d×d factors instead of one 2d×2d.
"""

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from scipy.linalg import eigh

from qnn.networks.quantized import QuantizedNetwork
from qnn.training.relaxation.result import Relaxation
from qnn.training.rounding.candidate import Incumbent

GAMMA = math.log1p(math.sqrt(2.0))
# Gaussian rows drawn at once: a few MB, so that the products stay in cache.
BLOCK = 4096


def krivine_blocks(P: np.ndarray, N: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """`S = sinh(γ(P+N)/ρ)` and `T = sin(γ(P−N)/ρ)`, entrywise, both (d, d) and symmetric.

    P, N: (d, d) positive semidefinite with `diag(P) + diag(N) = ρ·1`, ρ > 0.
    """
    V = (P + N) / rho
    Z = (P - N) / rho
    return np.sinh(GAMMA * (V + V.T) / 2.0), np.sin(GAMMA * (Z + Z.T) / 2.0)


def krivine_alpha(rho: float, m: int) -> float:
    """The common second-layer value `ρπ/(2γm)` of the network of m samples."""
    return rho * math.pi / (2.0 * GAMMA * m)


@dataclass(frozen=True, eq=False)
class KrivineSampler:
    """Sign pairs from one relaxation; the two square roots are computed once."""

    plus: np.ndarray
    minus: np.ndarray

    @classmethod
    def from_relaxation(cls, P: np.ndarray, N: np.ndarray, rho: float) -> "KrivineSampler":
        """Factor `S ± T`; arguments as for `krivine_blocks`."""
        S, T = krivine_blocks(P, N, rho)
        return cls(square_root(S + T), square_root(S - T))

    def sample(self, m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw m independent pairs: U, V of shape (d, m), int8, entries −1 and 1."""
        d = len(self.plus)
        U = np.empty((m, d), dtype=np.int8)
        V = np.empty((m, d), dtype=np.int8)
        for start in range(0, m, BLOCK):
            rows = slice(start, min(start + BLOCK, m))
            count = rows.stop - start
            p = rng.standard_normal((count, d)) @ self.plus
            q = rng.standard_normal((count, d)) @ self.minus
            U[rows] = np.where(p + q >= 0.0, 1, -1)
            V[rows] = np.where(p - q >= 0.0, 1, -1)
        return np.ascontiguousarray(U.T), np.ascontiguousarray(V.T)


def square_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a matrix that is PSD but for rounding errors.

    The symmetric root, not an eigenvector factor, because it does not depend on the basis of a
    repeated eigenvalue's space: another BLAS or thread count then gives the same samples.
    Eigenvalues that are rounding errors are set to 0.
    """
    values, vectors = eigh(matrix)
    noise = len(matrix) * np.finfo(float).eps * max(values[-1], 0.0)
    kept = values > noise
    return (vectors[:, kept] * np.sqrt(values[kept])) @ vectors[:, kept].T


# A sweep rounds a relaxation many times: the sampler of each, for as long as it is held.
_SAMPLERS: WeakKeyDictionary[Relaxation, KrivineSampler] = WeakKeyDictionary()


def _sampler(relaxation: Relaxation) -> KrivineSampler:
    found = _SAMPLERS.get(relaxation)
    if found is None:
        (rho,) = relaxation.rho
        found = KrivineSampler.from_relaxation(relaxation.P, relaxation.N, rho)
        _SAMPLERS[relaxation] = found
    return found


def krivine_network(
    relaxation: Relaxation,
    width: int,
    rng: np.random.Generator,
    second_layer: str | int = "float",
    wide: Incumbent | None = None,
) -> QuantizedNetwork:
    """Exactly `width` samples with the common `α = ρπ/(2γm)`; no neurons where ρ = 0.

    One scalar lies on the grid of every `second_layer`, which is only noted. Samples owe nothing to
    `wide`, which the other methods start from.
    """
    problem = relaxation.problem
    (rho,) = relaxation.rho
    U = V = np.zeros((problem.d, 0), dtype=np.int8)
    alpha = np.zeros(0)
    if rho > 0.0:
        U, V = _sampler(relaxation).sample(width, rng)
        alpha = np.full(width, krivine_alpha(rho, width))
    return QuantizedNetwork(
        U,
        V,
        alpha,
        beta=problem.beta,
        loss=problem.loss.name,
        loss_parameter=problem.loss.parameter,
        second_layer=str(second_layer),
    )
