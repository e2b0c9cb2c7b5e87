"""Leaves of a tree on spare cores: whatever becomes of the helpers, the tree is that of one."""

import sys
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from pipeline.sweeps.cluster import spare_leaves
from pipeline.sweeps.cluster.spare_leaves import SpareLeaves
from qnn.moments.csp import MaxCSP, max_k_cut
from qnn.moments.csp.crew import bound_apart


@dataclass
class Cluster:
    """Ray as far as it is used here; `fate` decides what becomes of each task."""

    fate: str
    idle: float = 2.0
    handed_out: list = field(default_factory=list)

    def module(self) -> SimpleNamespace:
        remote = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self.submit))
        return SimpleNamespace(
            put=lambda form: form,
            remote=lambda function: remote,
            available_resources=lambda: {"CPU": self.idle},
        )

    def submit(self, form, job) -> SimpleNamespace:
        future: Future = Future()
        self.handed_out.append(job)
        if self.fate == "done":
            future.set_result(bound_apart(form, job))
        if self.fate == "lost":
            future.set_exception(RuntimeError("the worker died"))
        return SimpleNamespace(future=lambda: future)


def problem() -> MaxCSP:
    return max_k_cut(11, 3, 0.7, 5)


@pytest.mark.parametrize("fate", ["done", "lost", "in the queue for ever"])
def test_the_proof_is_that_of_one_process(fate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(fate)
    monkeypatch.setitem(sys.modules, "ray", cluster.module())
    monkeypatch.setattr(spare_leaves, "LEAST_WAIT", 0.01)
    helped = problem().prove(cuts="none", crew=SpareLeaves())
    assert len(cluster.handed_out) > 1
    assert helped.certificate.to_bytes() == problem().prove(cuts="none").certificate.to_bytes()


def test_nothing_is_handed_out_where_no_cpu_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("done", idle=0.0)
    monkeypatch.setitem(sys.modules, "ray", cluster.module())
    problem().prove(cuts="none", crew=SpareLeaves())
    assert not cluster.handed_out
