"""A real cluster of two nodes: submit, watch, list, read, stop, submit again."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.results.verification import verify_paths
from tests.cluster.ray_nodes import RayNodes
from tests.pipeline.small import config_text, long_sweep, rows_of

pytestmark = pytest.mark.slow


def written(folder: Path, **changes: object) -> Path:
    file = folder / "small.yaml"
    file.write_text(config_text(folder, **changes))
    return file


def await_nodes(cluster: RayNodes, count: int) -> None:
    deadline = time.monotonic() + 120
    while cluster.nodes() != count:
        assert time.monotonic() < deadline, f"{cluster.nodes()} nodes, not {count}"
        time.sleep(1)


def test_a_sweep_is_submitted_once_watched_listed_and_read(
    cluster: RayNodes, tmp_path: Path
) -> None:
    second = cluster.add()
    await_nodes(cluster, 2)
    config, out = written(tmp_path), tmp_path / "out"
    address = ("--address", cluster.dashboard)

    first = cluster.qnn("submit", config, *address, "--out", out, "--wait")
    assert first.returncode == 0, first.stdout + first.stderr
    job = first.stdout.split()[0]
    assert re.fullmatch(r"qnn-small-[0-9a-f]{12}", job)
    assert "48/48 trials" in first.stdout
    assert first.stdout.splitlines()[-1].startswith(f"{job}  SUCCEEDED")
    assert all(check.ok for check in verify_paths([str(out)]))
    # The shipped package knows its version, though the nodes' own is not what ran.
    versions = set(pq.read_table(out / "results")["versions"].to_pylist())
    assert all('"qnn-sdp"' in text for text in versions)

    again = cluster.qnn("submit", config, *address, "--out", out, "--wait")
    assert again.returncode == 0
    told = f"{job} has finished already; results are in {out} (--again runs it anew)"
    assert again.stdout.splitlines()[0] == told

    listed = cluster.qnn("jobs", "list", *address).stdout.splitlines()
    assert [line.split()[:2] for line in listed if line.startswith(job)] == [[job, "SUCCEEDED"]]
    assert "last row: the chosen setting" in cluster.qnn("jobs", "logs", job, *address).stdout
    status = cluster.qnn("jobs", "status", job, *address).stdout
    assert re.search(r"^  trials +48$", status, re.MULTILINE)
    assert re.search(r"^  exit code +0$", status, re.MULTILINE)

    # The same sweep without a cluster gives the same rows.
    alone = tmp_path / "alone"
    assert (
        cluster.qnn("sweep", config, "--out", alone, "--address", cluster.address).returncode == 0
    )
    assert rows_of(out).equals(rows_of(alone))
    cluster.kill(second)


def test_a_stopped_job_goes_on_in_a_new_attempt(cluster: RayNodes, tmp_path: Path) -> None:
    def await_that(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, cluster.qnn("jobs", "logs", job, *address).stdout
            time.sleep(0.2)

    config = long_sweep(tmp_path, paths=36)
    out, address = tmp_path / "out", ("--address", cluster.dashboard)
    sent = cluster.qnn("submit", config, *address, "--out", out)
    assert sent.returncode == 0, sent.stderr
    job = sent.stdout.split()[0]
    assert f"qnn jobs logs {job} --follow" in sent.stdout

    # A command starts in seconds; before the first result there is time for this one.
    await_that((out / "sweep.lock").exists)
    twice = cluster.qnn("submit", config, *address, "--out", out)
    assert twice.stdout.startswith(f"{job} runs already (RUNNING); not submitted again")

    await_that(lambda: any((out / "results").glob("*.parquet")))
    stopped = cluster.qnn("jobs", "stop", job, *address)
    assert stopped.returncode == 0
    assert stopped.stdout.split()[:2] == [job, "STOPPED"]
    assert "interrupted (SIGTERM): what is finished is kept" in (
        cluster.qnn("jobs", "logs", job, *address).stdout
    )
    finished = {file.name for file in (out / "results").glob("*.parquet")}
    assert 0 < len(finished) < 36
    assert not (out / "sweep.lock").exists()
    assert cluster.qnn("jobs", "stop", job, *address).stdout.startswith("was over already")

    rest = cluster.qnn("submit", config, *address, "--out", out, "--wait")
    assert rest.returncode == 0, rest.stdout + rest.stderr
    assert rest.stdout.startswith(f"{job}.2 submitted")
    assert f"{len(finished)} of 36 paths are finished already" in rest.stdout
    assert len({row["trial"] for row in rows_of(out).to_pylist()}) == 36 * 3 + 1


def test_a_failing_job_hands_its_exit_code_on(cluster: RayNodes, tmp_path: Path) -> None:
    config = written(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sweep.yaml").write_text("name: another\n")
    address = ("--address", cluster.dashboard)
    failed = cluster.qnn("submit", config, *address, "--out", tmp_path / "out", "--wait")
    assert failed.returncode == 2, failed.stdout
    assert "error: " in failed.stdout
    assert "holds a sweep with another config" in failed.stdout
    assert cluster.token not in failed.stdout + failed.stderr


def test_without_the_token_nothing_is_told(cluster: RayNodes, tmp_path: Path) -> None:
    del cluster.environment["RAY_AUTH_MODE"]
    try:
        refused = cluster.qnn("jobs", "list", "--address", cluster.dashboard)
    finally:
        cluster.environment["RAY_AUTH_MODE"] = "token"
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: --address {cluster.dashboard}: the cluster wants a ")
    assert refused.stderr.count("\n") == 1
