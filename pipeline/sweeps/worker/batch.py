"""What a task does: units one after the other, whatever their study. Plain Python, without Ray."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.logs.log_lines import log_json_to, wants_json
from pipeline.logs.messages import one_line
from pipeline.plans.study import Tools, Unit
from pipeline.results.folder import RunFolder, StoreError
from pipeline.sweeps.events import Event, TaskBegun, UnitDone, UnitLost
from pipeline.sweeps.under_way import Saying
from qnn.errors import InputError

if TYPE_CHECKING:
    from qnn.moments.csp import Crew
    from qnn.training.pricing.enumeration import Scanner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What all units of a sweep share: `data` as their study prepared it, and where results go.

    `token` is the content of the sweep's lock: a worker that does not find it in `folder` looks at
    another machine's disk, or belongs to a driver whose folder was taken over.
    """

    data: Any
    folder: str
    token: str


def run_batch(
    units: Sequence[Unit],
    work: Work,
    scanner: Scanner | None = None,
    crew: Callable[[], Crew] | None = None,
) -> Iterator[Event]:
    """Run units one after the other; one that cannot be finished is lost, no other is.

    scanner : who scans the sign vectors of exact proofs, None for threads. crew : makes who bounds
    leaves of a tree ahead.
    """
    tools = Tools(scanner, crew=None if crew is None else crew())
    if wants_json() and not logging.getLogger("pipeline").handlers:
        log_json_to(sys.stderr)
    folder = RunFolder.open(work.folder)
    check_folder(folder, work.token)
    yield TaskBegun(units[0].id)
    for unit in units:
        trials = failed = 0
        saying = Saying(folder, unit.id)
        try:
            for step in unit.run(work.data, folder, replace(tools, say=saying)):
                trials, failed = trials + step.trials, failed + step.failed
                yield step
        except Exception as error:
            log.exception("path %s is lost", unit.id, extra={"path": unit.id})
            yield UnitLost(unit.id, one_line(error), isinstance(error, StoreError))
        else:
            yield UnitDone(unit.id, trials, failed)
        finally:
            saying.end()


def check_folder(folder: RunFolder, token: str) -> None:
    """Raise `InputError` unless this process sees the driver's folder, held by this sweep."""
    from pipeline.results.lock import LOCK_FILE

    try:
        content = folder.read(LOCK_FILE)
    except FileNotFoundError:
        content = b""
    if token.encode() not in content:
        raise InputError(
            f"{folder.label}: this worker does not see the driver's folder (or another sweep "
            "took it over); workers on several machines need --out on a shared file system or "
            "object store"
        )
