"""How log lines are written: as text, or one JSON object a line for whatever collects them."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import TextIO

from pipeline.logs.redact import redact

# What a record may carry beside its text; passed as `extra=` where it is known.
FIELDS = ("sweep", "path", "shard", "trial", "beta", "done", "failed", "total", "gap", "seconds")

# The logger of what happens path by path: silent unless logs are JSON.
EVENTS = "pipeline.sweeps.events"

# Who says what there is to say of the data: each time that they are read.
DATA = "pipeline.datasets"


class Once(logging.Filter):
    """Lets what is said of the data through once: a command may read them several times.

    Other lines may well say the same again, as a second attempt does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written."""
        text = record.getMessage()
        known = record.name.startswith(DATA) and text in self.said
        self.said.add(text)
        return not known


class TextFormatter(logging.Formatter):
    """Lines of plain text, exceptions included, with the secrets taken out."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """`{"time": …, "level": …, "logger": …, "message": …}` and the `FIELDS` that a record has.

    Times are UTC. Secrets are taken out of texts as everywhere (`pipeline.logs.redact`).
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        entry |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)


def wants_json() -> bool:
    """Whether QNN_LOG asks for JSON."""
    return os.environ.get("QNN_LOG", "").lower() == "json"


def log_json_to(stream: TextIO) -> None:
    """Send this package's log lines to `stream` as JSON, progress by path included."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(Once())
    package = logging.getLogger("pipeline")
    package.handlers = [handler]
    package.setLevel(logging.INFO)
    package.propagate = False
    logging.getLogger(EVENTS).setLevel(logging.INFO)
