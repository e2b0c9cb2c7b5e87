"""What the commands that compute do: set up logging, run, print, return the exit code."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipeline.commands.terminal import print_outcome
from pipeline.configuration.paths import expanded, is_archive, refuse_unknown_tracking
from pipeline.configuration.reading import load_config
from pipeline.logs.console import console_of_tables, set_up_logging
from pipeline.logs.redact import redact
from pipeline.plans.studies import TRAINING, study_at, study_of_file
from pipeline.results.folder import RunFolder, StoreError
from pipeline.studies.training.automatic import chosen, is_automatic
from pipeline.sweeps.cluster.session import ClusterError, check_address
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.sweeps.interrupts import SweepInterrupted, say_interrupted
from pipeline.tracking.moved import follow_move
from qnn.errors import InputError

DONE, FAILED = 0, 1


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
    errors = Console(stderr=True)
    set_up_logging(errors)
    if out is not None:
        RunFolder.to_write(out)
    study = study_of_file(path)
    options = SweepOptions(
        address=address, cpus=cpus, max_failures=max_failures, retry_failed=retry_failed
    )
    try:
        if study.name == TRAINING and is_automatic(path, overrides):
            check_address(address)
            overrides = chosen(path, overrides, out, errors)
        config = load_config(path, overrides, study.config)
        refuse_unknown_tracking(config.tracking.uri)
        location = f"out/{config.name}" if out is None else out
        outcome = run_sweep(config, location, options, errors, study.start_tracking)
    except SweepInterrupted as interrupt:
        return say_interrupted(interrupt)
    except (StoreError, ClusterError) as error:
        print(f"error: {redact(str(error))}", file=sys.stderr)
        return FAILED
    print_outcome(outcome, console_of_tables())
    return outcome.exit_code


def say_move(location: str) -> None:
    """Mend what a folder's MLflow database says where the folder was moved, and say it."""
    if is_archive(location) or os.path.isfile(expanded(location)):
        return
    moved = follow_move(RunFolder.open(location))
    if moved is not None:
        print(f"note: {moved}", file=sys.stderr)


def verify_command(paths: Sequence[str], data: str | None, fast: bool = False) -> int:
    """Print a line for each file and a summary; return the exit code. Raises `InputError`."""
    begin = time.monotonic()
    for path in paths:
        say_move(path)
    good = bad = skipped = 0
    checks = (check for path in paths for check in study_at(path).verify(path, data, fast))
    for check in checks:
        print(check.line)
        good, bad = good + check.ok, bad + (not check.ok)
        skipped += not check.proven
    if not good + bad:
        raise InputError(f"{', '.join(map(redact, paths))}: there was nothing to verify")
    verdict = "all verified" if not bad else f"{bad} FAILED"
    if skipped:
        verdict = f"{bad} FAILED, {skipped} NOT proven again (--fast)"
    print(f"{good + bad} files, {verdict} ({time.monotonic() - begin:.1f} s)")
    return FAILED if bad else DONE
