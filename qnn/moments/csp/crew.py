"""Leaves bounded ahead by other processes: the same tree, sooner.

A leaf's bound depends on its parent, its values and the target alone, so it may be computed before
its turn: the tree asks for the children of the leaves that it will split next, and takes them when
they are due, in the order in which it would have bounded them itself. What is not there by then,
or was computed for another target, it computes; so the result is that of one process, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Protocol, Self

import numpy as np

from qnn.moments.csp.cuts import CutPool
from qnn.moments.csp.forms import SignForm
from qnn.moments.csp.leaves import Cutting, Node, bound_leaf
from qnn.semidefinite.squares import Vectors

Array = np.ndarray

# Leaves that wait for each process, so that none is idle.
AHEAD = 2


@dataclass(frozen=True, eq=False)
class Job:
    """A leaf to bound: its values (n,), its parent, the parent's cuts over x, and the target."""

    values: Array
    parent: Node
    cuts: Vectors
    target: float
    cutting: Cutting


@dataclass(frozen=True, eq=False)
class Apart:
    """A leaf bounded away from the tree's cuts: numbered are the parent's, then `rows`.

    parents: the numbers here of the parent's cuts, in which one may stand twice.
    """

    node: Node
    parents: Array
    rows: list[tuple[Array, Array]]

    def joined(self, parent: Node, pool: CutPool) -> Node:
        """The node with the numbers that the tree's cuts have."""
        known = int(self.parents.max(initial=-1)) + 1
        numbers = np.empty(known + len(self.rows), dtype=np.int64)
        numbers[self.parents] = parent.sealed.cuts
        numbers[known:] = [pool.number(entries, signs) for entries, signs in self.rows]
        sealed = replace(self.node.sealed, cuts=numbers[self.node.sealed.cuts])
        return replace(self.node, sealed=sealed)


class Crew(Protocol):
    """Who bounds leaves ahead."""

    def begin(self, form: SignForm) -> None:
        """Before the first leaf of a tree."""
        ...

    def want(self, key: bytes, job: Callable[[], Job]) -> bool:
        """Have a leaf bounded, if there is room; False where there is none for any more."""
        ...

    def take(self, key: bytes) -> Apart | None:
        """The bounded leaf; None where it must be bounded here."""
        ...

    def end(self) -> None:
        """After the last: what is still out is not wanted."""
        ...


def key_of(values: Array, target: float) -> bytes:
    """What a leaf and its target are known by."""
    return values.tobytes() + np.float64(target).tobytes()


def bound_apart(form: SignForm, job: Job) -> Apart:
    """Bound a leaf with a pool of cuts of its own."""
    pool = CutPool()
    numbers = np.empty(len(job.cuts), dtype=np.int64)
    for row in range(len(job.cuts)):
        own = slice(job.cuts.starts[row], job.cuts.starts[row + 1])
        coefficients = job.cuts.coefficients[own].astype(np.int8)
        numbers[row] = pool.number(job.cuts.entries[own], coefficients)
    known = len(pool.rows)
    parent = replace(job.parent, sealed=replace(job.parent.sealed, cuts=numbers))
    node = bound_leaf(form, job.values, pool, parent, job.target, job.cutting, lambda: False)
    return Apart(node, numbers, pool.rows[known:])


class Processes:
    """A crew of processes of this machine, `workers` together with the one that asks; a context.

    They are started anew, so a script that uses them needs `if __name__ == "__main__"`.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._out: dict[bytes, Future[Apart]] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def begin(self, form: SignForm) -> None:
        """As in `Crew`."""
        self.end()
        self._pool = ProcessPoolExecutor(
            max(self.workers - 1, 1),
            mp_context=get_context("spawn"),
            initializer=_hold,
            initargs=(form,),
        )

    def want(self, key: bytes, job: Callable[[], Job]) -> bool:
        """As in `Crew`."""
        if key in self._out:
            return True
        if self._pool is None or len(self._out) >= AHEAD * self.workers:
            return False
        try:
            self._out[key] = self._pool.submit(_bound, job())
        except RuntimeError:  # a process was killed: the others go with it
            self._pool = None
        return self._pool is not None

    def take(self, key: bytes) -> Apart | None:
        """As in `Crew`."""
        future = self._out.pop(key, None)
        if future is None or future.exception() is not None:
            return None
        return future.result()

    def end(self) -> None:
        """As in `Crew`."""
        self._out.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None


# The form of the tree that this process helps with.
_held: list[SignForm] = []


def _hold(form: SignForm) -> None:
    _held[:] = [form]


def _bound(job: Job) -> Apart:
    return bound_apart(_held[0], job)
