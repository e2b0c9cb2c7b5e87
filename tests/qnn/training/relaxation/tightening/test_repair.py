"""From any dual point to its certificate: it proves what the point, made feasible, gives."""

import numpy as np
import pytest

from qnn.certificates.checker import verify
from qnn.networks.activations import Polynomial
from qnn.training.problems.problem import Problem
from qnn.training.relaxation.tightening.cuts import Cuts
from qnn.training.relaxation.tightening.forms import form_certificate
from qnn.training.relaxation.tightening.solver import tightened_certificate

Array = np.ndarray


def point(seed: int, activation: str | Polynomial) -> tuple[Problem, Array, Cuts, Array, Array]:
    """A problem, and ν, inequalities, multipliers and diagonals of both sides, all at random."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(12, 5)), rng.normal(size=12)
    problem = Problem(X, y, float(rng.uniform(0.5, 2.0)), activation=activation)
    size = problem.lift.size
    vectors = np.zeros((6, 2 * size if problem.lift.pairs else size), dtype=np.int8)
    for row in vectors:
        entries = rng.choice(len(row), size=int(rng.choice([3, 5])), replace=False)
        row[entries] = rng.choice([-1, 1], size=len(entries))
    nu, tau = y + rng.normal(size=12), rng.uniform(size=(2, 6))
    return problem, nu, Cuts(vectors, size), tau, rng.uniform(-1.0, 5.0, (2, size))


def best_value(problem: Problem, nu: Array, spent: float) -> float:
    """Of tν, t within the budget: the squared loss's `t νᵀy − ½ t² ‖ν‖²`."""
    t = min(problem.budget / spent, float(nu @ problem.y) / float(nu @ nu))
    return t * float(nu @ problem.y) - 0.5 * t * t * float(nu @ nu)


@pytest.mark.parametrize("seed", range(12))
def test_a_bilinear_point(seed: int):
    problem, nu, cuts, (tau, _), (a, _) = point(seed, "bilinear")
    M, d = problem.lift.adjoint(nu), problem.d
    p, q = np.hsplit(cuts.vectors.astype(float), 2)
    # The maker's multiplier is that of the pairs of entries: twice that of (b'x)² ≥ 1.
    K_P, K_N = (0.5 * (c.T @ (tau[:, None] * c)) for c in (p + q, p - q))
    whole = np.diag(a + 0.5 * (p**2 + q**2).T @ tau)
    lowest = min(np.linalg.eigvalsh(S)[0] for S in (whole - K_P - M, whole - K_N + M))
    spent = np.trace(whole) - d * min(lowest, 0.0) - 0.5 * tau.sum()
    certificate = tightened_certificate(problem, nu, a, cuts, tau)
    expected = max(best_value(problem, nu, spent), 0.0)
    assert certificate.lower_bound == pytest.approx(expected, rel=1e-9, abs=1e-290)
    assert verify(certificate, problem.X, problem.y) >= certificate.lower_bound


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("sigma", [(0.0937, 0.5, 0.4688), (1.0, 0.0, 0.0)])
def test_a_polynomial_point(seed: int, sigma: tuple[float, float, float]):
    problem, nu, cuts, taus, diagonals = point(seed, Polynomial(*sigma))
    M, size, b = problem.lift.adjoint(nu), problem.lift.size, cuts.vectors.astype(float)
    spent = []
    for sign, a, tau in zip((1.0, -1.0), diagonals, taus, strict=True):
        whole = np.diag(a + 0.5 * (b**2).T @ tau)
        lowest = np.linalg.eigvalsh(whole - 0.5 * b.T @ (tau[:, None] * b) - sign * M)[0]
        spent.append(np.trace(whole) - size * lowest - 0.5 * tau.sum())
    certificate = form_certificate(problem, nu, list(diagonals), [cuts, cuts], list(taus))
    expected = max(best_value(problem, nu, max(spent)), 0.0)
    assert certificate.lower_bound == pytest.approx(expected, rel=1e-9, abs=1e-290)
    assert verify(certificate, problem.X, problem.y) >= certificate.lower_bound
