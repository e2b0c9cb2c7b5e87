"""Networks rounded over blocks: their objective is that of the rows, above the bound, near it."""

import numpy as np
import pytest

import qnn
from qnn.losses import get_loss
from qnn.numerics.blocks import LocalBlocks
from qnn.training.relaxation.blocks.solve import first_pass, solve_blocks
from qnn.training.rounding.over_blocks import round_blocks
from tests.qnn.training.relaxation.blocks.test_compressed import Shared, cut
from tests.qnn.training.relaxation.blocks.test_low_rank import rows


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge", "huber"])
def test_the_objective_is_that_of_the_network_on_the_rows(loss):
    X, y = rows(loss)
    blocks = LocalBlocks(cut((X, y), 5))
    first = first_pass(blocks, loss, 1e-2)
    beta = 0.1 * first.beta_max
    relaxed = solve_blocks(blocks, beta, 1e-2, loss, first=first)
    found = round_blocks(blocks, relaxed, get_loss(loss), first)
    network = found.network
    H = (X @ network.U) * (X @ network.V)
    value = get_loss(loss).value(H @ network.alpha, y)
    value += beta * X.shape[1] * float(np.abs(network.alpha).sum())
    assert abs(found.objective - value) <= 1e-9 * value
    assert relaxed.lower_bound <= found.objective
    trained = qnn.train(qnn.Problem(X, y, beta=beta, loss=loss), seed=0)
    assert relaxed.lower_bound <= trained.objective
    assert found.objective <= 1.1 * trained.objective
    assert found.objective < first_value(loss, y)


def first_value(loss: str, y: np.ndarray) -> float:
    return get_loss(loss).value(np.zeros(len(y)), y)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_the_bits_do_not_depend_on_the_number_of_owners(loss):
    blocks = cut(rows(loss), 5)
    made = []
    for holder in (LocalBlocks(blocks), Shared(blocks, 2), Shared(blocks, 5)):
        first = first_pass(holder, loss, 1e-2)
        relaxed = solve_blocks(holder, 0.2 * first.beta_max, 1e-2, loss, first=first)
        found = round_blocks(holder, relaxed, get_loss(loss), first)
        made.append((found.network.to_bytes(), found.objective))
    assert made[0] == made[1] == made[2]


def test_from_beta_max_on_the_network_is_empty():
    blocks = LocalBlocks(cut(rows("squared"), 3))
    first = first_pass(blocks)
    relaxed = solve_blocks(blocks, 1.5 * first.beta_max, first=first)
    found = round_blocks(blocks, relaxed, get_loss("squared"), first)
    assert found.network.neurons == 0
    assert relaxed.gap <= 1e-9
