from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.networks.atoms.maxima import alternating_maximization, flip_maximization, signs


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_results_are_local_maxima_below_the_enumerated_one(d, seed):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((d, d))
    M = M + M.T
    start = signs(rng.standard_normal((d, 20)))
    U, V, values = alternating_maximization(M, start)
    everything = np.array(list(product([-1, 1], repeat=d)))
    exact = np.abs(everything @ M).sum(axis=1).max()
    assert np.all(np.abs(U) == 1)
    assert np.all(np.abs(V) == 1)
    assert np.allclose(values, np.einsum("ij,ij->j", U, M @ V))
    assert values.max() <= exact + 1e-9
    assert np.all(values >= np.abs(M @ start).sum(axis=0) - 1e-9)
    # u is the best answer to v and v to u.
    assert np.allclose(values, np.abs(M @ V).sum(axis=0))
    assert np.allclose(values, np.abs(M.T @ U).sum(axis=0))


def test_many_starts_find_the_maximum():
    rng = np.random.default_rng(5)
    M = rng.standard_normal((8, 8))
    everything = np.array(list(product([-1, 1], repeat=8)))
    _, _, values = alternating_maximization(M, signs(rng.standard_normal((8, 200))))
    assert np.isclose(values.max(), np.abs(everything @ M).sum(axis=1).max())


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_no_single_flip_improves_a_quadratic_form(d, seed):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((d + 1, d + 1))
    M = M + M.T
    start = signs(rng.standard_normal((d, 12)))

    def form(U):
        W = np.vstack([U, np.ones(U.shape[1])])
        return np.einsum("ij,ij->j", W, M @ W)

    U, values = flip_maximization(M, start)
    assert U.shape == (d, 24)
    assert np.allclose(values, np.abs(form(U)))
    assert np.all(form(U[:, :12]) >= form(start) - 1e-9)
    assert np.all(form(U[:, 12:]) <= form(start) + 1e-9)
    for i in range(d):
        flipped = U.copy()
        flipped[i] *= -1.0
        assert np.all(form(flipped[:, :12]) <= form(U[:, :12]) + 1e-9)
        assert np.all(form(flipped[:, 12:]) >= form(U[:, 12:]) - 1e-9)
    everything = form(np.array(list(product([-1.0, 1.0], repeat=d))).T)
    assert values.max() <= np.abs(everything).max() + 1e-9


def test_zero_has_a_sign():
    assert signs(np.array([0.0, -0.0, -1.0])).tolist() == [1.0, 1.0, -1.0]
