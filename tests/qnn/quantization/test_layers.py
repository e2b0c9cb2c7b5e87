"""A neuron's codes and bounds against enumeration, a second implementation, and cvxpy."""

import itertools
from collections.abc import Callable
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.certificates.layers import verify_layer
from qnn.errors import InputError
from qnn.quantization.layers import beams
from qnn.quantization.layers.adaquant import adaquant
from qnn.quantization.layers.bounds import diagonal_bound
from qnn.quantization.layers.certify import Effort, certify_layer
from qnn.quantization.layers.diagonals import leading_diagonals
from qnn.quantization.layers.grids import (
    Codes,
    errors,
    limits,
    nearest,
    refit_steps,
    round_searched,
)
from qnn.quantization.layers.lattice import (
    descent,
    factor_in_order,
    gptq,
    kbest,
    kbest_at,
    vblast_order,
)
from qnn.quantization.layers.methods import METHODS
from qnn.quantization.layers.objective import DAMPS, choose_damp, layer_objective
from qnn.quantization.layers.sphere import search_at, search_over_steps
from qnn.quantization.threads import in_threads

Array = np.ndarray


def problem(d: int, m: int, seed: int, damp: float = 1e-2) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    Z = np.maximum(rng.standard_normal((5 * d, d)) @ rng.standard_normal((d, d)), 0.0)
    H = np.atleast_2d(np.cov(Z.T, bias=True))
    return H + (damp * np.trace(H) / d + 1e-6) * np.eye(d), rng.standard_normal((m, d))


def grid_points(d: int, bits: int) -> Array:
    lo, hi = limits(bits)
    return np.array(list(itertools.product(range(lo, hi + 1), repeat=d)), dtype=float)


def best_over_steps(H: Array, w: Array, Q: Array) -> float:
    above, below = np.maximum(Q @ H @ w, 0.0), errors(H, Q)
    gain = np.divide(above**2, below, out=np.zeros_like(above), where=below > 0.0)
    return float((w @ H @ w - gain).min())


def searched(
    run: Callable[..., Any], H: Array, w: Array, codes: Codes, bits: int
) -> tuple[float, bool]:
    order = vblast_order(H)
    R = factor_in_order(H, order)
    q = codes.q[0][order].astype(np.int64)
    more = (leading_diagonals(R),) if run is search_at else ()
    found = run(R, w[order], float(codes.s[0]), q, bits, 10**7, *more)
    return float(((R @ (found.s * found.q - w[order])) ** 2).sum()), found.proven


@pytest.mark.parametrize("seed", range(20))
def test_searches_find_the_enumerated_optimum(seed: int) -> None:
    d, bits = 3 + seed % 4, 2 + seed % 2
    H, W = problem(d, 1, seed)
    Q = grid_points(d, bits)
    start = round_searched(H, W, bits)
    value, proven = searched(search_at, H, W[0], start, bits)
    assert proven
    assert value == pytest.approx(errors(H, start.s[0] * Q - W[0]).min(), rel=2e-6)
    value, proven = searched(search_over_steps, H, W[0], start, bits)
    assert proven
    assert value == pytest.approx(best_over_steps(H, W[0], Q), rel=2e-6)


@pytest.mark.parametrize("d", [1, 2, 7, 30])
def test_diagonals_lie_below_and_sum_to_the_relaxation_s_value(d: int) -> None:
    H, _ = problem(d, 1, d)
    R = factor_in_order(H, np.arange(d))
    made = leading_diagonals(R)
    block = int(np.count_nonzero(made[1]))
    assert block == int(np.ceil(0.625 * d))
    for D, size in ((made[0], d), (made[1], block)):
        part = R[:size, :size].T @ R[:size, :size]
        assert np.linalg.eigvalsh(part - np.diag(D[:size])).min() >= -1e-9 * part.max()
        assert (D[:size] > 0.0).all()
        if size in (2, 5, 7):
            best = cvxpy.Variable(size, nonneg=True)
            task = cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(best)), [part - cvxpy.diag(best) >> 0])
            assert D.sum() >= 0.98 * task.solve(solver="CLARABEL")


