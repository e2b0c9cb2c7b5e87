"""Which partitions are trained on and which judge, and the one table made of both.

The table is written into the run's own folder, so that a run means the same after its partitions
are gone. Its column `HOLD_OUT` marks the rows that judge: the sweep's test rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.configuration.reading import SweepConfig
from pipeline.configuration.retraining import (
    FractionOfNew,
    LastPartitions,
    RetrainConfig,
    RollingRows,
)
from pipeline.configuration.settings import HoldOut
from pipeline.datasets.sources import source_name
from pipeline.datasets.splitting import hold_out
from pipeline.results.folder import RunFolder, safe_name
from pipeline.retraining.partitions import beside, join, read_partition
from qnn.errors import InputError
from qnn.features.tables import shorten

HOLD_OUT = "qnn_hold_out"
INPUT = "input"


@dataclass(frozen=True)
class Selection:
    """Names of partitions in their order; one that is in both gives a fraction to the hold-out."""

    training: tuple[str, ...]
    hold_out: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """The rows of one run: `table` has the boolean column `HOLD_OUT`."""

    table: pa.Table
    training_rows: int
    hold_out_rows: int


def select(names: Sequence[str], new: Sequence[str], settings: RetrainConfig) -> Selection:
    """Choose among partitions in their order, the freshest last; `new` were never trained on.

    Raises `InputError` where nothing is left to train on.
    """
    rule = settings.hold_out
    if isinstance(rule, FractionOfNew):
        training = _windowed(names, settings)
        # Without anything new (the configuration changed) the freshest has to judge.
        judges = [name for name in training if name in new] or training[-1:]
        return Selection(tuple(training), tuple(judges))
    rest = names[: -rule.partitions]
    if not rest:
        raise InputError(
            f"data.source: {len(names)} partition{'s' if len(names) != 1 else ''}, and "
            f"retrain.hold_out keeps {rule.partitions} to judge with: nothing is left to train "
            "on; wait for more, or hold out a fraction"
        )
    return Selection(tuple(_windowed(rest, settings)), tuple(names[-rule.partitions :]))


def _windowed(names: Sequence[str], settings: RetrainConfig) -> list[str]:
    window = settings.window
    return list(names[-window.partitions :] if isinstance(window, LastPartitions) else names)


def build(config: SweepConfig, chosen: Selection, settings: RetrainConfig) -> Window:
    """Read the chosen partitions. Raises `InputError` where they do not fit together."""
    source, missing = config.data.source, config.data.missing_values
    names = [*chosen.training, *(name for name in chosen.hold_out if name not in chosen.training)]
    parts = [(name, read_partition(source, name, missing)) for name in names]
    if HOLD_OUT in parts[0][1].column_names:
        raise InputError(f"data.source: the column name {HOLD_OUT} is taken; rename the column")
    table = join(parts)
    marks = _marks(config, chosen, settings, parts)
    if isinstance(settings.window, RollingRows):
        keep = np.flatnonzero(marks | _newest(~marks, settings.window.rows))
        table, marks = table.take(pa.array(keep)), marks[keep]
    held = int(marks.sum())
    if not held:
        raise InputError(
            f"retrain.hold_out: the partitions that should judge ({shorten(chosen.hold_out)}) have "
            "no rows; fill or remove them"
        )
    table = table.append_column(HOLD_OUT, pa.array(marks))
    return Window(table, len(marks) - held, held)


def _marks(
    config: SweepConfig,
    chosen: Selection,
    settings: RetrainConfig,
    parts: Sequence[tuple[str, pa.Table]],
) -> np.ndarray:
    """Which rows of the joined table judge."""
    rule = settings.hold_out
    found = []
    for name, part in parts:
        marks = np.full(len(part), name in chosen.hold_out and name not in chosen.training)
        if isinstance(rule, FractionOfNew) and name in chosen.hold_out and len(part):
            rows = np.arange(len(part))
            _, out = hold_out(rows, _strata(part, config), rule.fraction, rule.seed)
            marks[out] = True
        found.append(marks)
    return np.concatenate(found)


def _strata(part: pa.Table, config: SweepConfig) -> np.ndarray:
    target = config.data.targets[0]
    if config.task == "regression" or target not in part.column_names:
        return np.zeros(len(part), dtype=np.int64)
    codes = part[target].combine_chunks().dictionary_encode().indices
    return np.asarray(codes.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _newest(rows: np.ndarray, count: int) -> np.ndarray:
    """Of the marked rows the last `count`."""
    newest = np.zeros(len(rows), dtype=bool)
    newest[np.flatnonzero(rows)[-count:]] = True
    return newest


def run_config(config: SweepConfig, folder: RunFolder) -> SweepConfig:
    """The sweep of a run: on the table in its folder, tested on the hold-out."""
    place = f"{INPUT}/{safe_name(source_name(config.data.source))}.parquet"
    data = config.data.model_copy(update={"source": beside(folder.location, place)})
    return config.model_copy(update={"data": data, "test": HoldOut(column=HOLD_OUT)})


def write_window(config: SweepConfig, window: Window, folder: RunFolder) -> None:
    """Write the table of a run where `run_config` points. Raises `StoreError`."""
    place = f"{INPUT}/{safe_name(source_name(config.data.source))}.parquet"
    folder.write_table(place, window.table)
