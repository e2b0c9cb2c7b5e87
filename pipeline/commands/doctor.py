"""`qnn doctor`: is everything here that a sweep needs? One line a check."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from platform import python_version
from typing import Literal

from pipeline.configuration.paths import refuse_unknown_tracking
from pipeline.logs.messages import one_line
from pipeline.logs.redact import redact
from pipeline.results.folder import RunFolder, StoreError
from pipeline.tracking.moved import database_file
from qnn.errors import InputError

Level = Literal["ok", "warn", "fail"]
SHOWN = ("ray", "mlflow", "pyarrow", "numpy", "scipy", "numba", "cvxpy")
PATIENCE = 15.0
SKEW_WARN, SKEW_FAIL = 5.0, 300.0  # seconds; S3 refuses signatures that are 15 min off
DISK_WARN, DISK_FAIL = 5e9, 1e9  # bytes


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    name: str
    level: Level
    text: str

    @property
    def line(self) -> str:
        """The check as it is printed."""
        return f"{self.level:<5}{self.name:<9}{self.text}"


def examine(address: str | None, out: str) -> Iterator[Finding]:
    """Make all checks: of this machine, the cluster at `address` (None: none), and `out`."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("versions", check_versions),
        ("blas", check_blas),
        ("ray", lambda: check_ray(address)),
        ("mlflow", lambda: check_mlflow(out)),
        ("storage", lambda: check_storage(out)),
        ("clock", lambda: check_clock(address, out)),
        ("disk", lambda: check_disk(out)),
    ]
    for name, check in checks:
        try:
            yield check()
        except (InputError, StoreError) as error:
            yield Finding(name, "fail", redact(str(error)))


def check_versions() -> Finding:
    """Python and the packages, against what this package asks for."""
    from packaging.requirements import Requirement

    wrong = []
    for text in requires("qnn-sdp") or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing (needs {wanted.specifier})")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found} (needs {wanted.specifier})")
    if wrong:
        return Finding("versions", "fail", "; ".join(wrong))
    shown = ", ".join(f"{name} {version(name)}" for name in SHOWN)
    return Finding(
        "versions", "ok", f"qnn {version('qnn-sdp')}, python {python_version()}, {shown}"
    )


def check_blas() -> Finding:
    """The linear algebra libraries, and how many threads they would take."""
    from threadpoolctl import threadpool_info

    for library in ("numpy", "scipy.linalg"):
        import_module(library)
    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not found:
        return Finding("blas", "warn", "no BLAS that threadpoolctl knows; set OMP_NUM_THREADS=1")
    shown = ", ".join(
        f"{pool['internal_api']} {pool['version']} ({pool['num_threads']} threads)"
        for pool in found
    )
    return Finding("blas", "ok", f"{shown}; a sweep's tasks use one each")


def check_ray(address: str | None) -> Finding:
    """Whether a cluster can be reached, speaks this version, and asks for a token."""
    if address is None:
        mode = os.environ.get("RAY_AUTH_MODE", "unset")
        return Finding("ray", "ok", f"a sweep starts its own (RAY_AUTH_MODE {mode}); no --address")
    if "://" not in address:
        from pipeline.sweeps.cluster.session import check_address

        check_address(address)
        return Finding("ray", "ok", f"{address} answers; the dashboard's http address tells more")
    import requests

    from pipeline.commands.submission.client import probe

    theirs, ours = probe(address), version("ray")
    if theirs != ours:
        return Finding("ray", "warn", f"{redact(address)} runs Ray {theirs}, here is {ours}")
    url = f"{address.rstrip('/')}/api/version"
    if requests.get(url, timeout=PATIENCE).status_code == 200:
        return Finding(
            "ray",
            "warn",
            f"{redact(address)} runs Ray {theirs} and takes orders from anybody who reaches it; "
            "start it with RAY_AUTH_MODE=token",
        )
    return Finding("ray", "ok", f"{redact(address)} runs Ray {theirs} and takes our token")


def check_mlflow(out: str) -> Finding:
    """Where runs will be tracked, and whether that can be reached."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        if "://" in out and not out.startswith("file://"):
            return Finding("mlflow", "warn", "no MLFLOW_TRACKING_URI, which a remote --out needs")
        return Finding("mlflow", "ok", "a SQLite file in the run's folder; no MLFLOW_TRACKING_URI")
    if uri.startswith(("http://", "https://")):
        return _check_server(uri)
    refuse_unknown_tracking(None)
    if uri.startswith("databricks"):
        return Finding("mlflow", "warn", f"{redact(uri)}: not looked at")
    if uri.startswith("file://") or "://" not in uri:
        return Finding("mlflow", "ok", f"{redact(uri)}: a folder of MLflow's files")
    return _check_database(uri)


def _check_database(uri: str) -> Finding:
    """Whether it opens, or can be made; nothing is made here."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    file = database_file(uri)
    if file is not None and not file.exists() and os.access(file.parent, os.W_OK | os.X_OK):
        return Finding("mlflow", "ok", f"{redact(uri)}: not there yet, the first sweep makes it")
    try:
        create_engine(uri).connect().close()
    except (SQLAlchemyError, ImportError) as error:
        reason = redact(one_line(str(error).splitlines()[0]))
        return Finding("mlflow", "fail", f"{redact(uri)}: cannot be opened ({reason})")
    return Finding("mlflow", "ok", f"{redact(uri)} opens")


