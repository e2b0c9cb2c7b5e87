"""MLflow's slow start (seconds of imports and migrations) beside Ray's."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pipeline.logs.messages import one_line
from pipeline.plans.study import StudyConfig, Tracker
from pipeline.results.folder import RunFolder
from qnn.errors import InputError

log = logging.getLogger(__name__)

# How long an interrupted sweep waits for MLflow to start, to mark the run as killed.
PATIENCE = 8.0


TrackerStart = Callable[[Any, RunFolder], Tracker]


class TrackerStarting:
    """A tracker that is being started on a thread of its own.

    Tracking is worth a warning, never a sweep: where it fails, `tracker` is None and `error` says
    why in one line.
    """

    def __init__(self, start: TrackerStart, config: StudyConfig, folder: RunFolder) -> None:
        self.tracker: Tracker | None = None
        self.error: str | None = None
        self.seconds = 0.0
        self._given = (start, config, folder)
        self._hopeless = False
        self._said = ""
        self._abandoned = threading.Event()
        # A daemon: a start that hangs on a server must not keep the process alive.
        self._thread = threading.Thread(
            target=self._run, args=(start, config, folder), name="tracking-start", daemon=True
        )
        self._thread.start()

    def _run(self, start: TrackerStart, config: StudyConfig, folder: RunFolder) -> None:
        begin = time.monotonic()
        try:
            self.tracker = start(config, folder)
            if self._abandoned.is_set():
                self.tracker.end("KILLED")
        except Exception as error:
            self._hopeless = isinstance(error, InputError)
            self._note(error)
        self.seconds = time.monotonic() - begin

    def _note(self, error: Exception) -> None:
        self.error = one_line(error)
        if self.error != self._said:
            log.warning("tracking: %s; results are kept, a rerun tracks them", self.error)
            self._said = self.error
        log.debug("tracking", exc_info=error)

    def wait(self) -> None:
        """Until the start has come to an end, so that the run is known where it lies."""
        self._thread.join()

    def finish(self, results: pa.Table, choice: Any, champion: str | None) -> None:
        """Wait for the start, then log the results.

        A start that failed is tried once more: the server may have come up since.
        """
        self._thread.join()
        if self.tracker is None and not self._hopeless:
            self._run(*self._given)
        if self.tracker is None:
            return
        self.error = None
        try:
            self.tracker.finish(results, choice, champion)
        except Exception as error:
            self._note(error)

    def end(self, status: str) -> None:
        """Mark the run, if it started in time."""
        self._abandoned.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive() or self.tracker is None:
            return
        try:
            self.tracker.end(status)
        except Exception as error:
            self._note(error)

    @property
    def command(self) -> str | None:
        """How to open the UI; None where tracking failed."""
        return None if self.tracker is None else self.tracker.command
