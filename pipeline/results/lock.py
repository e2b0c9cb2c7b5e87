"""One sweep a folder: a lock file that says who holds it and that outlives no crash.

On a local (or NFS) folder the kernel's file lock decides, so a dead driver's lock is free at once
and two drivers cannot both win. Object stores have no such lock: there the file carries a token,
its holder renews it, and one that was not renewed for `STALE_AFTER` seconds is taken over. Who
finds a younger one, and cannot tell whether its holder lives, watches it until it is renewed or
that old: what starts a killed driver again does so within seconds.
"""

import contextlib
import fcntl
import json
import logging
import os
import socket
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pipeline.results.folder import RunFolder, StoreError
from qnn.errors import InputError

log = logging.getLogger(__name__)

LOCK_FILE = "sweep.lock"
RENEW_EVERY = 15.0
STALE_AFTER = 90.0
# Two drivers may see the same stale token; the later writer wins, both look again after this.
SETTLE = 1.0
# Seconds between two looks at a token that may be a dead driver's.
WATCH_EVERY = 2.0


class LockLost(StoreError):
    """Another sweep holds the folder now."""


class FolderLock(Protocol):
    """A held lock. `token` is in the file as long as it is held."""

    token: str

    def renew(self) -> None:
        """Say that the holder is alive. Raises `StoreError` where the lock was lost."""

    def confirm(self) -> None:
        """Look now whether the lock is held. Raises `StoreError` where it is not, or unknown."""

    def release(self) -> None:
        """Give the folder free; harmless when called again."""


def acquire_lock(folder: RunFolder, file: str = LOCK_FILE, what: str = "sweep") -> FolderLock:
    """Take the folder for this process; a dead holder's lock is taken over, and said.

    `file` is the lock's name in the folder, `what` it is that must not run there twice. Raises
    `InputError` where another one is running in the folder.
    """
    if folder.local_path is not None:
        return LocalLock(folder.local_path, file, what)
    return TokenLock(folder, file, what)