def test_diagonals_save_most_nodes_of_a_search() -> None:
    H, W = problem(26, 4, 2)
    order = vblast_order(H)
    R = factor_in_order(H, order)
    codes = kbest(H, W, 2)
    for j in range(4):
        at = (R, W[j][order], float(codes.s[j]), codes.q[j][order].astype(np.int64), 2, 10**7)
        plain, fast = search_at(*at), search_at(*at, leading_diagonals(R))
        assert plain.proven
        assert fast.proven
        assert fast.nodes < plain.nodes
        assert (fast.q == plain.q).all()


def test_a_search_that_runs_out_of_nodes_says_so() -> None:
    H, W = problem(12, 1, 0)
    start = round_searched(H, W, 3)
    order = vblast_order(H)
    R = factor_in_order(H, order)
    q = start.q[0][order].astype(np.int64)
    for run in (search_at, search_over_steps):
        assert not run(R, W[0][order], float(start.s[0]), q, 3, 5).proven


def greedy(H: Array, W: Array, s: Array, bits: int, order: Array) -> Array:
    """Babai's nearest plane by conditional expectations, without a triangular factor."""
    q = np.zeros(W.shape)
    for j, (w, step) in enumerate(zip(W, s, strict=True)):
        decided: list[int] = []
        for i in order[::-1]:
            rest = [k for k in range(len(w)) if k not in decided]
            c = w / step
            if decided:
                pull = H[np.ix_(rest, decided)] @ (q[j, decided] - c[decided])
                centre = c[rest] - np.linalg.solve(H[np.ix_(rest, rest)], pull)
            else:
                centre = c
            q[j, i] = np.clip(np.rint(centre[rest.index(i)]), *limits(bits))
            decided.append(int(i))
    return q


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_beam_of_one_is_babai_and_gptq_too(bits: int) -> None:
    H, W = problem(9, 5, 3)
    s = round_searched(H, W, bits).s
    order = np.argsort(np.diag(H), kind="stable")
    assert (gptq(H, W, bits).q == greedy(H, W, s, bits, order)).all()
    assert (kbest_at(H, W, s, bits, 1).q == greedy(H, W, s, bits, vblast_order(H))).all()


def test_the_vblast_order_decides_the_largest_conditional_curvature_first() -> None:
    H, _ = problem(7, 1, 5)
    rest = list(range(7))
    for chosen in vblast_order(H)[::-1]:
        curvature = 1.0 / np.diag(np.linalg.inv(H[np.ix_(rest, rest)]))
        assert rest[int(np.argmax(curvature))] == chosen
        rest.remove(chosen)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_kbest_is_never_worse_than_where_it_starts(bits: int) -> None:
    H, W = problem(16, 8, bits)
    ours = errors(H, kbest(H, W, bits).weights - W)
    for name in ("rtn_range", "rtn", "gptq", "descent"):
        other = errors(H, METHODS[name](H, W, bits).weights - W)
        assert (ours <= other * (1.0 + 1e-12)).all(), name


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_kbest_is_near_the_optimum_at_its_step_and_adaquant_no_nearer(bits: int) -> None:
    H, W = problem(5, 6, 10 + bits)
    codes = kbest(H, W, bits)
    Q = grid_points(5, bits) if bits < 4 else None
    learned = errors(H, adaquant(H, W, bits, steps=300).weights - W)
    ours = errors(H, codes.weights - W)
    assert ours.sum() <= learned.sum()
    if Q is not None:
        best = [errors(H, s * Q - w).min() for s, w in zip(codes.s, W, strict=True)]
        assert (ours <= 1.0001 * np.array(best)).all()


