"""Actors that share blocks give the bits of one process, also when one is killed at work."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.blocks.reader import BlockReader, BlockTable, Reading
from pipeline.datasets.blocks.row_groups import RowGroups
from pipeline.datasets.blocks.statistics import StatisticsPass, fit, merge_tables
from pipeline.datasets.blocks.targets import TargetReading
from pipeline.sweeps.cluster.block_actors import (
    ActorBlocks,
    TableBlocks,
    _BlockActor,
    actor_blocks,
)
from pipeline.sweeps.cluster.session import ray_session
from qnn.certificates.blockwise import verify_blocks
from qnn.errors import InputError
from qnn.numerics.blocks import shares
from qnn.training.relaxation.blocks.compressed import compress_blocks
from qnn.training.relaxation.blocks.solve import solve_blocks


def write(folder: Path, rows: int) -> str:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 6))
    y = X[:, 0] * X[:, 1] - X[:, 2] ** 2 + 0.3 * rng.normal(size=rows)
    columns = {**{f"x{j}": X[:, j] for j in range(6)}, "c": rng.choice(list("ab"), rows), "y": y}
    path = str(folder / "rows.parquet")
    pq.write_table(pa.table(columns), path, row_group_size=rows // 7)
    return path


def solved(blocks: TableBlocks | ActorBlocks) -> list[bytes]:
    blocks.reading = None
    found = blocks.reduce(StatisticsPass("y", False), merge_tables)
    preprocessing = fit(found, "y", None)
    blocks.reading = Reading(preprocessing, TargetReading("y", preprocessing.target))
    compressed = compress_blocks(blocks)
    relaxed = solve_blocks(blocks, 0.1 * compressed.beta_max, first=compressed)
    assert verify_blocks(relaxed.certificate, blocks) >= relaxed.lower_bound
    return [preprocessing.to_json().encode(), relaxed.certificate.to_bytes(), relaxed.P.tobytes()]


def test_sums_of_neighbours_have_the_bits_of_one_sum(tmp_path):
    groups = RowGroups.of(write(tmp_path, 700))
    table = BlockTable.of(groups, groups.columns, 13)
    given = (StatisticsPass("y", False), merge_tables, None)
    alone = BlockReader(table).reduce(given[0], given[1], (0, 13), None)
    actor = _BlockActor(table, 0.0)
    for actors, fan in ((5, 2), (7, 3), (13, 8)):
        answers = [(owned, actor.reduce(given, owned)) for owned in shares(13, actors)]
        while len(answers) > 1:
            parts = [answers[k : k + fan] for k in range(0, len(answers), fan)]
            spans = [(part[0][0][0], part[-1][0][1]) for part in parts]
            merged = [
                actor.merge(given, span, *(answer for _, answer in part))
                for span, part in zip(spans, parts, strict=True)
            ]
            answers = list(zip(spans, merged, strict=True))
        ((_, answer),) = answers
        assert answer.parts == {(0, 13): alone}
        assert len(answer.seconds) == actors
        assert answer.size > 0


@pytest.mark.slow
def test_the_bits_are_the_same_for_any_number_of_actors_and_after_a_killed_one(tmp_path):
    groups = RowGroups.of(write(tmp_path, 20_000))
    table = BlockTable.of(groups, groups.columns, 9)
    alone = solved(TableBlocks(table))
    with ray_session(None, 2):
        # Only now: Ray reads as it is imported whether it takes a token.
        import ray

        for actors in (1, 2, 4):
            with actor_blocks(table, actors) as blocks:
                assert solved(blocks) == alone
        with actor_blocks(table, 5, fan=2) as blocks:
            assert solved(blocks) == alone
            assert len(blocks.traffic.seconds) == 5
        with actor_blocks(table, 2) as blocks:
            victim, _ = ray.get(blocks.actors[0].process.remote())
            killed = threading.Event()

            def kill() -> None:
                time.sleep(0.3)
                os.kill(victim, signal.SIGKILL)
                killed.set()

            threading.Thread(target=kill).start()
            while not killed.is_set():
                assert solved(blocks) == alone
            assert solved(blocks) == alone
            assert ray.get(blocks.actors[0].process.remote())[0] != victim
        damaged = Path(groups.files[0].path)
        damaged.write_bytes(damaged.read_bytes()[:-5000])
        for actors, fan in ((2, 8), (3, 2)):
            with (
                actor_blocks(table, actors, fan=fan) as blocks,
                pytest.raises(InputError, match=r"^block \d: .*row group . of .* cannot be read"),
            ):
                solved(blocks)
