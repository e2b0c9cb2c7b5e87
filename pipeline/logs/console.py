"""Where log lines of a command go."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler

from pipeline.logs.log_lines import DATA, EVENTS, Once, TextFormatter, log_json_to, wants_json

# Columns of a table that nobody sees on a screen: room for all its words.
_WIDE = 400


@contextmanager
def held_back() -> Iterator[list[str]]:
    """A list of what is said of the data meanwhile, each once, instead of lines of a log."""
    held: list[str] = []

    class Holding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            held.append(record.getMessage())

    logger, handler = logging.getLogger(DATA), Holding()
    handler.addFilter(Once())
    before, logger.propagate = logger.propagate, False
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield held
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = before


def console_of_tables() -> Console:
    """Standard output; in a file or a pipe tables are as wide as they need, whatever reads them."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)


def set_up_logging(console: Console) -> None:
    """Log lines to stderr: JSON where QNN_LOG says so, else text, on a terminal beside the bar."""
    if wants_json():
        log_json_to(sys.stderr)
        return
    logging.getLogger(EVENTS).setLevel(logging.ERROR)
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False)
        handler.setFormatter(TextFormatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(TextFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(Once())
    package = logging.getLogger("pipeline")
    package.handlers = [handler]
    package.setLevel(logging.INFO)
    package.propagate = False
