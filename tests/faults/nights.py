"""A night of the retraining in a process of its own, which dies after a step.

A night takes a second or two, its imports several: the processes are forked from one that has them.
"""

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pipeline.reports.page
from pipeline.configuration.reading import load_config
from pipeline.reports.figures import plots
from pipeline.retraining import run
from pipeline.sweeps.driver import SweepOptions
from pipeline.tracking import tracker as tracking
from pipeline.tracking.store import quiet
from tests.faults.disturbed import PATIENCE

quiet()

STEPS = [
    "write_window",
    "run_sweep",
    "write_verdict",
    "log_verdict",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "promote",
    "write_state",
]

_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload([__name__])


def night(config: Path, home: Path | str, step: str) -> int:
    """Retrain once, killed after a step ("": not at all); return the exit code."""
    arguments = (dict(os.environ), str(config), str(home), step)
    process = _forked.Process(target=_night, args=arguments)
    process.start()
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"a night took more than {PATIENCE:g} seconds")
    return process.exitcode


def _night(environment: dict[str, str], config: str, home: str, step: str) -> None:
    from mlflow import MlflowClient

    os.environ.clear()
    os.environ.update(environment)
    pipeline.reports.page.write_report = lambda folder, trial: None
    tracking.report_of = lambda folder, trial: b""
    plots.FIGURES = ()
    if step in ("set_registered_model_tag", "set_registered_model_alias"):
        _die_after(MlflowClient, step)
    elif step:
        _die_after(run, step)
    done = run.retrain(load_config(config), home, SweepOptions(inline=True))
    sys.exit(0 if done.verdict is None or done.verdict.promote else 3)


def _die_after(owner: Any, name: str) -> None:
    done = getattr(owner, name)

    def deadly(*arguments: Any, **options: Any) -> None:
        done(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, deadly)
