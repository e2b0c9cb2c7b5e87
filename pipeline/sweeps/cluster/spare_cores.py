"""An enumeration on spare cores of the cluster as well as on those of the task that needs it.

The task scans parts itself and hands others to tasks where it sees idle CPUs. It never waits for
one of them: when no part is left that nobody has begun, it scans those again that are still out.
So a part that is lost, or that stands in the queue behind other work, costs no more than that part,
tasks cannot wait for each other, and the result is that of one process.

What is no longer wanted is left to end by itself, within seconds. To cancel it would interrupt its
worker wherever that is, and one that is just loading the compiler fails at every later task.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # At run time the enumeration has imported what it needs; other tasks do not wait for it.
    from concurrent.futures import Future

    from qnn.training.pricing.enumeration import BestVectors
    from qnn.training.pricing.scans import Array, Scan

# Parts of an enumeration: each some tenths of a second where all of it takes a minute, but no part
# has more heads than are scanned in some two seconds.
PARTS = 256
MOST_HEADS = 1 << 21
# Fewer heads than this are scanned in less time than it takes to ask for help: about a second.
LEAST_HEADS = 1 << 20
# Seconds between two looks at what is idle.
LOOK = 0.5


def scan_on_spare_cores(
    best: BestVectors, heads: range, deadline: float | None, least: int = LEAST_HEADS
) -> bool:
    """A `Scanner` for Ray tasks; fewer than `least` heads are left to this process alone."""
    from qnn.training.pricing.enumeration import scan_by_threads

    if len(heads) < least:
        return scan_by_threads(best, heads, deadline)
    size = min(-(-len(heads) // PARTS), MOST_HEADS)
    waiting = deque(heads[at : at + size] for at in range(0, len(heads), size))
    helpers = _Helpers(best)
    while True:
        waiting.extendleft(helpers.collect())
        helpers.hand_out(waiting)
        part = waiting.popleft() if waiting else helpers.take_back()
        if part is None:
            return True
        if not scan_by_threads(best, part, deadline):
            return False


def scan_part(
    plan: Scan, heads: range, floor: float, keep: int, largest: float, least: float
) -> tuple[Array, Array]:
    """What a helping task does: `Scan.scan`."""
    return plan.scan(heads, floor, keep, largest, least)


class _Helpers:
    """The parts that are out with other tasks, and what idle CPUs allow to hand out."""

    def __init__(self, best: BestVectors) -> None:
        import ray

        self.best = best
        self.parts: dict[Future[tuple[Array, Array]], range] = {}
        self.plan = ray.put(best.plan)
        # What is lost is scanned here: no retries.
        self.remote = ray.remote(scan_part).options(
            num_cpus=1, max_retries=0, name="part of an enumeration"
        )
        self.looked, self.allowed = -LOOK, 0

    def collect(self) -> list[range]:
        """Take what has come in; the parts that were lost."""
        lost = []
        for future in [future for future in self.parts if future.done()]:
            part = self.parts.pop(future)
            if future.exception() is None:
                self.best.take(*future.result())
            else:
                lost.append(part)
        return lost

    def hand_out(self, waiting: deque[range]) -> None:
        """Two parts for each idle CPU: one to work on, and the next."""
        import ray

        if time.monotonic() - self.looked > LOOK:
            self.looked = time.monotonic()
            idle = int(ray.available_resources().get("CPU", 0.0))
            self.allowed = len(self.parts) + 2 * idle
        # One part is kept, so that this task is not idle itself.
        while len(waiting) > 1 and len(self.parts) < self.allowed:
            part = waiting.pop()
            # A future is looked at without a word to Ray; `ray.wait` would give this task's CPU
            # away meanwhile.
            future = self.remote.remote(self.plan, part, *self.best.wanted).future()
            self.parts[future] = part

    def take_back(self) -> range | None:
        """The part that was handed out last, its result no longer wanted; None: all are in."""
        return self.parts.popitem()[1] if self.parts else None
