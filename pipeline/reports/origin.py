"""Where a run's figures come from: when, by which code, for how long, and where its files are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.logs.redact import redact
from pipeline.results.folder import CONFIG_FILE, RESULTS, RunFolder
from pipeline.results.verification.manifest import MANIFEST

SESSIONS_FILE = "sessions.json"
TRACKING_FILE = "tracking.json"
PACKAGE = "qnn-sdp"
DATABASE = "mlflow.db"
_LOCAL_UI = "http://127.0.0.1:5000"
_PATIENCE = 5.0


@dataclass(frozen=True)
class Origin:
    """What a page says of its run; "" where that is not known.

    `tracked`: the address of the run on an MLflow server, `command` what starts one on the run's
    own database, at the address `local`. `files`: words and the path relative to the run's folder.
    """

    date: str = ""
    code: str = ""
    wall_time: str = ""
    computing_time: str = ""
    versions: str = ""
    tracked: str = ""
    command: str = ""
    local: str = ""
    files: tuple[tuple[str, str], ...] = ()


def code_version() -> dict[str, str]:
    """The version of this package, and the commit that it runs from where that is a checkout.

    A commit whose files were changed ends in "-dirty".
    """
    return dict(_code_version())


@cache
def _code_version() -> tuple[tuple[str, str], ...]:
    try:
        found = [("version", version(PACKAGE))]
    except PackageNotFoundError:
        found = []
    root = Path(__file__).resolve().parents[2]
    # A package that was installed into somebody else's checkout is not of its commit.
    if (root / ".git").exists() and (root / "pyproject.toml").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is not None and done.returncode == 0:
            found.append(("commit", done.stdout.strip()))
    return tuple(found)


def add_session(folder: RunFolder, started: datetime, seconds: float, units: int) -> None:
    """Note in the folder that a command computed `units` units of its work."""
    session = {
        "started": started.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "units": units,
        **code_version(),
    }
    folder.write(SESSIONS_FILE, json.dumps([*_sessions(folder), session], indent=2).encode())


def origin_of(folder: RunFolder, results: pa.Table) -> Origin:
    """What the folder and its results tell; a folder of an earlier version tells less."""
    sessions = _sessions(folder)
    seconds = sum(float(one.get("seconds", 0.0)) for one in sessions)
    return Origin(
        date=_date(folder, sessions),
        code=_words(_code(one) for one in sessions),
        wall_time=_wall_time(seconds, len(sessions)),
        computing_time=duration(sum(results["seconds"].to_pylist())),
        versions=redact(_versions(results)),
        files=tuple(_files(folder)),
        **_tracked(folder),
    )


def _tracked(folder: RunFolder) -> dict[str, str]:
    """Where the run stands in MLflow, as the tracking noted it."""
    noted = _json(folder, TRACKING_FILE, {})
    uri = str(noted.get("uri", ""))
    if not uri or "run_id" not in noted:
        return {}
    place = f"#/experiments/{noted.get('experiment_id')}/runs/{noted['run_id']}"
    if uri.startswith(("http://", "https://")):
        return {"tracked": f"{uri.rstrip('/')}/{place}"}
    # The database in the run's folder goes with it wherever it is copied.
    if uri.endswith(f"/{DATABASE}") and folder.exists(DATABASE):
        uri = f"sqlite:///{DATABASE}"
    return {"command": f"mlflow ui --backend-store-uri {uri}", "local": f"{_LOCAL_UI}/{place}"}


def duration(seconds: float) -> str:
    """A time for people: `0.8 s`, `52 s`, `5 min 20 s`, `3 h 7 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _date(folder: RunFolder, sessions: list[dict[str, Any]]) -> str:
    """When the last results came: as noted, or by the age of their files."""
    if sessions:
        started = datetime.fromisoformat(str(sessions[-1]["started"]))
        return _day(datetime.fromtimestamp(started.timestamp() + sessions[-1]["seconds"], UTC))
    times = [folder.modified(file) for file in folder.files(RESULTS, ".parquet")]
    known = [time for time in times if time is not None]
    return _day(max(known).astimezone(UTC)) if known else ""


def _day(time: datetime) -> str:
    return f"{time.day} {time:%B %Y, %H:%M} UTC"


def _code(session: dict[str, Any]) -> str:
    release = f"{PACKAGE} {session.get('version', '')}".strip()
    return f"{release}, commit {session['commit']}" if "commit" in session else release


def _wall_time(seconds: float, sessions: int) -> str:
    if not sessions:
        return ""
    return duration(seconds) + (f" in {sessions} sittings" if sessions > 1 else "")


def _words(several: Iterable[str]) -> str:
    return ", then ".join(dict.fromkeys(several))


def _versions(results: pa.Table) -> str:
    """All version sets that occur, most rows first: a resumed run may have more than one."""
    counts = results["versions"].drop_null().value_counts().to_pylist()
    sets = []
    for one in sorted(counts, key=lambda one: (-one["counts"], one["values"])):
        try:
            named = json.loads(one["values"])
        except ValueError:
            named = {}
        sets.append(", ".join(f"{n} {v}" for n, v in named.items()) or one["values"])
    return " · then ".join(sets) or "not recorded"


def _files(folder: RunFolder) -> Iterable[tuple[str, str]]:
    names = [("the resolved configuration", CONFIG_FILE), ("the manifest of all files", MANIFEST)]
    yield from ((words, name) for words, name in names if folder.exists(name))
    for words, name in (("results, a row a network", RESULTS), ("certificates", "certificates"),
                        ("networks", "networks"), ("training matrices", "data"),
                        ("verdicts", "verdicts")):  # fmt: skip
        if folder.files(name):
            yield words, f"{name}/"


def _sessions(folder: RunFolder) -> list[dict[str, Any]]:
    found = _json(folder, SESSIONS_FILE, [])
    known = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [one for one in known if isinstance(one.get("seconds"), int | float)
            and _is_time(one.get("started"))]  # fmt: skip


def _is_time(text: Any) -> bool:
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return True


def _json(folder: RunFolder, name: str, otherwise: Any) -> Any:
    try:
        found = json.loads(folder.read(name))
    except (FileNotFoundError, ValueError):
        return otherwise
    return found if isinstance(found, type(otherwise)) else otherwise
