"""Enumerations on spare cores: whatever becomes of the helping tasks, the result is that of one."""

import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.sweeps.cluster import spare_cores
from pipeline.sweeps.cluster.spare_cores import scan_on_spare_cores, scan_part
from qnn.training.pricing.enumeration import enumerate_forms, enumerate_signs, scan_by_threads

COLUMNS = 20
spread = partial(scan_on_spare_cores, least=1)


def matrix() -> np.ndarray:
    A = np.random.default_rng(3).normal(size=(COLUMNS, COLUMNS))
    return np.round(A + A.T)  # integers: many ties


def same(one, other) -> None:
    for name in ("U", "V", "values", "upper_bound", "error", "complete"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@dataclass
class Cluster:
    """Ray as far as it is used here; `fate` decides what becomes of each task.

    It has no `cancel`: an interrupted worker may fail at every later task.
    """

    fate: str
    idle: float = 1.0
    handed_out: list = field(default_factory=list)

    def module(self):
        remote = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self.submit))
        return SimpleNamespace(
            put=lambda plan: plan,
            remote=lambda function: remote,
            available_resources=lambda: {"CPU": self.idle},
        )

    def submit(self, plan, heads, *wanted):
        future: Future = Future()
        self.handed_out.append(heads)
        if self.fate == "done":
            future.set_result(scan_part(plan, heads, *wanted))
        if self.fate == "lost":
            future.set_exception(RuntimeError("the worker died"))
        return SimpleNamespace(future=lambda: future)


@pytest.fixture
def cluster(monkeypatch):
    def make(fate: str, idle: float = 1.0) -> Cluster:
        made = Cluster(fate, idle)
        monkeypatch.setitem(sys.modules, "ray", made.module())
        return made

    return make


@pytest.mark.parametrize("enumerate_all", [enumerate_signs, enumerate_forms])
@pytest.mark.parametrize("fate", ["done", "lost", "waiting"])
def test_helping_tasks_change_nothing_but_the_time(cluster, fate, enumerate_all):
    M = matrix()
    alone = enumerate_all(M, floor=0.9 * enumerate_all(M).maximum, keep=40)
    tasks = cluster(fate)
    helped = enumerate_all(M, floor=0.9 * alone.maximum, keep=40, scanner=spread)
    same(alone, helped)
    assert len(alone.values) > 1
    assert tasks.handed_out


def test_all_work_is_done_once(cluster):
    scanned = []

    class Best:
        plan = SimpleNamespace(d=COLUMNS, scan=lambda heads, *_: (heads, None))
        wanted = (0.0, 1, 0.0, 0.0)

        def scan(self, heads):
            scanned.append(heads)

        def take(self, heads, _):
            scanned.append(heads)

    for fate in ("done", "lost", "waiting"):
        scanned.clear()
        cluster(fate)
        assert spread(Best(), range(1000), None)
        assert sorted(head for heads in scanned for head in heads) == list(range(1000))


def test_a_busy_cluster_is_not_asked(cluster):
    tasks = cluster("waiting", idle=0.0)
    same(enumerate_signs(matrix(), scanner=spread), enumerate_signs(matrix()))
    assert not tasks.handed_out


def test_short_scans_stay_in_the_task(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    same(enumerate_signs(matrix(), scanner=scan_on_spare_cores), enumerate_signs(matrix()))


def test_the_deadline_holds(cluster):
    tasks = cluster("waiting")
    found = enumerate_signs(matrix(), scanner=spread, deadline=time.monotonic() - 1.0)
    assert not found.complete
    assert found.upper_bound >= np.abs(matrix()).sum()
    assert len(tasks.handed_out) == 2


def test_parts_of_a_long_enumeration_end_within_seconds(cluster, monkeypatch):
    monkeypatch.setattr(spare_cores, "MOST_HEADS", 3)
    tasks = cluster("waiting")
    same(enumerate_signs(matrix(), scanner=spread), enumerate_signs(matrix()))
    assert max(len(heads) for heads in tasks.handed_out) == 3


def proof(_: int) -> tuple[np.ndarray, np.ndarray]:
    """An enumeration in a task, with help as soon as there is any."""
    spare_cores.LOOK = 0.0
    found = enumerate_signs(matrix(), floor=0.0, keep=40, scanner=spread)
    return found.U, found.values


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_tasks_of_ray_help_each_other_and_do_not_wait_for_each_other(ray_cluster, tasks):
    """On two CPUs: one spare, none, and more proofs than CPUs."""
    import ray

    alone = enumerate_signs(matrix(), floor=0.0, keep=40, scanner=scan_by_threads)
    remote = ray.remote(proof).options(num_cpus=1)
    for U, values in ray.get([remote.remote(k) for k in range(tasks)], timeout=120):
        assert np.array_equal(U, alone.U)
        assert np.array_equal(values, alone.values)