def _check_server(uri: str) -> Finding:
    import requests

    user, password = (
        os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD")
    )
    auth = (user, password) if user and password else None
    url = f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search"
    try:
        answer = requests.post(url, json={"max_results": 1}, auth=auth, timeout=PATIENCE)
        theirs = requests.get(f"{uri.rstrip('/')}/version", auth=auth, timeout=PATIENCE).text
    except requests.exceptions.RequestException as error:
        kind = type(error).__name__
        return Finding("mlflow", "fail", f"{redact(uri)}: does not answer ({kind}); is it up?")
    if answer.status_code in (401, 403):
        advice = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return Finding("mlflow", "fail", f"{redact(uri)}: HTTP {answer.status_code}; {advice}")
    if answer.status_code != 200:
        text = f"{redact(uri)}: HTTP {answer.status_code}; its database may be away"
        return Finding("mlflow", "fail", text)
    ours = version("mlflow")
    same = theirs.split(".")[:1] == ours.split(".")[:1]
    text = f"{redact(uri)} runs MLflow {theirs[:20]}, here is {ours}"
    return Finding("mlflow", "ok" if same else "warn", text)


def check_storage(out: str) -> Finding:
    """Write (with a rename), read, list and remove a file in `out`."""
    # A name of its own: somebody's results may lie in any other.
    place = f"doctor-{uuid.uuid4().hex}"
    name, content = f"{place}/x", os.urandom(4096)
    begin = time.monotonic()
    with _borrowed(out) as folder:
        folder.write(name, content)
        try:
            if folder.read(name) != content:
                return Finding(
                    "storage", "fail", f"{folder.label}: reads back other bytes than written"
                )
            if name not in folder.files(place):
                return Finding("storage", "fail", f"{folder.label}: does not list what was written")
        finally:
            folder.remove(name)
            # Object stores keep an empty folder as an object.
            with suppress(StoreError):
                folder.remove_folder(place)
        spent = 1000 * (time.monotonic() - begin)
        return Finding(
            "storage", "ok", f"{folder.label}: write, rename, read, delete in {spent:.0f} ms"
        )


@contextmanager
def _borrowed(out: str) -> Iterator[RunFolder]:
    """The folder `out`, there for as long as it is looked at: one that was not goes again."""
    folder = RunFolder.open(out)
    made: list[Path] = []
    if folder.local_path is not None:
        place = Path(folder.local_path)
        made = [one for one in (place, *place.parents) if not one.exists()]
    folder.create()
    try:
        yield folder
    finally:
        with suppress(OSError):
            for one in made:
                one.rmdir()


def check_clock(address: str | None, out: str) -> Finding:
    """How far this clock is from those of the servers and of the output folder."""
    skews = dict(_skews(address, out))
    worst = max(map(abs, skews.values()))
    level: Level = "ok" if worst <= SKEW_WARN else "warn" if worst <= SKEW_FAIL else "fail"
    shown = ", ".join(f"{name} {skew:+.1f} s" for name, skew in skews.items())
    advice = "" if level == "ok" else "; synchronize the clocks (chrony, systemd-timesyncd)"
    return Finding("clock", level, f"{shown}{advice}")


def _skews(address: str | None, out: str) -> Iterator[tuple[str, float]]:
    import requests

    servers = {"ray": address or "", "mlflow": os.environ.get("MLFLOW_TRACKING_URI", "")}
    for name, url in servers.items():
        if url.startswith(("http://", "https://")):
            try:
                told: Mapping[str, str] = requests.head(url, timeout=PATIENCE).headers
            except requests.exceptions.RequestException:
                continue
            if "Date" in told:
                # The header has whole seconds; half of one is the best guess of the rest.
                yield name, parsedate_to_datetime(told["Date"]).timestamp() + 0.5 - time.time()
    name = f".doctor.{uuid.uuid4().hex}.tmp"
    with _borrowed(out) as folder:
        before = datetime.now(UTC)
        folder.write(name, b"")
        written = folder.modified(name)
        folder.remove(name)
    yield "storage", 0.0 if written is None else (written - before).total_seconds()


def check_disk(out: str) -> Finding:
    """Free space where results, Ray's session and its object store go."""
    places = {"temp": os.environ.get("RAY_TMPDIR", "/tmp"), "shared memory": "/dev/shm"}
    local = RunFolder.open(out).local_path
    if local is not None:
        places = {"out": local, **places}
    free = {
        name: shutil.disk_usage(_existing(Path(path))).free
        for name, path in places.items()
        if _existing(Path(path)) != Path("/") or name == "out"
    }
    least = min(free.values())
    level: Level = "ok" if least >= DISK_WARN else "warn" if least >= DISK_FAIL else "fail"
    shown = ", ".join(f"{name} {space / 1e9:.1f} GB" for name, space in free.items())
    return Finding("disk", level, f"free: {shown}")


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
