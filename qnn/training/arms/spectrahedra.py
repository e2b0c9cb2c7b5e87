"""The float ceiling: the same network with unquantized weights, trained to global optimality.

With first-layer weights on the sphere ‖u‖ = √d instead of {−1, 1}^d, the penalty `βd Σ|α|` becomes
`β‖Z‖_*` for the matrix Z = Σ α_j u_j u_jᵀ, and training `min ℓ(x_iᵀ Z x_i) + β‖Z‖_*` over symmetric
Z is convex (B. Bartan, M. Pilanci, *Neural Spectrahedra and Semidefinite Lifts*, arXiv 2101.02429).
A sign pair uvᵀ has nuclear norm d, so this optimum is never above a quantized one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from qnn.errors import InputError
from qnn.training.problems.problem import Problem


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """`f(x) = Σ_k signs_k (xᵀ r_k)²`: R (d, r) float64, signs (r,) of −1 and +1.

    objective: loss + β‖Z‖_* on the training rows.
    """

    R: np.ndarray
    signs: np.ndarray
    objective: float
    loss_value: float

    @property
    def neurons(self) -> int:
        """Number of squares."""
        return len(self.signs)

    @property
    def size_in_bytes(self) -> int:
        """8 bytes a weight and a bit a sign."""
        return 8 * self.R.size + -(-len(self.signs) // 8)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """X (n, d) to f (n,)."""
        return (X @ self.R) ** 2 @ self.signs


def check_spectrahedra(problem: Problem) -> None:
    """Raise InputError, before any computing, where the activation is not bilinear."""
    if not problem.activation.pairs or not problem.loss.smooth:
        raise InputError(
            "baseline spectrahedra takes the bilinear activation and a smooth loss: leave it out, "
            "or choose a smooth loss, such as squared or logistic"
        )


def spectrahedra(problem: Problem, seconds: float) -> FloatNetwork:
    """The float network, by L-BFGS on Z = FFᵀ − GGᵀ with full-rank factors, for `seconds` at most.

    With `β(‖F‖² + ‖G‖²)` in place of `β‖Z‖_*` the minima agree, and at this rank every second-order
    stationary point is global. Raises InputError as `check_spectrahedra`.
    """
    check_spectrahedra(problem)
    X, y, d, beta = problem.X, problem.y, problem.d, problem.beta
    signs = np.repeat([1.0, -1.0], d)
    deadline = time.monotonic() + seconds

    def value(flat: np.ndarray) -> tuple[float, np.ndarray]:
        R = flat.reshape(d, 2 * d)
        XR = X @ R
        f = XR**2 @ signs
        slope = problem.loss.gradient(f, y)
        gradient = 2.0 * (X.T @ (slope[:, None] * XR)) * signs + 2.0 * beta * R
        objective = problem.loss.value(f, y) + beta * float(np.sum(R**2))
        return objective, gradient.ravel()

    def stop(_: np.ndarray) -> None:
        if time.monotonic() > deadline:
            raise StopIteration

    start = np.random.default_rng(0).standard_normal(2 * d * d) / d
    options = {"maxiter": 20_000, "maxfun": 10**6, "ftol": 1e-12, "gtol": 1e-8}
    found = minimize(value, start, jac=True, method="L-BFGS-B", callback=stop, options=options)
    return _shortened(problem, found.x.reshape(d, 2 * d), signs)


def _shortened(problem: Problem, R: np.ndarray, signs: np.ndarray) -> FloatNetwork:
    """The same Z by its eigenvectors, without those that carry nothing; `‖Z‖_*` is exact so."""
    values, vectors = np.linalg.eigh((R * signs) @ R.T)
    kept = np.abs(values) > 1e-9 * np.abs(values).max(initial=1e-300)
    values, vectors = values[kept], vectors[:, kept]
    R, signs = vectors * np.sqrt(np.abs(values)), np.sign(values)
    loss = problem.loss.value((problem.X @ R) ** 2 @ signs, problem.y)
    return FloatNetwork(R, signs, loss + problem.beta * float(np.abs(values).sum()), loss)
