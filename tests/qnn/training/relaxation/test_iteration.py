"""The loop of the iterative solvers, with a method that counts."""

from typing import Literal

import pytest

from qnn.training.relaxation.iteration import Method, iterate


class Counting(Method):
    """Steps of a given length; a verdict at an iteration."""

    def __init__(self, length: int = 1, at: int = 10**9, verdict: str = "solved") -> None:
        self.length, self.at, self.verdict = length, at, verdict
        self.calls: list[str] = []

    def step(self, left: int) -> int:
        self.calls.append(f"step {left}")
        return min(self.length, left)

    def check(self, iteration: int) -> Literal["solved", "stalled"] | None:
        self.calls.append(f"check {iteration}")
        if iteration < self.at:
            return None
        return "solved" if self.verdict == "solved" else "stalled"

    def prepare(self, iteration: int) -> None:
        self.calls.append(f"prepare {iteration}")


@pytest.mark.parametrize("verdict", ["solved", "stalled"])
def test_a_verdict_ends_it_before_anything_is_prepared(verdict: str) -> None:
    method = Counting(at=2, verdict=verdict)
    assert iterate(method, 5, lambda: False) == (verdict, 2)
    assert method.calls == ["step 5", "check 1", "prepare 1", "step 4", "check 2"]


def test_steps_of_many_iterations_stay_within_the_limit() -> None:
    method = Counting(length=4)
    assert iterate(method, 10, lambda: False) == ("iteration_limit", 10)
    assert [call for call in method.calls if call.startswith("step")] == [
        "step 10",
        "step 6",
        "step 2",
    ]


def test_a_late_start_still_makes_one_iteration() -> None:
    assert iterate(Counting(), 5, lambda: True) == ("time_limit", 1)


def test_a_verdict_counts_more_than_the_time_limit() -> None:
    assert iterate(Counting(at=1), 5, lambda: True) == ("solved", 1)
