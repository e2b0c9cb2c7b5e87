"""A tree with helpers is that of one process, bit by bit, also where they are killed."""

import os
import signal
from collections.abc import Callable

import pytest

from qnn.moments.csp import MaxCSP, Processes, max_k_cut, rudy
from qnn.moments.csp.crew import Apart, Job, bound_apart
from qnn.moments.csp.forms import SignForm


class Here:
    """A crew of this process: bounds what is wanted at once, and loses some of it."""

    def __init__(self, room: int, lost: int = 0) -> None:
        self.room, self.lost = room, lost
        self.found: dict[bytes, Apart] = {}
        self.wanted = self.taken = 0

    def begin(self, form: SignForm) -> None:
        self.form = form

    def want(self, key: bytes, job: Callable[[], Job]) -> bool:
        if key in self.found:
            return True
        if len(self.found) >= self.room:
            return False
        self.wanted += 1
        if self.lost == 0 or self.wanted % self.lost:
            self.found[key] = bound_apart(self.form, job())
        return True

    def take(self, key: bytes) -> Apart | None:
        found = self.found.pop(key, None)
        self.taken += found is not None
        return found

    def end(self) -> None:
        self.found.clear()


def problems() -> list[MaxCSP]:
    return [rudy("g05_40.0"), max_k_cut(11, 3, 0.7, 5)]


@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize(("rule", "lost"), [("auto", 0), ("auto", 3), ("random", 0)])
def test_a_crew_changes_no_bit(number: int, rule: str, lost: int) -> None:
    problem = problems()[number]
    alone = problem.prove(rule=rule, cuts="none", most_nodes=25)
    crew = Here(12, lost)
    helped = problem.prove(rule=rule, cuts="none", most_nodes=25, crew=crew)
    assert alone.nodes > 3
    assert crew.taken > 0
    assert helped.certificate.to_bytes() == alone.certificate.to_bytes()
    assert (helped.value, helped.nodes) == (alone.value, alone.nodes)
    assert helped.assignment.tolist() == alone.assignment.tolist()


def test_cuts_have_the_numbers_that_one_process_gives_them() -> None:
    # Two levels deep with cuts: one that stands twice in a parent is among them.
    problem = rudy("g05_60.0")
    crew = Here(4)
    limits = {"most_nodes": 5, "cuts": "triangles"}
    helped = problem.prove(crew=crew, **limits)
    assert crew.taken > 0
    assert helped.certificate.to_bytes() == problem.prove(**limits).certificate.to_bytes()


def test_processes_that_are_killed_are_done_without() -> None:
    problem = rudy("g05_40.0")
    alone = problem.prove(cuts="none", most_nodes=20)
    killed: list[int] = []

    def watch(nodes: int, value: float, bound: float) -> None:
        pool = crew._pool
        if nodes > 8 and not killed and pool is not None:
            killed.extend(pool._processes)
            for process in killed:
                os.kill(process, signal.SIGKILL)

    with Processes(2) as crew:
        helped = problem.prove(cuts="none", most_nodes=20, crew=crew, watch=watch)
    assert killed
    assert helped.certificate.to_bytes() == alone.certificate.to_bytes()
