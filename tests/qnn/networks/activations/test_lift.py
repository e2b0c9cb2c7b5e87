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
