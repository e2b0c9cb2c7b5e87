"""`qnn retrain` and `qnn rollback`: what they print and how they end."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.configuration.paths import refuse_unknown_tracking
from pipeline.configuration.reading import SweepConfig
from pipeline.logs.redact import redact
from pipeline.results.folder import RunFolder, StoreError
from pipeline.retraining.decision import Decision, look, plural, settings_of, shortened
from pipeline.studies.training.automatic import (
    Keys,
    announcement,
    checkable,
    refuse_lists,
    stand_in,
)
from pipeline.sweeps.cluster.session import ClusterError
from qnn.errors import InputError

if TYPE_CHECKING:
    from pipeline.tracking.aliases import Move

DONE, FAILED, REFUSED = 0, 1, 3


def retrain_command(
    path: Path,
    out: str | None,
    overrides: Sequence[str],
    *,
    dry_run: bool,
    address: str | None,
    cpus: int | None,
) -> int:
    """Retrain if there is anything new; return the exit code. Raises `InputError`.

    0: promoted, or nothing new; 1: something failed, the next run tries again; 3: trained, and a
    gate refused the network.
    """
    config, unsettled = stand_in(path, overrides)
    refuse_lists(config, unsettled, path.name)
    refuse_unknown_tracking(config.tracking.uri)
    location = f"out/{config.name}" if out is None else out
    try:
        decision = look(config, RunFolder.to_write(location), unsettled)
        if decision.selection is None or dry_run:
            print("\n".join(explain(config, decision, unsettled)))
            return DONE
        return _train(config, location, address, cpus, unsettled)
    except (StoreError, ClusterError) as error:
        print(f"error: {redact(str(error))}", file=sys.stderr)
        return FAILED


def explain(config: SweepConfig, decision: Decision, unsettled: Keys = ()) -> list[str]:
    """The decision in lines: why, on what it would train, what would judge, and the plan."""
    lines = [f"retrain {config.name}: {decision.reason}", *decision.left_out]
    if decision.selection is None or decision.run is None:
        return lines
    from pipeline.plans.plan import plan_of
    from pipeline.retraining.window import build, run_config, write_window

    chosen, settings = decision.selection, settings_of(config)
    window = build(config, chosen, settings)
    with tempfile.TemporaryDirectory(prefix="qnn-retrain-") as work:
        folder = RunFolder.open(work)
        write_window(config, window, folder)
        resolved = run_config(config, folder)
        plan = plan_of(checkable(resolved, unsettled)).describe()
        if unsettled:
            plan = f"{announcement(resolved, unsettled, config.name)}\n\n{plan}"
    rule = f"worse by more than {settings.tolerance:g} (significance {settings.significance:g})"
    budget = "" if settings.max_bytes is None else f", at most {settings.max_bytes:,} bytes"
    if (robust := settings.robustness) is not None:
        budget += f", certified accuracy at least {robust.certified_accuracy:g}"
    return [
        *lines,
        "",
        f"  window    {plural(window.training_rows, 'row')} of {shortened(chosen.training)}",
        f"  hold-out  {plural(window.hold_out_rows, 'row')} of {shortened(chosen.hold_out)}",
        f"  gates     certificate verified, not {rule}{budget}",
        f"  folder    {decision.run}",
        "",
        plan,
        "",
        "dry run: nothing was trained or written",
    ]


def _train(
    config: SweepConfig, location: str, address: str | None, cpus: int | None, unsettled: Keys
) -> int:
    from rich.console import Console

    from pipeline.logs.console import set_up_logging
    from pipeline.retraining.run import Retrained, retrain
    from pipeline.sweeps.driver import SweepOptions
    from pipeline.sweeps.interrupts import SweepInterrupted, say_interrupted

    errors = Console(stderr=True)
    set_up_logging(errors)
    options = SweepOptions(address=address, cpus=cpus, retry_failed=True)
    try:
        done: Retrained = retrain(config, location, options, errors, unsettled)
    except SweepInterrupted as interrupt:
        return say_interrupted(interrupt)
    print(f"retrain {config.name}: {done.decision.reason}")
    if done.sweep is None:
        return DONE
    if done.verdict is None:
        print(
            f"error: {done.sweep.failed} trials failed"
            + (f"; tracking: {done.sweep.tracking_error}" if done.sweep.tracking_error else "")
            + f"; results are kept in {done.sweep.location}, nothing was promoted; the same "
            "command tries again",
            file=sys.stderr,
        )
        return FAILED
    verdict = done.verdict
    print(
        f"window    {plural(verdict.training_rows, 'row')} of {shortened(verdict.training)}\n"
        f"hold-out  {plural(verdict.hold_out_rows, 'row')} of {shortened(verdict.hold_out)}"
    )
    for gate in verdict.gates:
        print(f"{gate.name:<12}{'passed' if gate.passed else 'REFUSED':<9}{gate.text}")
    print(f"drift     {verdict.drift.text}")
    if not verdict.promote:
        print(f"refused: version {done.version} is registered, the champion stays")
    elif done.move is None:
        print(f"version {done.version} was promoted before; nothing moved")
    else:
        print("\n".join(said_of(done.move, config, location)))
    print(f"report    {done.sweep.report}")
    if done.sweep.tracking_command is not None:
        print(f"mlflow    {done.sweep.tracking_command}")
    return DONE if verdict.promote else REFUSED


def said_of(move: Move, config: SweepConfig, location: str) -> list[str]:
    """What moved, and the way back where there is a version to go back to."""
    back = [] if move.previous is None else [f"back: {way_back(config, location)}"]
    return [move.text, *back]


def way_back(config: SweepConfig, location: str) -> str:
    """The command that undoes a promotion; it names MLflow where the environment does not."""
    from pipeline.tracking.store import URI_VARIABLE

    words = ["qnn", "rollback", config.registered_model]
    if config.tracking.uri or not os.environ.get(URI_VARIABLE):
        words += ["--uri", config.tracking.uri or location]
    return shlex.join(words)


def rollback_command(model: str, uri: str | None) -> int:
    """Move the alias back, say what moved; return the exit code. Raises `InputError`."""
    from pipeline.tracking.aliases import is_there, roll_back
    from pipeline.tracking.moved import follow_move
    from pipeline.tracking.store import URI_VARIABLE, quiet, said_in_a_line

    given = uri or os.environ.get(URI_VARIABLE)
    if not given:
        raise InputError(
            f"which MLflow? give --uri (a server's address, sqlite:///…/mlflow.db, or the folder "
            f"of `qnn retrain`) or set {URI_VARIABLE}"
        )
    given, file = _database(given)
    if file is not None and (moved := follow_move(RunFolder.open(file.parent))) is not None:
        print(f"note: {redact(moved)}", file=sys.stderr)
    quiet()
    from mlflow import MlflowClient

    try:
        with said_in_a_line(given):
            client = MlflowClient(tracking_uri=given, registry_uri=given)
            if not is_there(client.get_registered_model, model):
                raise InputError(f"{redact(given)}: no registered model '{model}'")
            move = roll_back(client, model)
    except StoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print(f"{model}: {move.text}")
    return DONE


def _database(given: str) -> tuple[str, Path | None]:
    """Its address, and its file where that is SQLite's; a folder means the database in it."""
    from pipeline.tracking.moved import database_file, database_uri

    if "://" not in given:
        given = database_uri(Path(given).expanduser().absolute())
    file = database_file(given)
    # MLflow would make a database that is not there.
    if file is not None and not file.is_file():
        raise InputError(f"{file}: no such MLflow database")
    return given, file
