"""What the rows say when put together: a group is one network at one radius."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """The rows of one network, norm and radius: how many, and of which kind."""

    network: str
    norm: str
    radius: float
    unit: str
    count: int
    correct: int
    proven: int
    held: int
    nodes: int
    cpu_seconds: float

    @property
    def shares(self) -> dict[str, float]:
        """Of 1: correct, provably correct, correct against the attack."""
        names = ("correct", "proven", "held")
        return {name: getattr(self, name) / self.count for name in names}


def finished(results: pa.Table) -> list[Row]:
    """The rows that are no failures."""
    return [row for row in results.to_pylist() if row["status"] == "ok"]


def groups(rows: Iterable[Row]) -> list[Group]:
    """The groups in the order of network, norm and radius."""

    def key(row: Row) -> tuple[Any, ...]:
        return row["network"], row["norm"], row["radius"], row["unit"]

    found = []
    asked = sorted((row for row in rows if not row["largest"]), key=key)
    for (network, norm, radius, unit), some in itertools.groupby(asked, key):
        members = list(some)
        found.append(
            Group(
                network,
                norm,
                radius,
                unit,
                count=len(members),
                correct=sum(row["correct"] for row in members),
                proven=sum(row["verdict"] == "robust" for row in members),
                held=sum(row["correct"] and row["verdict"] != "vulnerable" for row in members),
                nodes=sum(row["nodes"] for row in members),
                cpu_seconds=sum(row["cpu_seconds"] for row in members),
            )
        )
    return found


@dataclass(frozen=True)
class Reach:
    """How far the rows of one network may move in one norm, in radii or their factors, ascending.

    certified (n,): proven of each row, 0 where nothing is, or its answer is wrong; attacked (n,):
    where another answer was found, infinite where none was.
    """

    network: str
    norm: str
    unit: str
    certified: tuple[float, ...]
    attacked: tuple[float, ...]

    @property
    def medians(self) -> tuple[float, float]:
        """What half of the rows, or more, reach: proven, and not attacked."""
        middle = (len(self.certified) - 1) // 2
        return self.certified[middle], self.attacked[middle]

    def shares(self, radii: Iterable[float]) -> tuple[list[float], list[float]]:
        """Of 1, at each radius: rows that are proven at it, and those not attacked at it.

        A largest radius of 0 proves nothing.
        """
        listed, count = list(radii), len(self.certified)
        proven = [sum(0.0 < own >= r for own in self.certified) / count for r in listed]
        return proven, [sum(r < own for own in self.attacked) / count for r in listed]


def reaches(rows: Iterable[Row]) -> list[Reach]:
    """Where the largest radii were asked for: those of each network and norm."""

    def key(row: Row) -> tuple[Any, ...]:
        return row["network"], row["norm"], row["unit"]

    found = []
    asked = sorted((row for row in rows if row["largest"]), key=key)
    for (network, norm, unit), some in itertools.groupby(asked, key):
        members = list(some)
        certified = sorted(row["radius"] for row in members)
        ends = [row["attacked_radius"] for row in members]
        attacked = sorted(math.inf if end is None else end for end in ends)
        found.append(Reach(network, norm, unit, tuple(certified), tuple(attacked)))
    return found


@dataclass(frozen=True)
class Choosable:
    """A setting of a sweep beside what its network proves.

    proven: by radius, of 1; certified: the largest radius that half of the rows reach, None where
    it was not asked for.
    """

    network: str
    norm: str
    beta: float
    beta_fraction: float | None
    width: int
    alphabet: str
    correct: float
    proven: dict[float, float]
    certified: float | None


def choosables(rows: list[Row]) -> list[Choosable]:
    """Every setting and norm, the most robust first: by the largest radius, then smaller ones."""
    settings = {row["network"]: row for row in rows if row["width"] is not None}
    far = {(one.network, one.norm): one.medians[0] for one in reaches(rows)}
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups(rows):
        if group.network in settings:
            found.setdefault((group.network, group.norm), []).append(group)
    listed = []
    for (network, norm), some in found.items():
        own = settings[network]
        listed.append(
            Choosable(
                network, norm, own["beta"], own["beta_fraction"], own["width"], own["alphabet"],
                some[0].shares["correct"], {one.radius: one.shares["proven"] for one in some},
                far.get((network, norm)),
            )
        )  # fmt: skip
    return sorted(listed, key=lambda one: (one.norm, [-p for p in reversed(one.proven.values())]))
