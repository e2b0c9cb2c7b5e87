"""Blocks of a fixed number of rows, read from row groups and preprocessed: what an actor holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.datasets.blocks.row_groups import Columns, RowGroups, RowReader, checksum
from pipeline.datasets.blocks.targets import TargetReading
from qnn.errors import InputError
from qnn.features.preprocessing import Preprocessing
from qnn.numerics.batches import ROWS, Batch, Batches
from qnn.numerics.blocks import Combine, P, Span, Work, tree_sum


@dataclass(frozen=True)
class BlockTable:
    """Which rows each block has, and what is read of them; a small value for every actor.

    ``cuts`` (blocks + 1): the first row of each, and the number of all. Blocks are cut by rows, not
    by files, so that how rows lie in files changes nothing.
    """

    groups: RowGroups
    names: tuple[str, ...]
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, groups: RowGroups, names: tuple[str, ...], count: int) -> BlockTable:
        """As equal blocks as there can be; fewer where there are fewer rows."""
        n = groups.rows
        count = min(count, n)
        return cls(groups, names, tuple(n * k // count for k in range(count + 1)))

    @classmethod
    def listed(cls, groups: RowGroups, names: tuple[str, ...], rows: list[int]) -> BlockTable:
        """The blocks that a certificate lists. InputError where the rows are not as many."""
        cuts = np.cumsum([0, *rows]).tolist()
        if cuts[-1] != groups.rows:
            raise InputError(f"the data have {groups.rows} rows, not {cuts[-1]}")
        return cls(groups, names, tuple(cuts))

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.cuts) - 1


@dataclass(frozen=True)
class Reading:
    """What raw columns become: a matrix and targets.

    ``checksums``: of each block's raw rows, where the next pass is to compare them.
    """

    preprocessing: Preprocessing
    target: TargetReading
    checksums: tuple[int, ...] = ()

    def __call__(self, columns: Columns) -> Batch:
        """X (k, d) and y (k,)."""
        y = self.target(columns[self.target.name])
        names = {column.name for column in self.preprocessing.layout.columns}
        table = {name: columns[name] for name in columns if name in names}
        return self.preprocessing.transform(table), y


class BlockReader:
    """Does work on blocks, one after the other; keeps what was read where ``keep`` bytes allow."""

    def __init__(self, table: BlockTable, keep: float = 0.0) -> None:
        self.table, self.keep = table, keep
        self._reader: RowReader | None = None
        self._kept: dict[int, list[Batch]] = {}
        self._held = 0.0

    def reduce(self, work: Work[P], combine: Combine[P], span: Span, reading: Reading | None) -> P:
        """The sum over a span of the tree; without a reading the work gets raw columns."""
        return tree_sum(span, lambda block: self._work(work, block, reading), combine)

    def _work(self, work: Work[P], block: int, reading: Reading | None) -> P:
        try:
            return work(block, self._rows(block, reading))
        except InputError as error:
            if str(error).startswith("block "):
                raise
            raise InputError(f"block {block}: {error}") from None

    def _rows(self, block: int, reading: Reading | None) -> Any:
        if reading is None:
            return lambda: self._raw(block)
        if block in self._kept:
            return self._kept[block]
        return self._read(block, reading)

    def _raw(self, block: int) -> Iterator[Columns]:
        if self._reader is None:
            self._reader = RowReader(self.table.groups, self.table.names)
        return self._reader.rows(*self.table.cuts[block : block + 2])

    def _read(self, block: int, reading: Reading) -> Batches:
        first, last = self.table.cuts[block : block + 2]
        size = 8.0 * (last - first) * (reading.preprocessing.layout.d + 1)
        if self._held + size > self.keep:
            return self._batches(block, reading)
        self._held += size
        self._kept[block] = list(self._batches(block, reading)())
        return self._kept[block]

    def _batches(self, block: int, reading: Reading) -> Callable[[], Iterator[Batch]]:
        def read() -> Iterator[Batch]:
            found = 0
            for columns in self._raw(block):
                found = checksum(columns, found) if reading.checksums else found
                for start in range(0, len(next(iter(columns.values()))), ROWS):
                    rows = slice(start, start + ROWS)
                    yield reading({name: values[rows] for name, values in columns.items()})
            if reading.checksums and found != reading.checksums[block]:
                raise InputError(
                    f"block {block} has changed since the preprocessing was fitted to it (CRC-32 "
                    "differs): start again in a new folder once nothing writes to them"
                )

        return read
