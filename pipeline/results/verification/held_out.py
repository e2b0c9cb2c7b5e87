"""Metrics of rows held out, measured again where the sweep's source can be read.

The folder has no such rows: the study reads them. A source that cannot be read, or that gives other
rows than the run had, leaves the metrics unchecked, and a line says so and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.configuration.settings import SweepConfig
from pipeline.results.folder import CONFIG_FILE
from pipeline.results.record import PARTS, NetworkRow
from pipeline.results.verification.measured import (
    RELATIVE,
    Known,
    calibrated,
    check_metrics,
    metrics_of,
)
from pipeline.results.verification.verdict import Check, Failure
from qnn.errors import InputError
from qnn.features.preprocessing import Preprocessing
from qnn.networks.quantized import QuantizedNetwork

Columns = Mapping[str, np.ndarray]
MEASURED = "validation and test metrics"


@dataclass(frozen=True, eq=False)
class ShardRows:
    """A shard as its source gives it now.

    `X` (n, d) and `y`, (n,) or (n, C): its training matrix. `parts`: the raw columns and the raw
    target of "train", "validation" and "test".
    """

    X: np.ndarray
    y: np.ndarray
    parts: Mapping[str, tuple[Columns, np.ndarray]]


class Source(Protocol):
    """The source of a sweep, read again."""

    def rows_of(self, row: NetworkRow) -> ShardRows:
        """The rows that a network was made and measured on.

        Raises InputError where they cannot be had, or are not those of its run.
        """


Read = Callable[[SweepConfig], Source]


class HeldOut:
    """What became of the metrics of rows held out: how many were measured again, and why not all.

    `source`: None where none is to be read, or `config` is none that this version reads.
    """

    def __init__(self, read: Read | None, config: SweepConfig | None) -> None:
        self.source = None if read is None or config is None else read(config)
        self.measured = self.unknown = 0
        self.reason = f"no {CONFIG_FILE} that this version reads names their source"

    def check(
        self, row: NetworkRow, network: QuantizedNetwork, X: np.ndarray, y: np.ndarray
    ) -> None:
        """Measure a network whose training matrix X (n, d) and targets y are the folder's."""
        if self.source is None:
            self.unknown += 1
            return
        try:
            shard = self.source.rows_of(row)
            if not (np.array_equal(shard.X, X) and np.array_equal(shard.y, y)):
                raise InputError(f"the source gives another {row.identity.data_file} now")
        except InputError as error:
            self.unknown += 1
            self.reason = str(error)
            return
        _check_parts(row, network, X, y, shard)
        self.measured += 1

    @property
    def verdict(self) -> Check:
        """A line on the file that names the source."""
        if not self.unknown and self.measured:
            text = f"{MEASURED} measured again on its source, {self.measured} networks"
        elif self.measured:
            text = (
                f"{MEASURED} of {self.measured} networks measured again on its source, of "
                f"{self.unknown} not checked: {self.reason}"
            )
        else:
            text = f"{MEASURED} not checked: {self.reason}"
        return Check(CONFIG_FILE, True, text)


def _check_parts(
    row: NetworkRow, network: QuantizedNetwork, X: np.ndarray, y: np.ndarray, shard: ShardRows
) -> None:
    preprocessing = network.preprocessing
    if preprocessing is None:
        raise Failure("has no preprocessing")
    columns, target = shard.parts["train"]
    if not _near(_transformed(preprocessing, columns), X):
        raise Failure("its preprocessing does not make its training matrix of its source's rows")
    if not _near(preprocessing.target.decode(y), target):
        raise Failure("its preprocessing names other targets than its source")
    calibration = calibrated(network, X, y)
    for part in PARTS[1:]:
        columns, target = shard.parts[part]
        if len(target):
            known = Known(_transformed(preprocessing, columns), target, calibration)
            check_metrics(row, network, part, known)
        elif any(row.columns[column] is not None for column in metrics_of(part)):
            raise Failure(f"its row has {part} metrics, its source no {part} rows")


def _transformed(preprocessing: Preprocessing, columns: Columns) -> np.ndarray:
    try:
        return preprocessing.transform(columns)
    except (KeyError, TypeError) as error:
        raise Failure(f"its preprocessing does not take its source's columns ({error})") from error


def _near(found: np.ndarray, known: np.ndarray) -> bool:
    """Equal labels, or numbers up to rounding."""
    if found.shape != known.shape:
        return False
    if known.dtype.kind == "f" and found.dtype.kind == "f":
        size = float(np.max(np.abs(known), initial=1.0))
        return bool(np.all(np.abs(found - known) <= RELATIVE * size))
    return bool(np.all(found == known))
