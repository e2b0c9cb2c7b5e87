"""Ctrl-C, SIGTERM and SIGHUP: the first ends the sweep in an orderly way, the second at once.

Either way one line says what is kept and how it goes on.
"""

import contextlib
import os
import signal
import sys
from types import FrameType

from pipeline.logs.redact import redact

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What the process ends with then.
EXIT_CODES = frozenset(128 + signum for signum in SIGNALS)
STDERR = 2
# A bar that is cut off leaves a line begun, and the cursor hidden.
_AFTER_A_BAR = "\n\x1b[?25h"


class SweepInterrupted(BaseException):
    """The sweep was asked to stop; `location` is where its results are."""

    def __init__(self, signum: int, location: str) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum, self.location = signum, location

    @property
    def exit_code(self) -> int:
        """What the process should end with: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signum


class Interrupts:
    """A context in which the first signal raises `SweepInterrupted` on the main thread.

    Libraries put handlers of their own in the way while they start (Ray), turn what is raised into
    errors of their own, and an exception raised inside a destructor is swallowed. So each signal is
    also noted in a pipe that the interpreter itself writes to: `check` raises for one that went
    astray, and so does the end of the context where an error ends it. `location` is where the
    results are.
    """

    def __init__(self, location: str) -> None:
        self.location = location

    def __enter__(self) -> "Interrupts":
        self._before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._stopping = self._leaving = False
        self._seen: int | None = None
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        # What comes from here on is too late to stop anything.
        self._leaving = True
        signal.set_wakeup_fd(self._wakeup)
        for signum, handler in self._before.items():
            if handler is not None:
                signal.signal(signum, handler)
        seen = self.seen
        os.close(self._reader)
        os.close(self._writer)
        if error[0] is not None and seen is not None:
            raise SweepInterrupted(seen, self.location)

    def install(self) -> None:
        """Put our handlers in place (again)."""
        for signum in SIGNALS:
            # What the caller ignores stays ignored: `nohup` means that the sweep goes on. And what
            # C code has installed Python could not put back.
            if self._before[signum] not in (signal.SIG_IGN, None):
                signal.signal(signum, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._leaving:
            return
        if self._stopping:
            # Not printed: the handler may have come in the middle of a print.
            before = _AFTER_A_BAR if os.isatty(STDERR) else ""
            with contextlib.suppress(OSError):
                line = f"{before}{_words(signal.Signals(signum).name, self.location)}\n"
                os.write(STDERR, line.encode(errors="replace"))
            os._exit(128 + signum)
        self._stopping = True
        self._seen = signum
        raise SweepInterrupted(signum, self.location)

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
            raise SweepInterrupted(signum, self.location)


def say_interrupted(interrupt: SweepInterrupted) -> int:
    """Say what is kept and how it goes on; return the exit code.

    The process is at its end: signals are ignored from here on.
    """
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    print(_words(str(interrupt), interrupt.location), file=sys.stderr)
    return interrupt.exit_code


def _words(name: str, location: str) -> str:
    return (
        f"interrupted ({name}): what is finished is kept in {redact(location)}; the same command "
        "goes on from there"
    )
