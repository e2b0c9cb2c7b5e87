"""What the rows say when put together: a group is one network at one radius."""

from __future__ import annotations

import itertools
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
    for (network, norm, radius, unit), some in itertools.groupby(sorted(rows, key=key), key):
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