def _holder() -> dict[str, Any]:
    return {
        "token": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": _process_start(os.getpid()),
        **_place(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _describe(holder: dict[str, Any]) -> str:
    return (
        f"host {holder.get('host', '?')}, process {holder.get('pid', '?')}, "
        f"since {holder.get('started', '?')}"
    )


def _parse(content: bytes) -> dict[str, Any]:
    try:
        holder = json.loads(content)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _refusal(location: str, holder: dict[str, Any], what: str) -> InputError:
    return InputError(
        f"{location}: another {what} is running in this folder ({_describe(holder)}); "
        "wait for it, stop it, or give another --out"
    )


class LocalLock:
    """`flock` on the lock file; its content only says who holds it."""

    def __init__(self, folder: str, file: str = LOCK_FILE, what: str = "sweep") -> None:
        self.path, self.what = Path(folder) / file, what
        self.token = ""
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise StoreError(f"{self.path}: cannot be written: {error.strerror}") from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = _parse(os.read(descriptor, 4096))
                os.close(descriptor)
                raise _refusal(folder, holder, what) from error
            except OSError as error:
                os.close(descriptor)
                raise StoreError(f"{self.path}: cannot be locked: {error.strerror}") from error
            if self._is_current(descriptor):
                break
            # Its last holder removed the file between our open and our lock.
            os.close(descriptor)
        self.descriptor: int | None = descriptor
        self._write(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _write(self, descriptor: int) -> None:
        before = _parse(os.read(descriptor, 4096))
        if before:
            log.warning(
                "%s: the %s that held this folder (%s) ended without releasing it; taken over",
                self.path,
                self.what,
                _describe(before),
            )
        holder = _holder()
        self.token = holder["token"]
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"{self.path}: cannot be written: {error.strerror}") from error

    def renew(self) -> None:
        """Do nothing: the kernel knows whether this process lives."""

    def confirm(self) -> None:
        """Raise `LockLost` where somebody removed the file: the next one then locks another."""
        if self.descriptor is None or not self._is_current(self.descriptor):
            raise LockLost(f"{self.path}: was removed while this {self.what} ran")

    def release(self) -> None:
        """Remove the file and let go, in this order, so that nobody locks a removed file.

        One that is another's by now stays, and so does what cannot be removed: it holds nothing.
        """
        if self.descriptor is None:
            return
        descriptor, self.descriptor = self.descriptor, None
        try:
            with contextlib.suppress(OSError):
                if self._is_current(descriptor):
                    os.unlink(self.path)
        finally:
            os.close(descriptor)


class TokenLock:
    """A token in the lock file, renewed by its holder; times are those of the store's own clock."""

    def __init__(self, folder: RunFolder, file: str = LOCK_FILE, what: str = "sweep") -> None:
        self.folder, self.file, self.what = folder, file, what
        holder = _holder()
        self.token = str(holder["token"])
        self._content = json.dumps(holder).encode()
        other = self._read()
        if other and (_is_running(other) or not self._ended(other)):
            raise _refusal(folder.label, other, what)
        if other:
            log.warning(
                "%s: the %s that held this folder (%s) is gone; taken over",
                folder.label,
                what,
                _describe(other),
            )
        self._write()
        time.sleep(SETTLE)
        self._check()

    def _read(self) -> dict[str, Any]:
        try:
            return _parse(self.folder.read(self.file))
        except FileNotFoundError:
            return {}

    def _write(self) -> None:
        self.folder.write(self.file, self._content)
        self._renewed = _now()

    def _check(self) -> None:
        holder = self._read()
        if holder.get("token") != self.token:
            raise _refusal(self.folder.label, holder, self.what)

    def _ended(self, holder: dict[str, Any]) -> bool:
        """Whether a holder that is not known to live is gone; waits until that shows."""
        if _is_running(holder) is False:
            return True
        age, then = self._age()
        if age < STALE_AFTER:
            log.warning(
                "%s: the %s that holds this folder (%s) may be dead: watching for %.0f s at most "
                "whether it renews its lock",
                self.folder.label,
                self.what,
                _describe(holder),
                STALE_AFTER - age,
            )
        begin = _now()
        while age + _now() - begin < STALE_AFTER:
            time.sleep(WATCH_EVERY)
            written = self.folder.modified(self.file)
            if written is None:
                break
            if written != then:
                return False
        return True

    def _age(self) -> tuple[float, datetime | None]:
        """How many seconds ago the token was written, by the store's clock, and when."""
        probe = f"{self.file}.{self.token}"
        self.folder.write(probe, b"")
        now = self.folder.modified(probe)
        self.folder.remove(probe)
        then = self.folder.modified(self.file)
        if then is None:
            return STALE_AFTER, None
        return (0.0 if now is None else (now - then).total_seconds()), then

    def renew(self) -> None:
        """Write the token again every `RENEW_EVERY` seconds, after a look whether it is ours.

        A store that is away is borne as long as nobody may take the folder over.
        """
        age = _now() - self._renewed
        if age < RENEW_EVERY:
            return
        try:
            self.confirm()
        except LockLost:
            raise
        except StoreError as error:
            if age > STALE_AFTER / 2:
                raise
            log.warning("%s; trying again", error)

    def confirm(self) -> None:
        """Read the token, and write it again.

        A token that is gone was removed by hand, or by whoever took a stale one over and ended.
        """
        holder = self._read()
        if holder.get("token") not in (self.token, None):
            raise LockLost(
                f"{self.folder.label}: another {self.what} took this folder over "
                f"({_describe(holder)})"
            )
        if not holder and _now() - self._renewed > STALE_AFTER:
            raise LockLost(
                f"{self.folder.label}: this {self.what} stood still for more than {STALE_AFTER:g} "
                "s and its lock is gone; another one may have been here"
            )
        self._write()

    def release(self) -> None:
        """Remove the token if it is still ours."""
        if self._read().get("token") == self.token:
            self.folder.remove(self.file)


def _now() -> float:
    """Seconds that also pass while the machine sleeps, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _is_running(holder: dict[str, Any]) -> bool | None:
    """Whether the holder's process is alive; None: it cannot be told here.

    Containers of one pod, or of one machine, may share a host name and see other processes: only
    where boot and process namespace are ours as well is a number the process that it was there. The
    start time tells a reused number apart.
    """
    here = {"host": socket.gethostname(), **_place()}
    if None in here.values() or any(holder.get(key) != value for key, value in here.items()):
        return None
    pid = holder.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return bool(holder.get("process_start") == _process_start(pid))


def _place() -> dict[str, str | None]:
    """The boot of this machine, and whose process numbers we see; None where that is not told."""
    place: dict[str, str | None] = {"boot": None, "processes": None}
    with contextlib.suppress(OSError):
        place["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        place["processes"] = os.readlink("/proc/self/ns/pid")
    return place


def _process_start(pid: int) -> str | None:
    """The kernel's start tick of a process (field 22 of /proc/PID/stat); None without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]
