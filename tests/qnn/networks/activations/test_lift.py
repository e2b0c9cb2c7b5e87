"""What a lift says of its diagonals, against all signs."""

import numpy as np
import pytest

from qnn.networks.activations import Bilinear, Polynomial
from tests.qnn.bruteforce import sign_vectors


@pytest.mark.parametrize("activation", [Bilinear(), Polynomial(0.3, 0.5, 0.1)])
def test_diagonals_that_dominate_their_sides_bound_every_neuron(activation):
    rng = np.random.default_rng(0)
    lift = activation.lift(rng.normal(size=(9, 3)), (1.0,))
    M = lift.adjoint(rng.normal(size=9))
    values = np.linalg.eigvalsh(M)
    both = [max(values[-1], -values[0])]
    ends = both if lift.pairs else [values[-1], -values[0]]
    diagonals = [np.full(lift.size, end) for end in ends]
    assert lift.diagonals == len(diagonals)
    sides = list(lift.sides(diagonals))
    assert [sign for _, sign in sides] == [1.0, -1.0]
    U = sign_vectors(lift.size)
    for a, sign in sides:
        assert np.linalg.eigvalsh(np.diag(a) - sign * M)[0] >= -1e-12
        assert np.einsum("ij,ij->j", U, sign * M @ U).max() <= a.sum() + 1e-9
    if lift.pairs:
        assert np.abs(U.T @ M @ U).max() <= diagonals[0].sum() + 1e-9


@pytest.mark.parametrize("activation", [Bilinear(), Polynomial(0.3, 0.5, 0.1)])
def test_what_neurons_span_has_the_diagonal_that_the_lift_says(activation):
    rng = np.random.default_rng(1)
    lift = activation.lift(rng.normal(size=(9, 3)), (1.0,))
    u, v = rng.choice([-1.0, 1.0], size=(2, lift.size))
    spanned = 0.5 * (np.outer(u, v) + np.outer(v, u)) if activation.pairs else np.outer(u, u)
    assert np.array_equal(lift.settled(spanned.copy()), spanned)
    Z = rng.normal(size=(lift.size, lift.size))
    settled = lift.settled(Z.copy())
    assert (np.ptp(settled.diagonal()) > 0.0) == lift.free_diagonal
    assert np.trace(settled) == pytest.approx(np.trace(Z))
    groups = lift.groups("P", "N")
    assert [name for group in groups for name in group] == ["P", "N"]
    assert len(groups) == lift.diagonals
    M = lift.adjoint(rng.normal(size=9))
    others = sign_vectors(lift.size) if activation.pairs else u[:, None]
    assert lift.largest_product(u, M @ u) == pytest.approx(np.abs(u @ M @ others).max())
