"""Where log lines of a command go."""

import logging
import sys

from rich.console import Console
from rich.logging import RichHandler

from pipeline.logs.log_lines import EVENTS, TextFormatter, log_json_to, wants_json


def set_up_logging(console: Console) -> None:
    """Log lines to stderr: JSON where QNN_LOG says so, else text, on a terminal beside the bar."""
    if wants_json():
        log_json_to(sys.stderr)
        return
    logging.getLogger(EVENTS).setLevel(logging.WARNING)
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False)
        handler.setFormatter(TextFormatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(TextFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    package = logging.getLogger("pipeline")
    package.handlers = [handler]
    package.setLevel(logging.INFO)
    package.propagate = False
