"""Counts of a running sweep for Prometheus, by way of Ray's own metrics.

The driver tells them, so each trial counts once, whatever workers died. Ray's agent on the driver's
node serves them, `ray_` in front, beside Ray's own (`/metrics` at its metrics export port).
"""

from __future__ import annotations

import logging
from urllib.parse import quote

from pipeline.logs.messages import one_line
from pipeline.plans.study import Step
from pipeline.sweeps.events import Event, UnitDone, UnitLost

log = logging.getLogger(__name__)

TAGS = ("sweep", "shard")
SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
GAPS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


class SweepMetrics:
    """The metrics of one sweep; `add` takes each event of its run. Needs a Ray that was joined."""

    def __init__(self, sweep: str) -> None:
        from ray.util.metrics import Counter, Histogram

        self.sweep = _ascii(sweep)
        self.failing = False
        self.done = Counter("qnn_trials_done", "Networks trained", tag_keys=TAGS)
        self.failed = Counter("qnn_trials_failed", "Networks that failed", tag_keys=TAGS)
        self.paths = Counter("qnn_paths_done", "Finished beta paths", tag_keys=("sweep",))
        self.lost = Counter("qnn_paths_lost", "Beta paths without results", tag_keys=("sweep",))
        self.seconds = Histogram(
            "qnn_relaxation_seconds",
            "Time of one relaxation",
            boundaries=SECONDS,
            tag_keys=(*TAGS, "solver"),
        )
        self.gap = Histogram(
            "qnn_certified_gap",
            "Least certified gap of a problem's networks",
            boundaries=GAPS,
            tag_keys=TAGS,
        )

    def add(self, event: Event) -> None:
        """Count an event in; a fault of Ray's metrics is said once and ends no run."""
        try:
            self._add(event)
        except Exception as error:
            if not self.failing:
                log.warning("metrics are incomplete: %s", one_line(error))
            self.failing = True

    def _add(self, event: Event) -> None:
        if isinstance(event, Step):
            self._add_step(event, {"sweep": self.sweep, "shard": _ascii(event.shard)})
        elif isinstance(event, UnitDone):
            self.paths.inc(1, {"sweep": self.sweep})
        elif isinstance(event, UnitLost):
            self.lost.inc(1, {"sweep": self.sweep})

    def _add_step(self, step: Step, tags: dict[str, str]) -> None:
        if step.counted:
            if step.trials > step.failed:
                self.done.inc(step.trials - step.failed, tags)
            if step.failed:
                self.failed.inc(step.failed, tags)
        if step.solved is not None:
            solver, seconds = step.solved
            self.seconds.observe(seconds, {**tags, "solver": solver})
        if step.best_gap is not None:
            self.gap.observe(step.best_gap, tags)


def _ascii(value: str) -> str:
    """A tag as Ray can encode it: other letters as `%C3%A8`."""
    return "".join(letter if letter.isascii() else quote(letter) for letter in value)
