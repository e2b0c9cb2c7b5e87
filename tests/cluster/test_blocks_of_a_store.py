"""Blocks from a real S3-compatible server that is killed in mid-pass and is away for a minute."""

import threading
import time
from pathlib import Path

import pytest

from pipeline.datasets.blocks.reader import BlockTable
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.results.folder import RunFolder
from pipeline.sweeps.cluster.block_actors import TableBlocks
from tests.cluster.swift import Swift
from tests.pipeline.sweeps.cluster.test_block_actors import solved, write

pytestmark = pytest.mark.slow
AWAY = 60.0


class Disturbed(TableBlocks):
    """At the third block of the second pass the server dies; it is started again a minute later."""

    passes = 0

    def __init__(self, table: BlockTable, swift: Swift) -> None:
        super().__init__(table)
        self.swift, self.back = swift, threading.Timer(AWAY, swift.start)

    def reduce(self, work, combine):
        self.passes += 1

        def disturbed(index, rows):
            if (self.passes, index) == (2, 2):
                self.swift.kill()
                self.back.start()
            return work(index, rows)

        return super().reduce(disturbed, combine)


def test_a_store_that_is_away_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = RowGroups.of(write(tmp_path, 20_000))
    swift = Swift(tmp_path / "swift")
    try:
        for name, value in swift.credentials.items():
            monkeypatch.setenv(name, value)
        place = swift.uri("qnn/rows")
        RunFolder.open(place).write("rows.parquet", Path(local.source).read_bytes())
        groups = RowGroups.of(place)
        blocks = Disturbed(BlockTable.of(groups, groups.columns, 9), swift)
        begun = time.monotonic()
        assert solved(blocks) == solved(TableBlocks(BlockTable.of(local, local.columns, 9)))
        assert time.monotonic() - begun > AWAY
        blocks.back.join()
    finally:
        swift.kill()
