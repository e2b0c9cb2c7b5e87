"""Leaves of an exact tree on spare cores of the cluster as well as on those of its task.

As an enumeration's parts (`spare_cores.py`): the task hands leaves to others only where it sees
idle CPUs, waits for one of them about as long as bounding it itself takes, and asks for no second
try. So a helper that is lost, or that stands in the queue behind other work, costs no more than its
leaf, tasks cannot wait for each other, and the result is that of one process.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from qnn.moments.csp.crew import Apart, Job
    from qnn.moments.csp.forms import SignForm

# Seconds between two looks at what is idle, and that a leaf is waited for at least.
LOOK, LEAST_WAIT = 0.5, 2.0
# Leaves for each idle CPU: one to work on, and the next.
AHEAD = 2


class SpareLeaves:
    """A `qnn.moments.csp.Crew` for Ray tasks."""

    def __init__(self) -> None:
        self._out: dict[bytes, tuple[float, Future[Apart]]] = {}
        self._looked, self._allowed, self._longest = -LOOK, 0, LEAST_WAIT

    def begin(self, form: SignForm) -> None:
        """As in `Crew`."""
        import ray

        from qnn.moments.csp.crew import bound_apart

        self._form = ray.put(form)
        # What is lost is bounded by the task itself: no retries.
        self._remote: Any = ray.remote(bound_apart).options(
            num_cpus=1, max_retries=0, name="leaf of a tree"
        )

    def want(self, key: bytes, job: Callable[[], Job]) -> bool:
        """As in `Crew`."""
        if key in self._out:
            return True
        if len(self._out) >= self._room():
            return False
        self._out[key] = time.monotonic(), self._remote.remote(self._form, job()).future()
        return True

    def take(self, key: bytes) -> Apart | None:
        """As in `Crew`."""
        if key not in self._out:
            return None
        began, future = self._out.pop(key)
        try:
            found = future.result(timeout=2.0 * self._longest)
        except Exception:  # too slow or lost, for whatever reason: the leaf is bounded here
            return None
        self._longest = max(self._longest, time.monotonic() - began)
        return found

    def end(self) -> None:
        """As in `Crew`."""
        self._out.clear()

    def _room(self) -> int:
        import ray

        if time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            idle = int(ray.available_resources().get("CPU", 0.0))
            self._allowed = len(self._out) + AHEAD * idle
        return self._allowed
