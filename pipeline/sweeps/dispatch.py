"""Running units: one after the other in this process, or as Ray tasks with back-pressure."""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.logs.messages import one_line
from pipeline.plans.study import Unit
from pipeline.sweeps.cluster.spare_cores import scan_on_spare_cores
from pipeline.sweeps.cluster.spare_leaves import SpareLeaves
from pipeline.sweeps.events import Event, UnitDone, UnitLost
from pipeline.sweeps.worker.batch import Work, run_batch

log = logging.getLogger(__name__)

# A task costs some 3 ms of Ray's time, so paths shorter than this share one.
BATCH_SECONDS = 0.5
BATCH_MOST = 32
# Tasks submitted beyond those that can run at once: enough that no worker waits for the driver.
AHEAD = 8
POLL = 0.25
# Seconds between two looks at how large the cluster is; an autoscaler changes it.
RESIZE = 10.0


@dataclass(frozen=True)
class TaskOptions:
    """How tasks are run.

    `cpus` of each, `max_retries` of lost workers, tasks in flight (None: twice what can run, and a
    few), `memory` of each in bytes (None: as the plan estimates), `sweep`: its name, for metrics.
    """

    cpus: float = 1
    max_retries: int = 3
    max_in_flight: int | None = None
    memory: float | None = None
    sweep: str = ""


# Events of a run; None is a moment without news, at least one every `POLL` seconds.
Events = Generator[Event | None, None, None]


def run_inline(specs: Sequence[Unit], work: Work, options: TaskOptions) -> Events:
    """Run the units in this process, in order."""
    yield from run_batch(specs, work)


def batches(
    specs: Sequence[Unit], slots: int, seconds: Callable[[Unit], float]
) -> list[list[Unit]]:
    """Group short paths into tasks of about `BATCH_SECONDS`, but never fewer tasks than slots."""
    fair = max(1, len(specs) // max(1, slots))
    grouped: list[list[Unit]] = []
    spent = 0.0
    for spec in specs:
        cost = seconds(spec)
        full = not grouped or len(grouped[-1]) >= min(fair, BATCH_MOST)
        if full or spent + cost > BATCH_SECONDS:
            grouped.append([])
            spent = 0.0
        grouped[-1].append(spec)
        spent += cost
    return grouped


def run_on_ray(specs: Sequence[Unit], work: Work, options: TaskOptions) -> Events:
    """Run the units as tasks of the Ray that this process has joined.

    The table is put into the object store once; it lives as long as this process does, and a
    task carries only descriptions. At most `max_in_flight` tasks are with Ray at any time. Lost
    workers are retried by Ray; what still fails is reported as lost and the others go on.
    Closing the iterator cancels what is in flight.
    """
    import ray

    from pipeline.sweeps.cluster.metrics import SweepMetrics

    cluster = _Cluster(options)
    metrics = SweepMetrics(options.sweep)
    remote = ray.remote(run_batch)
    task_name = task_namer(specs)
    shared = ray.put(work)
    waiting = deque(batches(specs, cluster.slots, lambda spec: spec.estimated_seconds))
    running: dict[Any, dict[str, Unit]] = {}
    try:
        while True:
            while waiting and len(running) < cluster.in_flight():
                batch = waiting.popleft()
                stream = remote.options(
                    num_returns="streaming",
                    num_cpus=options.cpus,
                    memory=cluster.memory(batch),
                    max_retries=options.max_retries,
                    name=task_name(batch),
                ).remote(batch, shared, scan_on_spare_cores, SpareLeaves)
                running[stream] = {spec.id: spec for spec in batch}
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=POLL)
            if not ready:
                yield None
            for stream in ready:
                # To the end of the line, so that no stream's news hides the others'.
                running[stream] = running.pop(stream)
                for event in _next_events(stream, running, waiting):
                    metrics.add(event)
                    yield event
    finally:
        for stream in running:
            ray.cancel(stream, force=True)


class _Cluster:
    """How large the cluster is, and so how much is asked of it at a time."""

    def __init__(self, options: TaskOptions) -> None:
        self.options = options
        self._look()
        if self._largest_cpus < options.cpus:
            log.warning(
                "no node has the %g CPUs that a task asks for (resources.cpus_per_task); waiting "
                "for one that has",
                options.cpus,
            )

    def _look(self) -> None:
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._looked = time.monotonic()
        self._largest_cpus = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
        self._largest_memory = max((node.get("memory", 0.0) for node in nodes), default=0.0)
        cpus = sum(node.get("CPU", 0.0) for node in nodes)
        self.slots = max(1, int(cpus // max(self.options.cpus, 1e-9)))

    def in_flight(self) -> int:
        """The most tasks to hand to Ray at once: what waits there is what autoscalers see."""
        if self.options.max_in_flight is not None:
            return self.options.max_in_flight
        if time.monotonic() - self._looked > RESIZE:
            self._look()
        return 2 * self.slots + AHEAD

    def memory(self, batch: list[Unit]) -> int | None:
        """Bytes to ask for, so that a node is not given more tasks than fit; None: nothing.

        An estimate that no node can meet is lowered to the largest node: a task may be smaller
        than estimated, and one that asks for too much would wait for ever.
        """
        wanted = self.options.memory or max(spec.estimated_bytes for spec in batch)
        return int(min(wanted, self._largest_memory)) or None


def task_namer(units: Sequence[Unit]) -> Callable[[Sequence[Unit]], str]:
    """What names the tasks of these units in Ray's dashboard."""
    named = units[0].titles(units) if units else []
    titles = dict(zip((unit.id for unit in units), named, strict=True))

    def name(batch: Sequence[Unit]) -> str:
        title = titles[batch[0].id]
        return title if len(batch) == 1 else f"{title} and {len(batch) - 1} more paths"

    return name


def _next_events(
    stream: Any, running: dict[Any, dict[str, Unit]], waiting: deque[list[Unit]]
) -> Iterator[Event]:
    """One event of a task, or, where the task ended, what becomes of its unfinished paths.

    Paths that shared a task with others get a task each: one of them may be what kills workers.
    """
    import ray

    unfinished = running[stream]
    try:
        event = ray.get(next(stream))
    except StopIteration:
        del running[stream]
        error = "the task ended without a result"
    except ray.exceptions.RayError as failure:
        del running[stream]
        cause = getattr(failure, "cause", None)
        error = one_line(cause if isinstance(cause, Exception) else failure)
    else:
        if isinstance(event, UnitDone | UnitLost):
            unfinished.pop(event.unit, None)
        yield event
        return
    if len(unfinished) > 1:
        log.warning("%d paths that shared a task run apart now: %s", len(unfinished), error)
        waiting.extend([spec] for spec in unfinished.values())
        return
    for path in unfinished:
        yield UnitLost(path, error)