def test_adaquant_improves_on_its_start_and_the_step_refit_is_stationary() -> None:
    H, W = problem(24, 10, 1)
    start = round_searched(H, W, 2)
    assert errors(H, adaquant(H, W, 2).weights - W).sum() < errors(H, start.weights - W).sum()
    codes = refit_steps(H, W, nearest(W, start.s, 2))
    for factor in (0.999, 1.001):
        moved = Codes(codes.s * factor, codes.q)
        assert (errors(H, codes.weights - W) <= errors(H, moved.weights - W)).all()


def test_zero_neurons_and_lonely_inputs() -> None:
    H, W = problem(6, 3, 2)
    W[0] = 0.0
    for name, method in METHODS.items():
        codes = method(H, W, 2)
        assert not codes.weights[0].any(), name
        assert (codes.s > 0.0).all()
    one = kbest(np.eye(1), np.array([[0.7]]), 2)
    assert one.weights[0, 0] == pytest.approx(0.7)


def relaxation(H: Array, w: Array, s: float, bits: int) -> float:
    """The semidefinite relaxation over (q, Q) by cvxpy."""
    lo, hi = limits(bits)
    A, c, d = s * s * H, w / s, len(w)
    P = cvxpy.Variable((d + 1, d + 1), PSD=True)
    q, diagonal = P[0, 1:], cvxpy.diag(P)[1:]
    constraints = [P[0, 0] == 1, diagonal <= (lo + hi) * q - lo * hi]
    constraints += [diagonal >= (2 * k + 1) * q - k * (k + 1) for k in range(lo, hi)]
    objective = cvxpy.Minimize(cvxpy.trace(A @ P[1:, 1:]) - 2 * (A @ c) @ q + c @ A @ c)
    value: float = cvxpy.Problem(objective, constraints).solve(solver="CLARABEL")
    return value


@pytest.mark.parametrize(("bits", "seed"), [(2, 0), (2, 1), (3, 2), (4, 3)])
def test_the_bound_is_that_of_the_relaxation(bits: int, seed: int) -> None:
    H, W = problem(8, 1, seed)
    codes = kbest(H, W, bits)
    value = float(errors(H, codes.weights - W)[0])
    found, _ = diagonal_bound(H, W[0], float(codes.s[0]), bits, value, None, 100)
    expected = relaxation(H, W[0], float(codes.s[0]), bits)
    assert found.bound <= expected + 1e-6 * value
    assert found.bound >= expected - 0.01 * value


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([2, 3]), st.floats(-6, 0))
def test_the_bound_never_exceeds_the_optimum(seed: int, d: int, bits: int, damp: float) -> None:
    H, W = problem(d, 1, seed, 10.0**damp)
    rng = np.random.default_rng(seed)
    s = float(rng.uniform(0.2, 1.5))
    best = float(errors(H, s * grid_points(d, bits) - W[0]).min())
    codes = kbest_at(H, W, np.array([s]), bits)
    value = float(errors(H, codes.weights - W)[0])
    assert value >= best * (1.0 - 1e-9)
    found, D = diagonal_bound(H, W[0], s, bits, max(value, 1e-12), None, 40)
    again, _ = diagonal_bound(H, W[0], s, bits, max(value, 1e-12), D, 5)
    assert max(found.bound, again.bound) <= best + 1e-9 * max(value, 1.0)


def test_the_objective_is_the_mean_square_with_the_best_bias() -> None:
    rng = np.random.default_rng(0)
    X, W0 = rng.standard_normal((40, 5)) + 1.0, rng.standard_normal((3, 5))
    A = (X + 0.1 * rng.standard_normal(X.shape)) @ W0.T
    weights = rng.uniform(0.5, 2.0, 40)
    made = layer_objective(X, A, W0, 0.05, weights)
    V = rng.standard_normal((3, 5))
    share = weights / weights.sum()
    for j in range(3):
        wrong = X @ V[j] - A[:, j]
        wrong -= share @ wrong
        direct = share @ wrong**2 + made.rho * ((V[j] - W0[j]) ** 2).sum()
        form = made.constant[j] + errors(made.H, (V - made.W)[j : j + 1])[0]
        assert form == pytest.approx(direct, rel=1e-9)


