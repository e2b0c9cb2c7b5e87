"""One retraining a folder at a time, by a lease that outlives no crash."""

from __future__ import annotations

from pipeline.results.folder import RunFolder
from pipeline.sweeps import lease

LEASE_FILE = "retrain.lock"


class Lease(lease.Lease):
    """A context in which this process alone retrains in a folder.

    Entering raises `InputError` where another process does, `StoreError` where the folder cannot
    be written.
    """

    def __init__(self, home: RunFolder) -> None:
        super().__init__(home, LEASE_FILE, "retraining")
