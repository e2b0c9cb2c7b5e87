"""What a study's rows and tables say when put together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.results.folder import RunFolder
from pipeline.studies.bell.rows import TRAINING

Array = np.ndarray
Row = dict[str, Any]

# Each level's set of behaviours lies in the one before.
LEVELS = ("1", "1+AB", "2", "3")


@dataclass(frozen=True)
class Group:
    """The blocks of one scenario, level, set, kind of network and number of steps, all seeds."""

    scenario: str
    level: str
    set: str
    model: str | None
    steps: int
    count: int
    inside: int
    outside: int
    inconclusive: int
    by_solver: int
    certified: int
    refused: int
    cpu_seconds: float

    @property
    def decided_share(self) -> float:
        """Of 1."""
        return 1.0 - self.inconclusive / self.count

    @property
    def cpu_per_1000(self) -> float:
        """Seconds of processor time."""
        return 1000.0 * self.cpu_seconds / self.count

    @property
    def title(self) -> str:
        """Scenario, level, set, steps."""
        return f"{self.scenario} {self.level} {self.set}, {self.steps} steps{self.network}"

    @property
    def network(self) -> str:
        """The network in words, after a comma; nothing without one."""
        return "" if self.model is None else f", network {self.model}"


def finished(results: pa.Table) -> list[Row]:
    """The rows of blocks that are no failures."""
    rows = results.to_pylist()
    return [row for row in rows if row["status"] == "ok" and row["set"] != TRAINING]


def trained(results: pa.Table) -> list[Row]:
    """The rows of networks that were trained, in the order of scenario, level, model and seed."""
    rows = [row for row in results.to_pylist() if row["status"] == "ok" and row["set"] == TRAINING]
    names = ("scenario", "level", "model", "model_seed")
    return sorted(rows, key=lambda row: [row[name] for name in names])


def speedup(group: Group, found: Iterable[Group]) -> float | None:
    """How many times the processor time of the same steps without a network; None without both."""
    if group.model is None:
        return None
    for other in found:
        same = (other.scenario, other.level, other.set, other.steps, other.model)
        if same == (group.scenario, group.level, group.set, group.steps, None):
            return other.cpu_per_1000 / group.cpu_per_1000
    return None


def left_open(rows: Iterable[Row]) -> dict[tuple[Any, ...], int]:
    """How many verdicts each network left open: by scenario, level, model and its seed."""
    found: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = row["scenario"], row["level"], row["model"], row["model_seed"]
        found[key] = found.get(key, 0) + row["inconclusive"]
    return found


def groups(rows: Iterable[Row]) -> list[Group]:
    """The rows' groups, in the order of scenario, level, set, network and steps."""

    def key(row: Row) -> tuple[Any, ...]:
        place = LEVELS.index(row["level"])
        return row["scenario"], place, row["set"], row["model"] or "", row["steps"]

    found = []
    sums = ("count", "inside", "outside", "inconclusive", "by_solver", "certified", "refused",
            "cpu_seconds")  # fmt: skip
    for (scenario, place, name, model, steps), some in itertools.groupby(
        sorted(rows, key=key), key
    ):
        members = list(some)
        total = {column: sum(row[column] for row in members) for column in sums}
        found.append(Group(scenario, LEVELS[place], name, model or None, steps, **total))
    return found


def contradictions(folder: RunFolder, rows: Iterable[Row]) -> tuple[int, int]:
    """Verdicts of the same behaviours that cannot both be right, and how many were compared.

    The same behaviour with other steps, or at another level: outside one is outside those above.
    """

    def key(row: Row) -> tuple[str, str]:
        return row["scenario"], row["content"]

    wrong = compared = 0
    for _, some in itertools.groupby(sorted(rows, key=key), key):
        members = list(some)
        if len(members) < 2:
            continue
        least, most = _outside_from(folder, members), _inside_up_to(folder, members)
        wrong += int((most >= least).sum())
        compared += len(least)
    return wrong, compared


def _outside_from(folder: RunFolder, rows: list[Row]) -> Array:
    """The lowest level's place that each behaviour of these rows was found outside of."""
    found = [
        np.where(verdicts(folder, row) == "outside", LEVELS.index(row["level"]), len(LEVELS))
        for row in rows
    ]
    return np.min(found, axis=0)


def _inside_up_to(folder: RunFolder, rows: list[Row]) -> Array:
    """The highest level's place that each was found inside of; -1 for none."""
    found = [
        np.where(verdicts(folder, row) == "inside", LEVELS.index(row["level"]), -1) for row in rows
    ]
    return np.max(found, axis=0)


def verdicts(folder: RunFolder, row: Row) -> Array:
    """The verdicts of a row's table, (N,) of text."""
    return np.array(folder.read_table(row["verdicts"])["verdict"].to_pylist())
