"""How paths become tasks, and how progress is counted."""

from dataclasses import dataclass

import pytest

from pipeline.dispatch import BATCH_MOST, batches
from pipeline.progress import Tally
from pipeline.tasks import PathLost, ProblemDone


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
    return ProblemDone("p", "s", 1.0, 0.1, trials, failed, gap, 0.0, 0.0, "admm", 0.0, 0.0, None)


def test_a_tally_counts_trials_failures_and_the_best_gap():
    tally = Tally(total=30, before=10)
    assert tally.text() == ""
    tally.add(done(8, 0, 0.02))
    tally.add(done(8, 8, None))
    tally.add(done(2, 0, 0.0))
    tally.add(done(1, 0, 0.5))
    assert (tally.done, tally.failed, tally.best_gap) == (29, 8, 0.0)
    assert tally.text() == "8 failed, best gap 0 %"
    tally.add(PathLost("p", "the worker died"))
    tally.add(done(8, 0, None))
    assert tally.done == 30
    assert tally.text() == "8 failed, 1 paths lost, best gap 0 %"
