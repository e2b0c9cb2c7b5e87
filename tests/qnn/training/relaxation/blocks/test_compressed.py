"""The relaxation over blocks: the same optimum as in one place, and the same bits whoever sums."""

import numpy as np
import pytest

import qnn
from qnn.certificates.blockwise import verify_blocks
from qnn.errors import InputError
from qnn.numerics.batches import Batches
from qnn.numerics.blocks import Combine, LocalBlocks, P, Work, cover, join, shares, tree_sum
from qnn.training.relaxation.blocks.compressed import compress_blocks
from qnn.training.relaxation.blocks.solve import solve_blocks

Rows = tuple[np.ndarray, np.ndarray]


def rows(n: int = 300, d: int = 5) -> Rows:
    rng = np.random.default_rng(n)
    X = rng.normal(size=(n, d))
    return X, X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.3 * rng.normal(size=n)


def cut(data: Rows, count: int) -> list[Batches]:
    return [[pair] for pair in zip(*(np.array_split(a, count) for a in data), strict=True)]


class Shared(LocalBlocks):
    """As actors do it: each sums the parts of the tree that are its own, the rest is joined."""

    def __init__(self, blocks: list[Batches], owners: int) -> None:
        super().__init__(blocks)
        self.owners = owners

    def reduce(self, work: Work[P], combine: Combine[P]) -> P:
        whole, parts = (0, self.count), {}
        for owned in reversed(shares(self.count, self.owners)):
            for span in cover(whole, owned):
                parts[span] = tree_sum(span, lambda b: work(b, self._blocks[b]), combine)
        return join(whole, parts, combine)


def test_shares_and_covers_are_of_each_block_once():
    for count in range(1, 40):
        for owners in (1, 2, 3, 5, 64):
            owned = shares(count, owners)
            assert [b for first, last in owned for b in range(first, last)] == list(range(count))
            spans = sorted(span for one in owned for span in cover((0, count), one))
            assert [b for first, last in spans for b in range(first, last)] == list(range(count))


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_the_bits_do_not_depend_on_the_number_of_owners(count):
    blocks = cut(rows(), count)
    first = solve_blocks(LocalBlocks(blocks), 4.0)
    for owners in (2, 3, 4, 7):
        again = solve_blocks(Shared(blocks, owners), 4.0)
        assert again.certificate.to_bytes() == first.certificate.to_bytes()
        assert again.P.tobytes() == first.P.tobytes()
        assert again.upper_bound == first.upper_bound


@pytest.mark.parametrize("fraction", [2.0, 0.5, 0.1, 0.01])
def test_it_is_the_bound_of_one_machine(fraction):
    X, y = rows()
    blocks = LocalBlocks(cut((X, y), 7))
    compressed = compress_blocks(blocks)
    beta = fraction * compressed.beta_max
    found = solve_blocks(blocks, beta, 1e-6, first=compressed)
    assert found.outcome == "solved"
    assert verify_blocks(found.certificate, blocks) >= found.lower_bound
    single = qnn.solve(qnn.Problem(X, y, beta=beta), tol=1e-7)
    assert found.lower_bound <= single.upper_bound * (1 + 1e-12)
    assert single.lower_bound <= found.upper_bound * (1 + 1e-12)
    stream = qnn.solve_stream([(X, y)], beta, 1e-6)
    assert abs(found.lower_bound - stream.lower_bound) <= 1e-9 * stream.lower_bound


def test_no_network_is_below_the_bound():
    X, y = rows(60, 3)
    blocks = LocalBlocks(cut((X, y), 4))
    found = solve_blocks(blocks, 1.0)
    trained = qnn.train(qnn.Problem(X, y, beta=1.0), certify="exact", seed=0)
    assert found.lower_bound <= trained.objective


def test_a_block_that_changes_between_the_passes_is_named():
    data = cut(rows(), 4)
    compressed = compress_blocks(LocalBlocks(data))
    X, y = data[2][0]
    data[2] = [(X + 1e-13, y)]
    with pytest.raises(InputError, match="block 2 has changed between two passes"):
        solve_blocks(LocalBlocks(data), 1.0, first=compressed)


def test_bad_input_is_one_line():
    blocks = LocalBlocks(cut(rows(), 2))
    with pytest.raises(InputError, match="beta must be a positive number"):
        solve_blocks(blocks, np.nan)
    with pytest.raises(InputError, match="tol must be positive"):
        solve_blocks(blocks, 1.0, 0.0)
    with pytest.raises(InputError, match="no blocks"):
        LocalBlocks([])
    uneven: list[Batches] = [[(np.ones((2, d)), np.ones(2))] for d in (3, 3, 2)]
    with pytest.raises(InputError, match="block 2 has 2 columns, the ones before have 3"):
        compress_blocks(LocalBlocks(uneven))
