"""What a study's rows say when put together: a point a model, method and budget."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A model by a method within a budget: means over the seeds; counts are of all layers.

    `kept`: the accuracy where there are labels, else the agreement with the float network, None
    where there are no classes.
    """

    model: str
    method: str
    budget: float
    seeds: int
    file_bytes: float
    float_bytes: float
    mean_bits: float
    divergence: float
    calibration_divergence: float | None
    agreement: float | None
    accuracy: float | None
    float_accuracy: float | None
    neurons: int
    optimal: int
    optimal_at_scale: int
    bounded: int
    bits_lagrangian_gap: float
    cpu_seconds: float | None

    @property
    def kept(self) -> float | None:
        """Accuracy, or else agreement."""
        return self.agreement if self.accuracy is None else self.accuracy

    @property
    def title(self) -> str:
        """Model, method, budget."""
        return f"{self.model}, {self.method}, {self.budget:g} bits"


def finished(results: pa.Table) -> list[Row]:
    """The rows that are no failures, by model, method, budget, seed and place in the network."""
    rows = [row for row in results.to_pylist() if row["status"] == "ok"]
    names = ("model", "method", "budget", "seed", "place")
    return sorted(rows, key=lambda row: tuple(row[name] for name in names))


def points(rows: Iterable[Row]) -> list[Point]:
    """A point a model, method and budget, of rows as `finished` gives them."""

    def key(row: Row) -> tuple[str, str, float]:
        return row["model"], row["method"], row["budget"]

    return [_point(*name, list(some)) for name, some in itertools.groupby(rows, key)]


def _point(model: str, method: str, budget: float, rows: list[Row]) -> Point:
    networks = list({row["path"]: row for row in rows}.values())

    def mean(name: str) -> Any:
        values = [row[name] for row in networks]
        return None if None in values else float(np.mean(values))

    weights = [row["inputs"] * row["neurons"] for row in rows]
    return Point(
        model,
        method,
        budget,
        len(networks),
        mean_bits=float(np.average([row["mean_bits"] for row in rows], weights=weights)),
        **{
            name: mean(name)
            for name in ("file_bytes", "float_bytes", "divergence", "calibration_divergence",
                         "agreement", "accuracy", "float_accuracy", "bits_lagrangian_gap",
                         "cpu_seconds")
        },
        **{
            name: sum(row[name] for row in rows)
            for name in ("neurons", "optimal", "optimal_at_scale", "bounded")
        },
    )  # fmt: skip
