"""One retraining a folder at a time, by a lease that outlives no crash.

On a local or NFS folder it is the kernel's file lock. On an object store it is a token that must be
renewed; a thread does that while the sweep runs, and the token itself is read again before anything
is promoted: a process that was asleep while another took over stops there, whether or not its
renewing thread woke first.
"""

from __future__ import annotations

import logging
import threading

from pipeline.results import lock
from pipeline.results.folder import RunFolder, StoreError

log = logging.getLogger(__name__)

LEASE_FILE = "retrain.lock"


class Lease:
    """A context in which this process alone retrains in a folder.

    Entering raises `InputError` where another process does, `StoreError` where the folder cannot
    be written.
    """

    def __init__(self, home: RunFolder) -> None:
        self.home = home
        self._lost: StoreError | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Lease:
        self._lock = lock.acquire_lock(self.home, LEASE_FILE, "retraining")
        self._thread = threading.Thread(target=self._renew, name="retrain-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._lock.release()

    def _renew(self) -> None:
        while not self._stop.wait(lock.RENEW_EVERY):
            try:
                self._lock.renew()
            except StoreError as error:
                log.warning("%s", error)
                self._lost = error
                return

    def check(self) -> None:
        """Raise `StoreError` where the lease was lost, or the folder cannot say whose it is."""
        if self._lost is not None:
            raise self._lost
        self._lock.confirm()
