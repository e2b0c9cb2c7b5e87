"""Jobs of a Ray cluster, through the REST interface of its dashboard; faults are one line each."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from qnn.errors import InputError

# Seconds for an answer of the dashboard, and between two looks at a job.
PATIENCE = 15.0
POLL = 1.0
# The oldest Ray that sweeps are tested with.
OLDEST_RAY = (2, 55)
RUNNING, SUCCEEDED, STOPPED = ("PENDING", "RUNNING"), "SUCCEEDED", "STOPPED"
FAILED_CODE, STOPPED_CODE = 1, 128 + signal.SIGTERM
RECONNECTIONS = 5
# How long a cluster that answers may take until its nodes' agents run jobs, and how it says so.
START_SECONDS = 90.0
_NO_AGENT = "No available agent"

# Ray's client tells of each upload and connection.
_CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
_TOKEN_ADVICE = (
    "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE (or RAY_AUTH_TOKEN) to the cluster's"
)


def authorization() -> dict[str, str]:
    """Return the request headers that Ray's settings ask for; none without RAY_AUTH_MODE=token.

    The token is looked up as Ray does: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH,
    ~/.ray/auth_token. Raises `InputError` where the mode is on and there is none.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return {}
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    if not token:
        try:
            token = Path(file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not text"
            raise InputError(f"RAY_AUTH_MODE is token, but {file}: {reason}") from None
    return {"Authorization": f"Bearer {token.strip()}"}


def probe(address: str) -> str:
    """Return the version of the Ray whose dashboard is at `address`.

    Raises `InputError`: no http(s) address, nobody there, another server, a token refused, too old.
    """
    import requests

    shown = redact(address)
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise InputError(
            f"--address {shown}: give the dashboard's, as in http://head:8265 (a sweep run "
            "directly takes HOST:PORT; a job does not)"
        )
    url = f"{address.rstrip('/')}/api/version"
    try:
        answer = requests.get(url, headers=authorization(), timeout=PATIENCE)
    except requests.exceptions.RequestException as error:
        raise InputError(
            f"--address {shown}: no Ray dashboard answers ({_reason(error)}); is the cluster up, "
            "and the port forwarded or on this network?"
        ) from None
    if answer.status_code in (401, 403):
        had = "refused the token" if authorization() else "wants a token"
        raise InputError(f"--address {shown}: the cluster {had}; {_TOKEN_ADVICE}")
    try:
        version = str(answer.json()["ray_version"])
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"--address {shown}: something answers (HTTP {answer.status_code}), but no Ray "
            "dashboard; give the one's port, usually 8265"
        ) from None
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST_RAY:
        oldest = ".".join(map(str, OLDEST_RAY))
        raise InputError(f"--address {shown}: runs Ray {version}; {oldest} or newer is needed")
    return version


