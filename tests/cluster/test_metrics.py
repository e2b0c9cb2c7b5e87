"""Metrics of a running sweep, scraped from a real node's endpoint."""

import re
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.cluster.ray_nodes import BIN, RayNodes
from tests.pipeline.small import long_sweep

pytestmark = pytest.mark.slow

PATIENCE = 200
# Of this test alone: the session's cluster has run other sweeps, whose counters it still tells.
NAME = "metered"


def total(text: str, name: str) -> float:
    found = re.findall(rf'^{name}{{[^}}]*sweep="{NAME}"[^}}]*}} ([0-9.e+]+)$', text, re.MULTILINE)
    return sum(map(float, found))


def scrape(cluster: RayNodes) -> str:
    """What the node tells; nothing while its agent is still starting."""
    headers = {"Authorization": f"Bearer {cluster.token}"}
    try:
        return requests.get(cluster.metrics, headers=headers, timeout=30).text
    except requests.exceptions.ConnectionError:
        return ""


def test_a_running_sweep_is_seen_by_prometheus_and_named_in_the_dashboard(
    cluster: RayNodes, tmp_path: Path
) -> None:
    command = [BIN / "qnn", "sweep", long_sweep(tmp_path, name=NAME), "--out", tmp_path / "out"]
    sweep = subprocess.Popen(
        [*command, "--address", cluster.address],
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    headers = {"Authorization": f"Bearer {cluster.token}"}
    text, names, deadline = "", set(), time.monotonic() + PATIENCE
    while total(text, "ray_qnn_trials_done_total") < 3 and time.monotonic() < deadline:
        time.sleep(1)
        text = scrape(cluster)
        # The cluster knows tasks of other tests too, and tells a hundred where none says more.
        tasks = requests.get(
            f"{cluster.dashboard}/api/v0/tasks", {"limit": 10_000}, headers=headers, timeout=30
        )
        names |= {task["name"] for task in tasks.json()["data"]["result"]["result"]}
        if sweep.poll() is not None:
            break
    _, errors = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 0, errors
    assert 3 <= total(text, "ray_qnn_trials_done_total") <= 37, text[-2000:]
    assert total(text, "ray_qnn_relaxation_seconds_count") >= 3
    assert total(text, "ray_qnn_certified_gap_sum") > 0
    # Short paths share a task, which is named after the first.
    assert any(name.startswith("breast_cancer fold-00: 3 betas") for name in names), names
