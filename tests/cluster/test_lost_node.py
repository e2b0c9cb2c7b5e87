"""A node that is killed at work, with actors on it that send each other sums: the same bits."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qnn.numerics.batches import Batches, row_blocks
from qnn.numerics.blocks import Blocks
from tests.cluster.ray_nodes import RayNodes

pytestmark = pytest.mark.slow
SECONDS = 400


class Wide:
    """Sums of more than 100 kB, which Ray leaves on the node where they were made."""

    def __call__(self, index: int, batches: Batches) -> np.ndarray:
        return np.tile(sum(X.T @ y for X, y in row_blocks(batches)), 10_000)


def bits(blocks: Blocks) -> list[bytes]:
    from tests.pipeline.sweeps.cluster.test_block_actors import solved

    return [*solved(blocks), blocks.reduce(Wide(), np.add).tobytes()]


def drive(address: str, folder: str) -> None:
    """In a process of its own: solve over and over until actors have moved, and once more."""
    from pipeline.datasets.blocks.reader import BlockTable
    from pipeline.datasets.blocks.row_groups import RowGroups
    from pipeline.sweeps.cluster.block_actors import TableBlocks, actor_blocks
    from pipeline.sweeps.cluster.session import ray_session
    from tests.pipeline.sweeps.cluster.test_block_actors import write

    groups = RowGroups.of(write(Path(folder), 20_000))
    table = BlockTable.of(groups, groups.columns, 9)
    alone = bits(TableBlocks(table))
    with ray_session(address, None):
        deadline = time.monotonic() + SECONDS
        # Ray spreads actors over the nodes that it has seen so far.
        while not moved(lambda: actor_blocks(table, 4, fan=2), alone, deadline):
            time.sleep(1.0)


def moved(made: Callable[[], Any], alone: Any, deadline: float) -> bool:
    """Solve until actors have moved, if they are on two nodes to begin with."""
    import ray

    with made() as blocks:

        def nodes() -> set[str]:
            return {ray.get(actor.node.remote()) for actor in blocks.actors}

        assert time.monotonic() < deadline
        begun = nodes()
        if len(begun) < 2:
            return False
        assert bits(blocks) == alone
        print("on", len(begun), flush=True)
        while nodes() == begun:
            assert bits(blocks) == alone
            assert time.monotonic() < deadline
        assert bits(blocks) == alone
        print("moved", len(nodes() - begun), len(nodes()), flush=True)
        return True


def test_the_bits_are_the_same_after_a_killed_node(cluster: RayNodes, tmp_path: Path) -> None:
    second = cluster.add()
    deadline = time.monotonic() + SECONDS
    while cluster.nodes() < 2:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    call = "import sys; from tests.cluster.test_lost_node import drive; drive(*sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", call, cluster.address, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**cluster.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on 2\n"
    # In the middle of some pass.
    time.sleep(0.7)
    cluster.kill(second)
    rest, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    # Ray says on the same stream, before or after, that it lost a raylet.
    assert "moved 0 1\n" in rest
