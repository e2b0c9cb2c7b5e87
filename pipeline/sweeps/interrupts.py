"""Ctrl-C, SIGTERM and SIGHUP: the first ends the sweep in an orderly way, the second at once."""

import contextlib
import os
import signal
import sys
from types import FrameType

from pipeline.logs.redact import redact

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SweepInterrupted(BaseException):
    """The sweep was asked to stop. `exit_code` is 128 + the signal's number."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """What the process should end with: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signum


class Interrupts:
    """A context in which the first signal raises `SweepInterrupted` on the main thread.

    Libraries put handlers of their own in the way while they start (Ray), and an exception raised
    inside a destructor is swallowed. So each signal is also noted in a pipe that the interpreter
    itself writes to: `check` raises for one that went astray.
    """

    def __enter__(self) -> "Interrupts":
        self._before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._stopping = False
        self._seen: int | None = None
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        os.close(self._reader)
        os.close(self._writer)

    def install(self) -> None:
        """Put our handlers in place (again)."""
        for signum in SIGNALS:
            # What the caller ignores stays ignored: `nohup` means that the sweep goes on.
            if self._before[signum] is not signal.SIG_IGN:
                signal.signal(signum, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._stopping:
            os._exit(128 + signum)
        self._stopping = True
        self._seen = signum
        raise SweepInterrupted(signum)

    @property
    def seen(self) -> int | None:
        """The number of a signal that came, whoever handled it; None where none did."""
        with contextlib.suppress(BlockingIOError):
            for byte in os.read(self._reader, 64):
                if byte in SIGNALS and self._seen is None:
                    self._seen = byte
        return self._seen

    def check(self) -> None:
        """Raise `SweepInterrupted` if a signal came."""
        signum = self.seen
        if signum is not None:
            self._stopping = True
            raise SweepInterrupted(signum)


def say_interrupted(interrupt: SweepInterrupted, location: str) -> int:
    """Say what is kept and how it goes on; return the exit code."""
    print(
        f"interrupted ({interrupt}): what is finished is kept in {redact(location)}; the same "
        "command goes on from there",
        file=sys.stderr,
    )
    return interrupt.exit_code
