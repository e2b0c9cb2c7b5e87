"""Counts of a running sweep for Prometheus, by way of Ray's own metrics.

The driver tells them, so each trial counts once, whatever workers died. Ray's agent on the driver's
node serves them, `ray_` in front, beside Ray's own (`/metrics` at its metrics export port).
"""

from __future__ import annotations

from pipeline.sweeps.events import BetaJoined, Event, PathDone, PathLost, ProblemDone

TAGS = ("sweep", "shard")
SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
GAPS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]


class SweepMetrics:
    """The metrics of one sweep; `add` takes each event of its run. Needs a Ray that was joined."""

    def __init__(self, sweep: str) -> None:
        from ray.util.metrics import Counter, Histogram

        self.sweep = sweep
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
        """Count an event in."""
        if isinstance(event, ProblemDone):
            tags = {"sweep": self.sweep, "shard": event.shard}
            if event.trials > event.failed:
                self.done.inc(event.trials - event.failed, tags)
            if event.failed:
                self.failed.inc(event.failed, tags)
            self.seconds.observe(event.relaxation_seconds, {**tags, "solver": event.solver})
            if event.best_gap is not None:
                self.gap.observe(event.best_gap, tags)
        elif isinstance(event, BetaJoined):
            if event.best_gap is not None:
                self.gap.observe(event.best_gap, {"sweep": self.sweep, "shard": event.shard})
        elif isinstance(event, PathDone):
            self.paths.inc(1, {"sweep": self.sweep})
        elif isinstance(event, PathLost):
            self.lost.inc(1, {"sweep": self.sweep})
