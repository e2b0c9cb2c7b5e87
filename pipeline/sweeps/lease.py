"""A lock of a folder that is kept for as long as the work takes, whatever the work is busy with.

On a local or NFS folder it is the kernel's file lock. On an object store it is a token that must be
renewed, which a thread does. The token itself is read again before anything is done that another
holder would be harmed by: a process that was asleep while another took over stops there, whether or
not its renewing thread woke first.
"""

from __future__ import annotations

import logging
import threading
from typing import Self

from pipeline.results import lock
from pipeline.results.folder import RunFolder, StoreError

log = logging.getLogger(__name__)


class Lease:
    """A context in which this process alone does `what` in a folder.

    Entering raises `InputError` where another process does, `StoreError` where the folder cannot
    be written.
    """

    def __init__(self, folder: RunFolder, file: str = lock.LOCK_FILE, what: str = "sweep") -> None:
        self.folder, self.file, self.what = folder, file, what
        self._lost: StoreError | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._lock = lock.acquire_lock(self.folder, self.file, self.what)
        self._thread = threading.Thread(target=self._renew, name=f"{self.what}-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._lock.release()

    @property
    def token(self) -> str:
        """What is in the lock's file as long as the lease is held."""
        return self._lock.token

    def _renew(self) -> None:
        while not self._stop.wait(lock.RENEW_EVERY):
            try:
                self._lock.renew()
            except StoreError as error:
                log.warning("%s", error)
                self._lost = error
                return

    def heed(self) -> None:
        """Raise `StoreError` where the renewing thread has found the lease lost; costs nothing."""
        if self._lost is not None:
            raise self._lost

    def check(self) -> None:
        """Raise `StoreError` where the lease was lost, or the folder cannot say whose it is."""
        self.heed()
        self._lock.confirm()