@pytest.mark.parametrize("n", [1, 3])
def test_a_singular_gram_matrix_is_refused(n: int) -> None:
    X = np.ones((n, 4)) if n == 1 else np.random.default_rng(0).standard_normal((n, 4))
    with pytest.raises(InputError, match="Gram matrix of its inputs is singular"):
        layer_objective(X, X, np.eye(4), 0.0)


def test_the_chosen_damping_errs_less_on_new_rows_than_almost_none() -> None:
    rng = np.random.default_rng(1)
    mix, W = rng.standard_normal((30, 30)), rng.standard_normal((10, 30))
    X, new = (np.maximum(rng.standard_normal((n, 30)) @ mix, 0.0) for n in (24, 2000))

    def error(damp: float) -> float:
        made = layer_objective(X, X @ W.T, W, damp)
        codes = kbest(made.H, made.W, 2, 16)
        wrong = new @ codes.weights.T + made.biases(codes) - new @ W.T
        return float((wrong**2).mean())

    assert error(choose_damp(X, X @ W.T, W, 2, 0.25, 0)) < 0.7 * error(DAMPS[0])


def test_descent_ends_where_no_single_code_improves() -> None:
    H, W = problem(10, 4, 8)
    codes = descent(H, W, 3)
    base = errors(H, codes.weights - W)
    lo, hi = limits(3)
    for j, i, change in itertools.product(range(4), range(10), (-1, 1)):
        q = codes.q.astype(int)
        q[j, i] = np.clip(q[j, i] + change, lo, hi)
        assert errors(H, codes.s[:, None] * q - W)[j] >= base[j] * (1.0 - 1e-12)


@pytest.mark.parametrize(("d", "bits", "beam"), [(7, 2, 16), (33, 3, 5), (70, 4, 64), (97, 8, 1)])
def test_neurons_decoded_together_are_those_decoded_alone(d: int, bits: int, beam: int) -> None:
    H, W = problem(d, 5, d)
    lo, hi = limits(bits)
    order = vblast_order(H)
    R = factor_in_order(H, order)
    diagonal = np.diag(R).copy()
    unit, C = R / diagonal[:, None], W[:, order] / round_searched(H, W, bits).s[:, None]
    alone = [beams.decoded_alone(unit, diagonal**2, c, lo, hi, beam) for c in C]
    together = beams.decoded_in_blocks(unit, diagonal**2, C, lo, hi, beam)
    np.testing.assert_array_equal(together, alone)


def test_threads_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    X = np.maximum(rng.standard_normal((90, 24)) @ rng.standard_normal((24, 24)), 0.0)
    W = rng.standard_normal((9, 24))
    made = layer_objective(X, X @ W.T, W, 1e-2)
    bits, rho = np.array([2, 4, 4, 2, 4, 2, 2, 4, 3]), np.full(9, made.rho)
    s, q = np.ones(9), np.zeros((9, 24), np.int8)
    for b in (2, 3, 4):
        codes = descent(made.H, made.W[bits == b], b)
        s[bits == b], q[bits == b] = codes.s.astype(np.float32), codes.q
    found, told = [], []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        effort = Effort("bound", search_inputs=8, newton_inputs=8)
        given = (X, made.W, rho, Codes(s, q), bits, effort, None, told.append)
        found.append(certify_layer("one", *given)[0])
    assert found[0].to_bytes() == found[1].to_bytes()
    assert told == 2 * [pytest.approx((k + 1) / 9) for k in range(9)]
    proof = verify_layer(found[0], X)
    assert (proof.bound > 0.2 * proof.value).all()
    assert in_threads(lambda k: k * k, range(5)) == [0, 1, 4, 9, 16]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda k: 1 // k, range(5))
