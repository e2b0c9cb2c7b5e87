"""Workers and nodes that die in mid-solve: the sweep ends as if nothing had been."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.disturbed import (
    PATIENCE,
    Damage,
    damage,
    drive,
    many_paths,
    some_results,
    standing_cluster,
    wait_for,
    working,
)
from tests.pipeline.small import files_of

pytestmark = pytest.mark.slow
PATHS = 24


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    with drive(many_paths(home, PATHS), home / "run", "inline") as driver:
        assert driver.wait(PATIENCE) == 0
    return home / "run"


def test_workers_killed_in_mid_solve(tmp_path, undisturbed):
    out, killed = tmp_path / "run", 0
    with drive(many_paths(tmp_path, PATHS), out, "ray") as driver:
        wait_for(lambda: some_results(out))
        while killed < 3 and driver.poll() is None:
            for worker in working(driver.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
                killed += 1
                # Time for another to take its place, so that the next one dies at work as well.
                time.sleep(1.0)
        assert driver.wait(PATIENCE) == 0
    assert killed == 3
    assert damage("workers killed", killed, out, undisturbed) == Damage(3, 0, 0)
    assert files_of(out) == files_of(undisturbed)


def test_a_node_killed_in_mid_solve(tmp_path, undisturbed):
    out = tmp_path / "run"
    with standing_cluster(tmp_path) as cluster:
        cluster.tell("add")
        with drive(many_paths(tmp_path, PATHS), out, cluster.address) as driver:
            wait_for(lambda: some_results(out))
            cluster.tell("kill")
            assert driver.poll() is None
            assert driver.wait(PATIENCE) == 0
    assert damage("node killed", 1, out, undisturbed) == Damage(1, 0, 0)
    assert files_of(out) == files_of(undisturbed)