def _reason(error: Exception) -> str:
    """The innermost cause of a request that got no answer."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return redact(one_line(cause, 120))


class Jobs:
    """The jobs of the cluster whose dashboard is at `address`.

    All methods raise `InputError` where the cluster does not answer or knows no such job.
    """

    def __init__(self, address: str) -> None:
        self.address = redact(address)
        self.ray_version = probe(address)
        from ray.job_submission import JobSubmissionClient

        for chatty in _CHATTY:
            logging.getLogger(chatty).setLevel(logging.WARNING)
        with self._told():
            self._client = JobSubmissionClient(address, headers=authorization())

    @contextmanager
    def _told(self, job: str = "") -> Iterator[None]:
        """Turn the client's errors into one line."""
        import requests

        try:
            yield
        except requests.exceptions.RequestException as error:
            raise InputError(
                f"--address {self.address}: the cluster went away ({_reason(error)})"
            ) from None
        except (RuntimeError, OSError) as error:
            text = redact(one_line(error))
            if job and ("404" in text or "does not exist" in text):
                raise InputError(
                    f"{job}: the cluster at {self.address} has no such job; see `qnn jobs list`"
                ) from None
            raise InputError(f"--address {self.address}: {text}") from None

    def submit(self, **arguments: Any) -> str:
        """Submit a job; arguments as of Ray's `JobSubmissionClient.submit_job`.

        A cluster that has only just started takes no jobs yet; that is waited for.
        """
        begin = time.monotonic()
        while True:
            try:
                with self._told():
                    return str(self._client.submit_job(**arguments))
            except InputError as error:
                if _NO_AGENT not in str(error):
                    raise
            if time.monotonic() - begin > START_SECONDS:
                raise InputError(
                    f"--address {self.address}: no node takes jobs; where a node's log says "
                    "'address already in use', another Ray on its machine has the port of its "
                    "agent: give `ray start` another --dashboard-agent-listen-port"
                )
            time.sleep(POLL)

    def list(self) -> list[Any]:
        """Return all submitted jobs, oldest first, as Ray's `JobDetails`."""
        with self._told():
            jobs = [job for job in self._client.list_jobs() if job.submission_id]
        return sorted(jobs, key=lambda job: job.start_time or 0)

    def info(self, job: str) -> Any:
        """Return a job's `JobDetails`."""
        with self._told(job):
            return self._client.get_job_info(job)

    def logs(self, job: str) -> str:
        """Return all that a job has printed so far."""
        with self._told(job):
            return str(self._client.get_job_logs(job))

    def stop(self, job: str) -> bool:
        """Ask a job to end (SIGTERM); whether it was running."""
        with self._told(job):
            return bool(self._client.stop_job(job))

    def wait(self, job: str, seconds: float | None = None) -> Any:
        """Return the `JobDetails` of a job once it is over, or as they are after `seconds`."""
        begin = time.monotonic()
        while True:
            info = self.info(job)
            out_of_time = seconds is not None and time.monotonic() - begin > seconds
            if info.status not in RUNNING or out_of_time:
                return info
            time.sleep(POLL)

    def follow(self, job: str, show: Callable[[str], object]) -> Any:
        """Hand a job's output to `show` as it comes; return its `JobDetails` once it is over.

        A broken connection is taken up again where it broke; the job does not notice.
        """
        shown = 0
        for attempt in range(RECONNECTIONS):
            try:
                with self._told(job):
                    shown = asyncio.run(self._tail(job, shown, show))
            except InputError:
                if attempt == RECONNECTIONS - 1:
                    raise
            if self.info(job).status not in RUNNING:
                break
            time.sleep(POLL)
        info = self.wait(job)
        rest = self.logs(job)[shown:]
        if rest:
            show(rest)
        return info

    async def _tail(self, job: str, skip: int, show: Callable[[str], object]) -> int:
        """Show what comes after the first `skip` characters; return how many there are now."""
        seen = 0
        async for chunk in self._client.tail_job_logs(job):
            fresh = chunk[max(0, skip - seen) :]
            seen += len(chunk)
            if fresh:
                show(fresh)
        return max(seen, skip)


def exit_code(info: Any) -> int:
    """Return what a finished job's process ended with; 143 where it was stopped."""
    if info.status == SUCCEEDED:
        return 0
    if info.status == STOPPED:
        return STOPPED_CODE
    return info.driver_exit_code if info.driver_exit_code and info.driver_exit_code > 0 else 1


def describe(info: Any) -> str:
    """One line: id, status, when it started, how long it took, what it writes to."""
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime((info.start_time or 0) / 1000))
    end = info.end_time / 1000 if info.end_time else time.time()
    spent = max(0.0, end - (info.start_time or 0) / 1000)
    metadata = info.metadata or {}
    status = getattr(info.status, "value", info.status)
    line = f"{info.submission_id}  {status:<9}  {started}  {spent:.0f} s"
    return f"{line}  {metadata['out']}" if "out" in metadata else line
