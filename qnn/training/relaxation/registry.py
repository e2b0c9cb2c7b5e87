"""The solvers by name, without their libraries: what each is called, takes and costs.

A new solver is a file with its `solve` and one entry here.
"""

from __future__ import annotations

from qnn.registry import Later, Registry
from qnn.training.relaxation import costs
from qnn.training.relaxation.solver import Question, Solver


def _everything(question: Question) -> str | None:
    return None


def _smooth(question: Question) -> str | None:
    if not question.activation.joint:
        return "it is for the bilinear activation: choose 'admm'"
    loss = question.loss
    if not loss.smooth or loss.outlier_price is not None:
        return f"loss {loss.name!r} is not smooth enough: choose 'admm', or another loss"
    return None


def _dual_slopes(question: Question) -> str | None:
    loss = question.loss
    if not loss.has_dual_slopes:
        return f"loss {loss.name!r} does not tell its conjugate's derivatives: choose 'admm'"
    return None


_ALL = (
    Solver(
        name="admm",
        solve=Later("qnn.training.relaxation.admm.loop:solve"),
        supports=_everything,
        memory_estimate=costs.admm_memory,
        summary="ADMM on the symmetric reduction: every loss, both activations",
        work=costs.admm_work,
    ),
    Solver(
        name="low-rank",
        solve=Later("qnn.training.relaxation.low_rank:solve"),
        supports=_smooth,
        memory_estimate=costs.low_rank_memory,
        summary="low-rank factors and float32 products, for many features and rows",
        work=costs.low_rank_work,
    ),
    Solver(
        name="interior-point",
        solve=Later("qnn.training.relaxation.interior_point.solve:solve"),
        supports=_dual_slopes,
        memory_estimate=costs.interior_point_memory,
        summary="an interior point on the dual: every loss, both activations, few rows or columns",
        work=costs.interior_point_work,
    ),
    Solver(
        name="cvxpy-scs",
        solve=Later("qnn.training.relaxation.reference:solve_scs"),
        supports=_everything,
        memory_estimate=costs.scs_memory,
        summary="the paper's semidefinite program through cvxpy and SCS",
        work=costs.scs_work,
    ),
    Solver(
        name="cvxpy-clarabel",
        solve=Later("qnn.training.relaxation.reference:solve_clarabel"),
        supports=_everything,
        memory_estimate=costs.clarabel_memory,
        summary="the paper's semidefinite program through cvxpy and Clarabel",
        work=costs.clarabel_work,
    ),
)

SOLVERS: Registry[str, Solver] = Registry(
    "solver", {solver.name: solver for solver in _ALL}, also=("auto",)
)

#: what "auto" chooses from: of those that support the problem and fit into memory the least work,
#: and the next one where that got stuck
PREFERENCE = ("admm", "low-rank")

#: what "auto" falls back to, in this order, and the operations up to which it does
FALLBACKS = {"interior-point": 1e13, "cvxpy-clarabel": 1e12}
#: iterations after which a solver that has a fallback is given up, where none are asked for: an
#: ordinary solve takes some 30
TURN = {"admm": 600}


def candidates(question: Question, n: int, size: int, tol: float) -> list[Solver]:
    """What "auto" tries on a problem of this size, the least work first."""
    supporting = [SOLVERS[key] for key in PREFERENCE if SOLVERS[key].supports(question) is None]
    return sorted(supporting, key=lambda solver: solver.work(n, size, tol))
