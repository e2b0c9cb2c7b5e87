"""Blocks of rows held by Ray actors, or by this process: the same sums, bit for bit.

An actor is given its blocks by number; if it dies, Ray starts another one, which reads them again,
and does the call again that was lost. Results are keyed by their span of the tree, so none counts
twice. What is broadcast is put into the object store once a pass; what comes back is one partial
sum for each span that an actor has alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.datasets.blocks.reader import BlockReader, BlockTable, Reading
from qnn.numerics.blocks import Combine, P, Span, Work, cover, join, shares

_THREADS = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}


class TableBlocks:
    """Blocks of a table in this process, one after the other."""

    def __init__(self, table: BlockTable, keep: float = 0.0, reading: Reading | None = None):
        self.table, self.reading = table, reading
        self._reader = BlockReader(table, keep)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.table.count

    def reduce(self, work: Work[P], combine: Combine[P]) -> P:
        """As `qnn.numerics.blocks.Blocks`."""
        return self._reader.reduce(work, combine, (0, self.count), self.reading)


@dataclass
class Traffic:
    """What went between the driver and the actors: bytes and passes; processor seconds of each.

    ``critical``: the sum over passes of the seconds of the actor that needed most.
    """

    sent: int = 0
    received: int = 0
    passes: int = 0
    critical: float = 0.0
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def total_seconds(self) -> float:
        """Processor seconds of all actors."""
        return sum(self.seconds.values())


class ActorBlocks:
    """Blocks of a table shared among actors of the Ray that this process has joined."""

    def __init__(self, table: BlockTable, actors: list[Any], owned: list[Span]) -> None:
        self.table, self.actors, self.owned = table, actors, owned
        self.reading: Reading | None = None
        self.traffic = Traffic()

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.table.count

    def reduce(self, work: Work[P], combine: Combine[P]) -> P:
        """As `qnn.numerics.blocks.Blocks`; lost actors are replaced and their part done again."""
        import ray

        whole = (0, self.count)
        given = (work, combine, self.reading)
        shared = ray.put(given)
        calls = [
            actor.reduce.remote(shared, list(cover(whole, owned)))
            for actor, owned in zip(self.actors, self.owned, strict=True)
        ]
        try:
            answers = ray.get(calls)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, Exception) else error from None
        parts: dict[Span, P] = {}
        for index, (answer, seconds, size) in enumerate(answers):
            parts.update(answer)
            spent = self.traffic.seconds.get(index, 0.0) + seconds
            self.traffic.seconds = {**self.traffic.seconds, index: spent}
            self.traffic.received += size
        self.traffic.passes += 1
        self.traffic.critical += max(seconds for _, seconds, _ in answers)
        self.traffic.sent += len(self.actors) * len(pickle.dumps(given))
        return join(whole, parts, combine)


@contextmanager
def actor_blocks(
    table: BlockTable, actors: int, keep: float = 0.0, restarts: int = -1
) -> Iterator[ActorBlocks]:
    """Start actors that share a table's blocks, spread over the nodes; they end with the block.

    ``keep``: bytes of rows that each may hold in memory instead of reading them again;
    ``restarts`` of a lost actor, -1: as often as it takes.
    """
    import ray

    owned = shares(table.count, actors)
    remote = ray.remote(_BlockActor).options(
        # They would wait for ever for cores that their parent or each other has.
        num_cpus=0,
        max_restarts=restarts,
        max_task_retries=restarts,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": _THREADS},
    )
    handles = [remote.remote(table, keep) for _ in owned]
    try:
        yield ActorBlocks(table, handles, owned)
    finally:
        for handle in handles:
            ray.kill(handle)


class _BlockActor:
    """Holds nothing that cannot be made again from what it is started with."""

    def __init__(self, table: BlockTable, keep: float) -> None:
        self.reader = BlockReader(table, keep)

    def reduce(
        self, given: tuple[Work[P], Combine[P], Reading | None], spans: list[Span]
    ) -> tuple[dict[Span, P], float, int]:
        """The sums over spans; the processor seconds that they took, and their bytes."""
        import time

        work, combine, reading = given
        began = time.process_time()
        parts = {span: self.reader.reduce(work, combine, span, reading) for span in spans}
        return parts, time.process_time() - began, len(pickle.dumps(parts))

    def process(self) -> tuple[int, int]:
        """Its process id and its peak memory in bytes."""
        import os
        import resource

        return os.getpid(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def node(self) -> str:
        """The id of the node that it is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())
