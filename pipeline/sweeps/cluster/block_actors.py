"""Blocks of rows held by Ray actors, or by this process: the same sums, bit for bit.

An actor is given its blocks by number; if it dies, Ray starts another one, which reads them again,
and does the call again that was lost. Results are keyed by their span of the tree, so none counts
twice. What is broadcast is put into the object store once a pass; what comes back is one partial
sum for each span that an actor has alone. Of many actors, each `FAN` neighbours send theirs to the
first of them, and so on up, so that the driver reads no more than `FAN` answers.
"""

from __future__ import annotations

import itertools
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Generic

from pipeline.datasets.blocks.reader import BlockReader, BlockTable, Reading
from qnn.numerics.blocks import Combine, P, Span, Work, cover, join, shares

#: as many answers come together at one place
FAN = 8
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


@dataclass(frozen=True, eq=False)
class Answer(Generic[P]):
    """Sums over spans from actors that are neighbours, and the processor seconds of each of them.

    ``size``: bytes of the sums.
    """

    parts: dict[Span, P]
    seconds: tuple[float, ...]
    size: int

    @classmethod
    def of(cls, parts: dict[Span, P], seconds: tuple[float, ...]) -> Answer[P]:
        """With its size."""
        return cls(parts, seconds, len(pickle.dumps(parts)))


class ActorBlocks:
    """Blocks of a table shared among actors of the Ray that this process has joined."""

    def __init__(
        self, table: BlockTable, actors: list[Any], owned: list[Span], fan: int = FAN
    ) -> None:
        self.table, self.actors, self.owned, self.fan = table, actors, owned, fan
        self.reading: Reading | None = None
        self.traffic = Traffic()

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.table.count

    def reduce(self, work: Work[P], combine: Combine[P]) -> P:
        """As `qnn.numerics.blocks.Blocks`; lost actors are replaced and their part done again."""
        import ray

        given = (work, combine, self.reading)
        calls = self._called(ray.put(given))
        try:
            answers: list[Answer[P]] = ray.get(calls)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, Exception) else error from None
        self._count(answers, len(pickle.dumps(given)))
        return join((0, self.count), _together(answers), combine)

    def _called(self, shared: Any) -> list[Any]:
        """At most `fan` answers on their way, of all actors together."""
        firsts, owned = self.actors, self.owned
        calls = [
            actor.reduce.remote(shared, span) for actor, span in zip(firsts, owned, strict=True)
        ]
        while len(calls) > self.fan:
            groups = [slice(k, k + self.fan) for k in range(0, len(calls), self.fan)]
            firsts = [firsts[group][0] for group in groups]
            owned = [(owned[group][0][0], owned[group][-1][1]) for group in groups]
            calls = [
                actor.merge.remote(shared, span, *calls[group])
                for actor, span, group in zip(firsts, owned, groups, strict=True)
            ]
        return calls

    def _count(self, answers: list[Answer[P]], sent: int) -> None:
        traffic = self.traffic
        spent = list(itertools.chain.from_iterable(answer.seconds for answer in answers))
        # A new one: whoever took a copy of the traffic before this pass keeps the old one.
        traffic.seconds = {
            index: traffic.seconds.get(index, 0.0) + seconds for index, seconds in enumerate(spent)
        }
        traffic.passes += 1
        traffic.critical += max(spent)
        traffic.sent += len(self.actors) * sent
        traffic.received += sum(answer.size for answer in answers)


def _together(answers: Sequence[Answer[P]]) -> dict[Span, P]:
    return {span: sums for answer in answers for span, sums in answer.parts.items()}


@contextmanager
def actor_blocks(
    table: BlockTable, actors: int, keep: float = 0.0, restarts: int = -1, fan: int = FAN
) -> Iterator[ActorBlocks]:
    """Start actors that share a table's blocks, spread over the nodes; they end with the block.

    ``keep``: bytes of rows that each may hold in memory instead of reading them again;
    ``restarts`` of a lost actor, -1: as often as it takes; ``fan``: as `FAN`.
    """
    import ray

    owned = shares(table.count, actors)
    remote = ray.remote(_BlockActor).options(
        # They would wait for ever for cores that their parent or each other has.
        num_cpus=0,
        max_restarts=restarts,
        max_task_retries=restarts,
        # Calls need no order, and one that is done again need not wait for those before it.
        allow_out_of_order_execution=True,
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": _THREADS},
    )
    handles = [remote.remote(table, keep) for _ in owned]
    try:
        yield ActorBlocks(table, _neighbours(handles, fan), owned, fan)
    finally:
        for handle in handles:
            ray.kill(handle)


def _neighbours(actors: list[Any], fan: int) -> list[Any]:
    """Those of one node next to each other, where they send each other their sums."""
    import ray

    if len(actors) <= fan:
        return actors
    nodes = ray.get([actor.node.remote() for actor in actors])
    return [actor for _, actor in sorted(zip(nodes, actors, strict=True), key=itemgetter(0))]


class _BlockActor:
    """Holds nothing that cannot be made again from what it is started with."""

    def __init__(self, table: BlockTable, keep: float) -> None:
        self.reader = BlockReader(table, keep)
        self.whole: Span = (0, table.count)

    def reduce(self, given: tuple[Work[P], Combine[P], Reading | None], owned: Span) -> Answer[P]:
        """The sums over the blocks that it owns."""
        work, combine, reading = given
        began = time.process_time()
        spans = cover(self.whole, owned)
        parts = {span: self.reader.reduce(work, combine, span, reading) for span in spans}
        return Answer.of(parts, (time.process_time() - began,))

    def merge(
        self,
        given: tuple[Work[P], Combine[P], Reading | None],
        owned: Span,
        *answers: Answer[P],
    ) -> Answer[P]:
        """Those of neighbours that own these blocks together; its own answer is the first."""
        began = time.process_time()
        parts = _together(answers)
        sums = {span: join(span, parts, given[1]) for span in cover(self.whole, owned)}
        (first, *others) = itertools.chain.from_iterable(one.seconds for one in answers)
        return Answer.of(sums, (first + time.process_time() - began, *others))

    def process(self) -> tuple[int, int]:
        """Its process id and its peak memory in bytes."""
        import os
        import resource

        return os.getpid(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def node(self) -> str:
        """The id of the node that it is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())
