"""How paths become tasks, and how progress is counted."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from pipeline.sweeps.dispatch import AHEAD, BATCH_MOST, TaskOptions, _Cluster, batches
from pipeline.sweeps.events import UnitLost
from pipeline.sweeps.progress import Tally
from pipeline.sweeps.worker.steps import ProblemDone


@dataclass(frozen=True)
class Short:
    number: int


def sizes(count: int, slots: int, seconds: float) -> list[int]:
    specs = [Short(k) for k in range(count)]
    grouped = batches(specs, slots, lambda spec: seconds)
    assert [spec for batch in grouped for spec in batch] == specs
    return [len(batch) for batch in grouped]


@pytest.mark.parametrize(
    ("count", "slots", "seconds", "expected"),
    [
        (5, 2, 10.0, [1] * 5),
        (5, 2, 0.001, [2, 2, 1]),
        (8, 2, 0.2, [2, 2, 2, 2]),
        (0, 2, 0.2, []),
        (3, 100, 0.001, [1, 1, 1]),
        (2 * BATCH_MOST + 1, 1, 0.0, [BATCH_MOST, BATCH_MOST, 1]),
    ],
)
def test_short_paths_share_tasks_but_every_slot_gets_one(count, slots, seconds, expected):
    assert sizes(count, slots, seconds) == expected


def done(trials: int, failed: int, gap: float | None) -> ProblemDone:
    return ProblemDone("p", "s", trials, failed, gap, 0.0, None, 1.0, 0.1, 0.0, 0.0, "admm", 0.0)


def test_a_tally_counts_trials_failures_and_the_best_gap():
    tally = Tally(total=30, before=10)
    assert tally.text() == ""
    tally.add(done(8, 0, 0.02))
    tally.add(done(8, 8, None))
    tally.add(done(2, 0, 0.0))
    tally.add(done(1, 0, 0.5))
    assert (tally.done, tally.failed, tally.best_gap) == (29, 8, 0.0)
    assert tally.text() == "8 failed, best gap 0 %"
    tally.add(UnitLost("p", "the worker died"))
    tally.add(done(8, 0, None))
    assert tally.done == 30
    assert tally.text() == "8 failed, 1 paths lost, best gap 0 %"


@dataclass(frozen=True)
class Large:
    estimated_bytes: float


def nodes(*resources: dict[str, float]) -> list[dict[str, object]]:
    return [{"Alive": True, "Resources": one} for one in resources]


def test_what_is_asked_of_a_cluster_follows_its_size(monkeypatch, caplog):
    found = nodes({"CPU": 4.0, "memory": 8e9}, {"CPU": 2.0, "memory": 2e9}, {"memory": 1e9})
    found.append({"Alive": False, "Resources": {"CPU": 64.0, "memory": 1e12}})
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: found))
    cluster = _Cluster(TaskOptions(cpus=2))
    assert cluster.slots == 3
    assert cluster.in_flight() == 6 + AHEAD
    assert cluster.memory([Large(1e9), Large(3e9)]) == 3_000_000_000
    # More than any node has would wait for ever.
    assert cluster.memory([Large(1e11)]) == 8_000_000_000
    assert caplog.text == ""

    monkeypatch.setattr("pipeline.sweeps.dispatch.RESIZE", 0.0)
    found.extend(nodes({"CPU": 94.0, "memory": 1e9}))
    assert cluster.in_flight() == 100 + AHEAD

    told = _Cluster(TaskOptions(cpus=100, memory=5e8, max_in_flight=7))
    assert "no node has the 100 CPUs that a task asks for" in caplog.text
    assert (told.slots, told.in_flight()) == (1, 7)
    assert told.memory([Large(1e11)]) == 500_000_000


def test_an_empty_cluster_still_gets_tasks_for_an_autoscaler_to_see(monkeypatch):
    one = nodes({"node:head": 1.0})
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(nodes=lambda: one))
    cluster = _Cluster(TaskOptions())
    assert cluster.in_flight() == 2 + AHEAD
    assert cluster.memory([Large(1e9)]) is None
