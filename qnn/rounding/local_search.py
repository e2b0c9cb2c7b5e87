"""Local search on a network of at most `width` neurons: bits, insertions and exchanges.

Every move is judged in closed form. With curvature L (`ℓ(f+δ) ≤ ℓ(f) + ∇ℓᵀδ + ½L‖δ‖²`; equality
and L = 1 for the squared loss) and `r = −∇ℓ/L`, `λ = βd/L`, a neuron that is taken out (`r_k = r +
α_k h_k`) and put back with feature h and its best α lowers the objective by
`L · max(|hᵀr_k| − λ, 0)² / (2‖h‖²)` or more. Losses without a curvature skip the bits.
"""

import time

import numpy as np

from qnn.pricing.heuristic import alternating_maximization, signs
from qnn.rounding.atoms import canonical, unseen
from qnn.rounding.incumbent import Incumbent, build, extended, narrowed
from qnn.rounding.krivine import KrivineSampler

# A round that gains less than this, relative to the objective, is the last.
TOLERANCE = 1e-6
# Starts of each kind a pricing round: Krivine samples, and random signs.
STARTS = 64
# Atoms inserted in one round.
BATCH = 32


def improve(
    incumbent: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: KrivineSampler | None = None,
    max_rounds: int = 50,
    deadline: float | None = None,
) -> Incumbent:
    """A network of at most `width` neurons that is no worse: bits, then atoms, until neither helps.

    `incumbent` has at most `width` neurons. `sampler` adds Krivine samples to the starts of the
    pricing. Stops when a round gains less than 1e-6 relative, after `max_rounds`, or
    at `deadline` (`time.monotonic`).
    """
    for _ in range(max_rounds):
        if deadline is not None and time.monotonic() > deadline:
            break
        before = incumbent.objective
        incumbent = improve_atoms(incumbent, width, rng, sampler)
        if incumbent.width and before - incumbent.objective <= 10 * TOLERANCE * before:
            incumbent = improve_bits(incumbent)
        if before - incumbent.objective <= TOLERANCE * before:
            break
    return incumbent


def improve_bits(incumbent: Incumbent) -> Incumbent:
    """One pass over the neurons; each takes its best changes of one or two bits, then a refit."""
    problem = incumbent.problem
    curvature = problem.loss.curvature
    if curvature is None:
        return incumbent
    U, V, alpha = incumbent.U.copy(), incumbent.V.copy(), incumbent.alpha.copy()
    r = incumbent.nu / curvature
    penalty = problem.budget / curvature
    threshold = 0.1 * TOLERANCE * incumbent.objective / (curvature * max(1, incumbent.width))
    changed = False
    for k in range(incumbent.width):
        u, v, a, moved = _best_bits(
            problem.X,
            incumbent.A[:, k],
            incumbent.B[:, k],
            U[:, k],
            V[:, k],
            alpha[k],
            r,
            penalty,
            threshold,
        )
        if moved:
            # r is updated in place of a fresh gradient: exact for the squared loss, and for
            # others the majorant at the first point stays valid.
            r += alpha[k] * incumbent.H[:, k] - a * (problem.X @ u) * (problem.X @ v)
            U[:, k], V[:, k], alpha[k] = u, v, a
            changed = True
    if not changed:
        return incumbent
    return _better(incumbent, build(problem, U, V, alpha))


def improve_atoms(
    incumbent: Incumbent,
    width: int,
    rng: np.random.Generator,
    sampler: KrivineSampler | None = None,
) -> Incumbent:
    """Insert priced atoms; where that makes more than `width` neurons, the cheapest leave again.

    Smaller insertions are tried until one lowers the objective; else the incumbent comes back.
    """
    U, V, _ = price(incumbent, rng, sampler)
    count = min(BATCH, U.shape[1])
    while count:
        candidate = narrowed(extended(incumbent, U[:, :count], V[:, :count]), width)
        if candidate.objective < incumbent.objective * (1.0 - TOLERANCE):
            return candidate
        count //= 4
    return incumbent


def price(
    incumbent: Incumbent,
    rng: np.random.Generator,
    sampler: KrivineSampler | None = None,
    starts: int = STARTS,
    tol: float = TOLERANCE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New atoms with `|uᵀM(ν)v| > βd(1 + tol)` at the incumbent's ν, the most violating first.

    Local maxima from random signs, Krivine samples and the active neurons. Returns U, V (d, k) in
    canonical form, none active, none twice, and the violations `|uᵀMv|/(βd) − 1` (k,).
    """
    problem = incumbent.problem
    M = problem.lift.adjoint(incumbent.nu)
    V = [signs(rng.standard_normal((problem.d, starts))), incumbent.U, incumbent.V]
    if sampler is not None:
        V.append(sampler.sample(starts, rng)[1].astype(np.float64))
    U_new, V_new, values = alternating_maximization(M, np.hstack(V))
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > problem.budget * (1.0 + tol)]
    U_new, V_new, _ = canonical(U_new[:, order], V_new[:, order])
    fresh = unseen(incumbent.U, incumbent.V, U_new, V_new)
    violation = values[order[fresh]] / problem.budget - 1.0
    return U_new[:, fresh], V_new[:, fresh], violation


def _better(old: Incumbent, new: Incumbent) -> Incumbent:
    return new if new.objective < old.objective else old


def _best_bits(
    X: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    alpha: float,
    r: np.ndarray,
    penalty: float,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray, float, bool]:
    """The neuron (u, v) after its best changes of up to one bit of u and one of v at a time.

    a = Xu, b = Xv. Row 0 of the tables stands for "u unchanged", column 0 for "v unchanged".
    """
    rest = r + alpha * a * b
    h = a * b
    value = float(_gain(h @ rest, h @ h, penalty))
    moved = False
    while True:
        left = np.column_stack([a, a[:, None] - 2.0 * u * X])
        right = np.column_stack([b, b[:, None] - 2.0 * v * X])
        correlation = (left * rest[:, None]).T @ right
        square = (left * left).T @ (right * right)
        gains = _gain(correlation, square, penalty)
        i, j = np.unravel_index(int(np.argmax(gains)), gains.shape)
        if gains[i, j] <= value + threshold:
            break
        value, moved = float(gains[i, j]), True
        u, v = u.copy(), v.copy()
        if i:
            u[i - 1] = -u[i - 1]
        if j:
            v[j - 1] = -v[j - 1]
        a, b = left[:, i], right[:, j]
        c = float(correlation[i, j])
        alpha = np.sign(c) * max(abs(c) - penalty, 0.0) / float(square[i, j])
    return u, v, alpha, moved


def _gain(correlation: np.ndarray, square: np.ndarray, penalty: float) -> np.ndarray:
    """`max(|c| − λ, 0)² / (2q)`, 0 where q = 0."""
    excess = np.maximum(np.abs(correlation) - penalty, 0.0)
    return excess**2 / (2.0 * np.maximum(square, np.finfo(float).tiny))
