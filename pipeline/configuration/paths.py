"""Paths and URIs as people write them: `~`, environment variables, and what only looks like a URI.

Given in YAML or on the command line; a shell does not expand either in `--out=~/runs`.
"""

from __future__ import annotations

import os
import re

from pipeline.logs.redact import redact
from qnn.errors import InputError

# What pyarrow, and MLflow, know; written without // they would name a folder here.
SCHEMES = ("s3", "gs", "gcs", "hdfs", "abfs", "abfss", "file", "http", "https", "sqlite",
           "postgresql", "mysql", "mssql")  # fmt: skip
URI_VARIABLE = "MLFLOW_TRACKING_URI"
_HOST = re.compile(r"[A-Za-z0-9.-]+:\d+(/.*)?")


def expanded(text: str) -> str:
    """A path or URI with `~` and variables that are set put in; others stay as they are."""
    return os.path.expandvars(os.path.expanduser(text))


def parted(location: str) -> tuple[str, str]:
    """A URI and its query, which begins with `?`; of a path, in which ? is a letter, all and ""."""
    if "://" not in location:
        return location, ""
    base, mark, query = location.partition("?")
    return base, mark + query


def is_archive(location: str) -> bool:
    """Whether a path or URI names a certificate or network, and no run's folder."""
    return parted(location)[0].endswith(".npz")


def refuse_half_uri(text: str, key: str = "") -> None:
    """Raise `InputError` for a URI without its scheme, or without //: it would be a folder here."""
    where = f"{key}: " if key else ""
    if "://" in text or os.path.exists(text):
        return
    scheme = text.partition(":")[0]
    if ":" in text and scheme in SCHEMES:
        raise InputError(f"{where}{redact(text)}: write {scheme}:// and not {scheme}:")
    if _HOST.fullmatch(text):
        raise InputError(
            f"{where}{text}: a host and a port need a scheme in front, as http://{text}"
        )


def refuse_unknown_tracking(uri: str | None) -> None:
    """Raise `InputError` where MLflow would take a slip for the name of a new folder.

    `uri`: that of the config; None: that of the environment, where it has one.
    """
    key = "tracking.uri" if uri else URI_VARIABLE
    given = uri or os.environ.get(URI_VARIABLE)
    if not given:
        return
    refuse_half_uri(given, key)
    if not ("://" in given or given.startswith("databricks") or os.path.isdir(given)):
        raise InputError(
            f"{key}: {redact(given)} is no URI (http://…, sqlite:///…) and no folder that is there"
        )
