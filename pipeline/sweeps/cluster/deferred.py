"""Signals that come while Ray starts wait until it has started.

An exception in the middle of `ray.init` leaves a Ray that is there by half, and the process then
crashes as it ends: its exit code says nothing, and the job counts as failed.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.sweeps.interrupts import SIGNALS


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Within the block, which starts Ray, a first signal is only noted, a second is not waited for.

    After the block the caller's handlers are back, and the one of the noted signal is called. Must
    be entered on the main thread.
    """
    from ray._private import utils

    handlers = {int(signum): signal.getsignal(signum) for signum in SIGNALS}
    # What C code has installed Python can't put back.
    before = {signum: handler for signum, handler in handlers.items() if handler is not None}
    rays_own = utils.set_sigterm_handler
    noted: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGTERM:
            # Ray's C++ half, where it was in the way, has set an alarm that aborts after 3 s.
            signal.alarm(0)
        noted.append(signum)
        if len(noted) > 1:
            signal.signal(signum, before[signum])
            signal.raise_signal(signum)
            noted.pop()  # answered, and nothing was raised

    for signum, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(signum, note)
    # Ray's own handler would raise SystemExit.
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = rays_own
        # Also where Python's handler is the same: Ray's C++ half has put its own over it.
        for signum, handler in before.items():
            signal.signal(signum, handler)
        if len(noted) == 1:
            signal.raise_signal(noted[0])
