"""A run's folder that was moved or copied: its own MLflow database is pointed at where it is now.

MLflow keeps the address of every file whole, so that a database in a folder still means the files
of the place where it was made. Needs SQLite alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote, unquote, urlparse

from pipeline.logs.messages import one_line
from pipeline.logs.shell import verify_line
from pipeline.results.folder import RunFolder, StoreError

DATABASE, ARTIFACTS, TRACKING_FILE = "mlflow.db", "mlartifacts", "tracking.json"
# Where MLflow keeps addresses of files; a version of it may lack some.
_ADDRESSES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
    # Last: by these a folder that was moved is known.
    ("experiments", "artifact_location"),
)
_MODEL_FILE, _NOTE = "MLmodel", "mlflow.note.content"
_PATIENCE = 10.0
_SQLITE, _ESCAPED = "sqlite:///", "sqlite+pysqlite:///"


def database_uri(folder: str | Path) -> str:
    """The address of a folder's own database, as MLflow takes it.

    SQLAlchemy ends a path at `?` and reads `%` and two digits as a character. So these are escaped,
    and the driver is named: of an address without, MLflow makes the folder that its text spells.
    """
    escaped = str(folder).replace("%", quote("%")).replace("?", quote("?"))
    return f"{_SQLITE if escaped == str(folder) else _ESCAPED}{escaped}/{DATABASE}"


def database_file(uri: str) -> Path | None:
    """The file of a SQLite address; None for others."""
    if not uri.startswith((_SQLITE, _ESCAPED)):
        return None
    return Path(unquote(uri.partition(":///")[2].partition("?")[0]))


def follow_move(folder: RunFolder) -> str | None:
    """Point the folder's MLflow database at the folder; a line that says what changed, else None.

    All rows are changed in one transaction. A database that cannot be written stays as it is, and
    the line says so. A damaged one is left to `set_aside_damaged`.
    """
    if folder.local_path is None or not os.path.isfile(f"{folder.local_path}/{DATABASE}"):
        return None
    here = Path(folder.local_path)
    try:
        earlier = [old for old in _locations(here / DATABASE) if _is_elsewhere(old, here)]
    except sqlite3.Error:
        return None
    if not earlier:
        return None
    told = ", ".join(str(_folder_of(old)) for old in earlier)
    try:
        if os.stat(here / DATABASE).st_nlink > 1:
            raise OSError("it is a hard link, and the other folder needs it as it is")
        for old in earlier:
            _change_models(here, old)
        changed = _change_database(here, earlier)
        _change_record(folder)
    except (sqlite3.Error, OSError, StoreError) as error:
        return (
            f"{folder.label}: was moved or copied from {told}, and {DATABASE} cannot be changed "
            f"({one_line(error)}), so MLflow looks for models and files there"
        )
    return (
        f"{folder.label}: was moved or copied from {told}; {changed} addresses in {DATABASE} now "
        "name this folder"
    )


def _locations(database: Path) -> list[str]:
    """The places of experiments that were kept in a run's folder."""
    with contextlib.closing(_connect(database, "ro")) as db:
        found = db.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    return sorted(
        one for (one,) in found
        if isinstance(one, str) and one.startswith("file:///") and one.endswith(f"/{ARTIFACTS}")
    )  # fmt: skip


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE)


def _folder_of(location: str) -> Path:
    """The run's folder whose artifacts lie at a location."""
    return Path(unquote(urlparse(location).path)).parent


def _is_elsewhere(location: str, here: Path) -> bool:
    """Whether the location is that of another folder, and the files are in this one."""
    old, new = _folder_of(location) / ARTIFACTS, here / ARTIFACTS
    if location == new.as_uri():
        return False
    try:
        if old.exists() and new.exists() and old.samefile(new):
            return False
        return new.exists() or not old.exists() or not any(old.iterdir())
    except OSError:
        # Another's home, for one. What may not be looked at is not this folder.
        return new.exists()


def _change_models(here: Path, old: str) -> None:
    """The address in the file that describes each model; each is replaced in one move."""
    new = (here / ARTIFACTS).as_uri()
    for file in sorted((here / ARTIFACTS).glob(f"models/*/artifacts/{_MODEL_FILE}")):
        text = file.read_text(encoding="utf-8")
        if (changed := text.replace(f"{old}/", f"{new}/")) != text:
            written = file.with_name(f".{_MODEL_FILE}.tmp")
            written.write_text(changed, encoding="utf-8")
            os.replace(written, file)


def _change_database(here: Path, earlier: list[str]) -> int:
    """Change all addresses, or none; return how many."""
    new, changed = (here / ARTIFACTS).as_uri(), 0
    with contextlib.closing(_connect(here / DATABASE, "rw")) as db:
        db.execute("BEGIN IMMEDIATE")
        with db:
            for old in earlier:
                for table, column in _ADDRESSES:
                    if column in _columns(db, table):
                        changed += _change_column(db, table, column, old, new)
                # Notes of earlier versions name a folder as it is.
                folder = str(_folder_of(old))
                for said in {f"qnn verify {folder}", verify_line(folder)}:
                    db.execute(
                        "UPDATE tags SET value = replace(value, ?, ?) WHERE key = ?",
                        (f"{said}\n", f"{verify_line(str(here))}\n", _NOTE),
                    )
    return changed


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def _change_column(db: sqlite3.Connection, table: str, column: str, old: str, new: str) -> int:
    """Only what is the old place or lies under it: `/runs/a` is no part of `/runs/ab`."""
    asked = (
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?"
    )
    return db.execute(asked, (new, len(old) + 1, old, len(old) + 1, f"{old}/")).rowcount


def _change_record(folder: RunFolder) -> None:
    """What the folder notes of its store, for the page."""
    try:
        record = json.loads(folder.read(TRACKING_FILE))
    except (FileNotFoundError, ValueError):
        return
    if isinstance(record, dict) and str(record.get("uri", "")).startswith((_SQLITE, _ESCAPED)):
        record["uri"] = database_uri(str(folder.local_path))
        folder.write(TRACKING_FILE, json.dumps(record, indent=2).encode())
