"""What the commands that compute do: set up logging, run, print, return the exit code."""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from pipeline.cluster import ClusterError
from pipeline.config import load_config
from pipeline.interrupts import SweepInterrupted
from pipeline.log_lines import EVENTS, TextFormatter, log_json_to, wants_json
from pipeline.redact import redact
from pipeline.store import StoreError
from pipeline.sweep import SweepOptions, run_sweep
from pipeline.terminal import print_outcome
from pipeline.verify import verify_paths

DONE, FAILED = 0, 1


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


def say_interrupted(interrupt: SweepInterrupted, location: str) -> int:
    """Say what is kept and how it goes on; return the exit code."""
    print(
        f"interrupted ({interrupt}): what is finished is kept in {redact(location)}; the same "
        "command goes on from there",
        file=sys.stderr,
    )
    return interrupt.exit_code


def sweep_command(
    path: Path,
    out: str | None,
    overrides: Sequence[str],
    *,
    address: str | None,
    cpus: int | None,
    max_failures: int,
    retry_failed: bool,
) -> int:
    """Run a sweep from its YAML file; return the exit code. Raises `InputError`."""
    from pipeline import tracking

    errors = Console(stderr=True)
    set_up_logging(errors)
    config = load_config(path, overrides)
    location = f"out/{config.name}" if out is None else out
    options = SweepOptions(
        address=address, cpus=cpus, max_failures=max_failures, retry_failed=retry_failed
    )
    try:
        outcome = run_sweep(config, location, options, errors, tracking.start)
    except SweepInterrupted as interrupt:
        return say_interrupted(interrupt, location)
    except (StoreError, ClusterError) as error:
        print(f"error: {redact(str(error))}", file=sys.stderr)
        return FAILED
    print_outcome(outcome, Console())
    return outcome.exit_code


def verify_command(paths: Sequence[str], data: str | None, fast: bool = False) -> int:
    """Print a line for each file and a summary; return the exit code. Raises `InputError`."""
    begin = time.monotonic()
    good = bad = skipped = 0
    for check in verify_paths(paths, data, fast):
        print(check.line)
        good, bad = good + check.ok, bad + (not check.ok)
        skipped += not check.proven
    verdict = "all verified" if not bad else f"{bad} FAILED"
    if skipped:
        verdict = f"{bad} FAILED, {skipped} NOT proven again (--fast)"
    print(f"{good + bad} files, {verdict} ({time.monotonic() - begin:.1f} s)")
    return FAILED if bad else DONE
