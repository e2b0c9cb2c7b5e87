"""Is there anything to do? Decided from the data's bytes, before anything heavy is imported."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from pipeline.configuration.reading import SweepConfig
from pipeline.configuration.retraining import RetrainConfig
from pipeline.results.folder import RunFolder, safe_name
from pipeline.retraining.partitions import Partition, list_partitions
from pipeline.retraining.state import State, read_state, settings_digest
from pipeline.retraining.window import Selection, select
from pipeline.studies.training.automatic import Keys
from qnn.errors import InputError


@dataclass(frozen=True)
class Decision:
    """What was found at the data location and what follows from it.

    `new` are the partitions whose content the last finished run did not see, `gone` the names that
    it saw and that are no more. Of partitions with the same bytes only the first is in
    `partitions`; `copies` names each of the others, with the one that it repeats. `selection` is
    None where there is nothing to do.
    """

    partitions: tuple[Partition, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    config_changed: bool
    state: State | None
    selection: Selection | None
    run: str | None
    copies: tuple[tuple[str, str], ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """A line for each partition that repeats another, which would train and judge at once."""
        return tuple(f"{copy} is left out: the bytes of {first}" for copy, first in self.copies)

    @property
    def reason(self) -> str:
        """One line: why something, or nothing, is to be done."""
        count = len(self.partitions)
        if self.state is None:
            return f"first run, on {plural(count, 'partition')}"
        since = f"since the last run ({self.state.verdict} {self.state.finished})"
        gone = f"; {plural(len(self.gone), 'partition')} gone" if self.gone else ""
        if self.new:
            names = shortened(self.new)
            return f"{len(self.new)} of {plural(count, 'partition')} new {since}: {names}{gone}"
        if self.config_changed:
            return f"the configuration changed {since}{gone}"
        return f"nothing new {since}: {plural(count, 'partition')}{gone}"


def look(config: SweepConfig, home: RunFolder, unsettled: Keys = ()) -> Decision:
    """Compare the data location with what the last finished run saw.

    `unsettled`: keys that each run chooses on its own rows.

    Raises `InputError` or `StoreError` where the data or the state cannot be read, or where there
    are too few partitions for a window and a hold-out.
    """
    partitions, copies = _distinct(list_partitions(config.data.source))
    state = read_state(home)
    seen = {} if state is None else state.partitions
    digests = set(seen.values())
    # By digest alone: a partition that was only renamed is not new.
    new = tuple(one.name for one in partitions if one.digest not in digests)
    names = {one.name for one in partitions}
    now = {one.digest for one in partitions}
    gone = tuple(name for name in seen if name not in names and seen[name] not in now)
    changed = state is not None and (
        state.config != settings_digest(config, unsettled)
        # Another registered model has a champion of its own, or none.
        or state.model not in (None, config.registered_model)
    )
    if state is not None and not new and not changed:
        return Decision(tuple(partitions), new, gone, changed, state, None, None, copies)
    chosen = select([one.name for one in partitions], new, settings_of(config))
    run = _run_name(settings_digest(config, unsettled), partitions, chosen)
    return Decision(tuple(partitions), new, gone, changed, state, chosen, run, copies)


def _distinct(found: list[Partition]) -> tuple[list[Partition], tuple[tuple[str, str], ...]]:
    """The first partition of each content, and of the others the names: (copy, first)."""
    first: dict[str, Partition] = {}
    for one in found:
        first.setdefault(one.digest, one)
    copies = [(one.name, first[one.digest].name) for one in found if first[one.digest] is not one]
    return list(first.values()), tuple(copies)


def settings_of(config: SweepConfig) -> RetrainConfig:
    """The section `retrain`, or its defaults where there is none."""
    if config.test.column is not None:
        raise InputError("test.column: retrain makes its own hold-out; remove it")
    return config.retrain or RetrainConfig()


def _run_name(settings: str, partitions: list[Partition], chosen: Selection) -> str:
    """The run's folder, by content: whatever is killed is found again by the next run."""
    digests = {one.name: one.digest for one in partitions}
    content = [
        settings,
        [[name, digests[name]] for name in chosen.training],
        [[name, digests[name]] for name in chosen.hold_out],
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:10]
    freshest = partitions[-1].name.partition(".")[0]
    return f"runs/{safe_name(freshest)[:60]}-{digest}"


def plural(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shortened(names: tuple[str, ...], most: int = 5) -> str:
    """Names on one line, the middle ones left out where there are many."""
    if len(names) <= most:
        return ", ".join(names)
    return ", ".join([*names[: most - 2], f"… ({len(names) - most + 1} more)", names[-1]])
