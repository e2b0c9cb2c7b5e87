"""What a study's rows and tables say when put together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.results.folder import RunFolder
from pipeline.studies.bell.blocks import FILE, PLANE
from pipeline.studies.bell.rows import TRAINING

Array = np.ndarray
Row = dict[str, Any]

# Each level's set of behaviours lies in the one before.
LEVELS = ("1", "1+AB", "2", "3")
# What stands for the set where behaviours of all sets are put together.
ALL = "all sets"
# From the easiest set to the hardest.
_SETS = ("U", "N", "B", PLANE, FILE)


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


@dataclass(frozen=True)
class Answer:
    """What a level and a kind of network come to.

    `whole`: all sets together with the most steps; `parts`: each set with each number of steps;
    `speedup`: how many times faster than without a network, None where that cannot be said.
    """

    whole: Group
    parts: dict[tuple[str, int], Group]
    speedup: float | None

    @property
    def title(self) -> str:
        """Scenario and level, and where the steps start."""
        start = "cold" if self.whole.model is None else f"network {self.whole.model}"
        return f"{self.whole.scenario} {self.whole.level}, {start}"

    def open_share(self, name: str, steps: int) -> float | None:
        """What so many steps leave open of a set, of 1; None where that was not asked."""
        part = self.parts.get((name, steps))
        return None if part is None else 1.0 - part.decided_share


def answers(rows: list[Row]) -> list[Answer]:
    """One for each scenario, level and kind of network; seeds of networks are put together."""
    last = max((row["steps"] for row in rows), default=0)
    whole = groups([{**row, "set": ALL} for row in rows if row["steps"] == last])
    parts = groups(rows)

    def of(one: Group) -> dict[tuple[str, int], Group]:
        kind = one.scenario, one.level, one.model
        return {
            (part.set, part.steps): part
            for part in parts
            if (part.scenario, part.level, part.model) == kind
        }

    return [Answer(one, of(one), speedup(one, whole)) for one in whole]


def asked(found: Iterable[Answer]) -> list[tuple[str, int]]:
    """Of which sets and steps answers tell: the hardest set with the fewest, each with the most."""
    there = {key for answer in found for key in answer.parts}
    if not there:
        return []
    sets = sorted({name for name, _ in there}, key=_SETS.index)
    steps = sorted({count for _, count in there})
    hardest = max((name for name in sets if name != PLANE), key=_SETS.index, default=PLANE)
    few = [(hardest, steps[0])] if len(steps) > 1 else []
    return few + [(name, steps[-1]) for name in sets]


def findings(results: pa.Table) -> list[tuple[str, str]]:
    """Lines of the terminal, a head and words: all verdicts, then the answers one by one."""
    rows = finished(results)
    if not rows:
        return []
    total = {name: sum(row[name] for row in rows) for name in ("count", "certified", "refused")}
    exact = f"{total['refused']} of {total['certified']:,} refused by rational arithmetic"
    found = answers(rows)
    words = f"{total['count']:,}, each decided one with a proof; {exact}"
    told = asked(found)
    return [("verdicts", words), *(("level", _line(answer, told)) for answer in found)]


def _line(answer: Answer, told: Iterable[tuple[str, int]]) -> str:
    shares = ((name, steps, answer.open_share(name, steps)) for name, steps in told)
    left = ", ".join(
        f"{share:.2%} of {name} with {steps} steps"
        for name, steps, share in shares
        if share is not None
    )
    cost = f"{1e3 * answer.whole.cpu_per_1000:.1f} µs each"
    saved = "" if answer.speedup is None else f", {answer.speedup:.2f} times faster than cold"
    return f"{answer.title}: open {left}; {cost}{saved}"


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
        least, most = _enclosed(folder, members)
        wrong += int((most >= least).sum())
        compared += len(least)
    return wrong, compared


def _enclosed(folder: RunFolder, rows: list[Row]) -> tuple[Array, Array]:
    """The lowest level's place that each behaviour of these rows was found outside of, (N,).

    And the highest that it was found inside of, (N,); the number of levels, and -1, for none.
    """
    least = np.full(rows[0]["count"], len(LEVELS))
    most = np.full(rows[0]["count"], -1)
    for row in rows:
        verdict, place = verdicts(folder, row), LEVELS.index(row["level"])
        least = np.where(verdict == "outside", np.minimum(least, place), least)
        most = np.where(verdict == "inside", np.maximum(most, place), most)
    return least, most


def verdicts(folder: RunFolder, row: Row) -> Array:
    """The verdicts of a row's table, (N,) of text."""
    table = folder.read_table(row["verdicts"], ["verdict"])
    return np.array(table["verdict"].to_pylist())
