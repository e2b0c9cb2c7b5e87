"""The solvers by name, without their libraries: what each is called, takes and costs.

A new solver is a file with its `solve` and one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from qnn.registry import Later, Registry
from qnn.training.relaxation import costs
from qnn.training.relaxation.solver import Question, Solver


def _everything(question: Question) -> str | None:
    return None


def _pairs_and_curved(question: Question) -> str | None:
    if not question.activation.pairs:
        return "it is for the bilinear activation: choose 'admm'"
    if not question.loss.curved:
        return f"loss {question.loss.name!r} is not smooth enough: choose 'admm', or another loss"
    return None


def _dual_slopes(question: Question) -> str | None:
    if not question.loss.has_dual_slopes:
        name = question.loss.name
        return f"loss {name!r} does not tell its conjugate's derivatives: choose 'admm'"
    return None


def _solver(
    name: str,
    place: str,
    summary: str,
    memory: costs.Memory,
    work: costs.Work,
    supports: Callable[[Question], str | None] = _everything,
    **automatic: Any,
) -> tuple[str, Solver]:
    solve = Later(f"{__package__}.{place}")
    return name, Solver(name, solve, supports, memory, summary, work, **automatic)


SOLVERS: Registry[str, Solver] = Registry(
    "solver",
    dict(
        [
            _solver(
                "admm",
                "admm.loop:solve",
                "ADMM on the symmetric reduction: every loss, both activations",
                costs.admm_memory,
                costs.admm_work,
                preferred=True,
                turn=600,
            ),
            _solver(
                "low-rank",
                "low_rank:solve",
                "low-rank factors and float32 products, for many features and rows",
                costs.low_rank_memory,
                costs.low_rank_work,
                _pairs_and_curved,
                preferred=True,
            ),
            _solver(
                "interior-point",
                "interior_point.solve:solve",
                "an interior point on the dual: every loss, both activations, few rows or columns",
                costs.interior_point_memory,
                costs.interior_point_work,
                _dual_slopes,
                last_resort_to=1e13,
            ),
            _solver(
                "cvxpy-scs",
                "reference:solve_scs",
                "the paper's semidefinite program through cvxpy and SCS",
                costs.scs_memory,
                costs.scs_work,
            ),
            _solver(
                "cvxpy-clarabel",
                "reference:solve_clarabel",
                "the paper's semidefinite program through cvxpy and Clarabel",
                costs.clarabel_memory,
                costs.clarabel_work,
                last_resort_to=1e12,
            ),
        ]
    ),
    also=("auto",),
)


def candidates(question: Question, n: int, size: int, tol: float) -> list[Solver]:
    """What "auto" tries on a problem of this size, the least work first."""
    preferred = (solver for solver in SOLVERS.values() if solver.preferred)
    supporting = [solver for solver in preferred if solver.supports(question) is None]
    return sorted(supporting, key=lambda solver: solver.work(n, size, tol))


def last_resorts(question: Question, n: int, size: int, tol: float) -> Iterator[Solver]:
    """What "auto" falls back to where those got stuck, where it supports that and ends in time."""
    for solver in SOLVERS.values():
        most = solver.last_resort_to
        if solver.supports(question) is None and solver.work(n, size, tol) <= most:
            yield solver
