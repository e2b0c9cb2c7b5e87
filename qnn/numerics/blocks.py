"""Rows in blocks that lie anywhere: work on each, and sums of what comes out, by one fixed tree.

The tree depends on the number of blocks alone: n blocks are the largest power of two below n, and
the rest, and so on down (the tree of RFC 6962, section 2.1). So floating sums have the same bits
however many machines share the blocks, and whichever of them fails and is replaced.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from qnn.errors import InputError
from qnn.numerics.batches import Batches

P = TypeVar("P")
#: blocks from the first to before the last
Span = tuple[int, int]
#: what is done with one block: its index and its rows (see `qnn.numerics.batches`)
Work = Callable[[int, Batches], P]
#: sums what two neighbours gave, the left one first; it changes neither
Combine = Callable[[P, P], P]


class Blocks(Protocol):
    """Rows in ``count`` blocks, each of which can be read any number of times."""

    @property
    def count(self) -> int:
        """Number of blocks, at least one."""

    def reduce(self, work: Work[P], combine: Combine[P]) -> P:
        """The work's results over all blocks, summed as `tree_sum` does.

        Both can be sent to another process. Raises InputError for rows that cannot be read.
        """


class LocalBlocks:
    """Blocks of this process: a sequence of `Batches`, one after the other."""

    def __init__(self, blocks: Sequence[Batches]) -> None:
        if not blocks:
            raise InputError("there are no blocks of rows")
        self._blocks = blocks

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    def reduce(self, work: Work[P], combine: Combine[P]) -> P:
        """In order; as many results are held as the tree is high."""
        return tree_sum((0, self.count), lambda index: work(index, self._blocks[index]), combine)


def split(span: Span) -> int:
    """Where a span of several blocks is cut: before it are a power of two of them."""
    first, last = span
    return first + (1 << ((last - first - 1).bit_length() - 1))


def tree_sum(span: Span, leaf: Callable[[int], P], combine: Combine[P]) -> P:
    """The sum over a span of the tree from its leaves."""
    first, last = span
    if last - first == 1:
        return leaf(first)
    middle = split(span)
    left = tree_sum((first, middle), leaf, combine)
    return combine(left, tree_sum((middle, last), leaf, combine))


def cover(span: Span, owned: Span) -> Iterator[Span]:
    """The largest spans of the tree under ``span`` that lie within the blocks ``owned``."""
    first, last = span
    if last <= owned[0] or owned[1] <= first:
        return
    if owned[0] <= first and last <= owned[1]:
        yield span
        return
    middle = split(span)
    yield from cover((first, middle), owned)
    yield from cover((middle, last), owned)


def join(span: Span, parts: dict[Span, P], combine: Combine[P]) -> P:
    """The sum over a span from the sums over spans that `cover` gave, of all owners together."""
    if span in parts:
        return parts[span]
    middle = split(span)
    left = join((span[0], middle), parts, combine)
    return combine(left, join((middle, span[1]), parts, combine))


def shares(count: int, owners: int) -> list[Span]:
    """The blocks in as equal runs as there can be, one an owner, none of them empty."""
    owners = min(owners, count)
    cuts = [count * k // owners for k in range(owners + 1)]
    return list(itertools.pairwise(cuts))
