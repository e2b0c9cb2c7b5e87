"""`qnn csp`: bound or solve a constraint satisfaction problem over pairs, without a sweep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.logs.shell import verify_line
from qnn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from qnn.moments.csp import MaxCSP, Solution

PROOF, PROBLEM = "proof.npz", "problem.npz"


def csp(
    problem: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="An edge list of rudy, a .wcsp file, or a name as g05_60.0.",
            show_default=False,
        ),
    ],
    rounds: Annotated[
        int | None,
        typer.Option(
            min=0, help="Seeds to condition on (default: split until the maximum is proven)."
        ),
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="Which variables are conditioned on: auto, corr, corr_dual, dual, undecided or "
            "random."
        ),
    ] = "auto",
    cuts: Annotated[str, typer.Option(help="auto, none, triangles or odd.")] = "auto",
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds to search (default: no limit).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same gives the same answer.")] = 0,
    workers: Annotated[
        int,
        typer.Option(min=1, max=256, help="Processes that share the tree; the result is the same."),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for proof.npz and problem.npz (default: none)."),
    ] = None,
) -> None:
    """Bound the maximum of a CSP over pairs of variables, with a proof, or find and prove it."""
    from rich.console import Console

    from pipeline.datasets.problems import read_problem

    if rounds is not None and workers > 1:
        raise InputError("--workers: they share the tree that proves; leave it or --rounds out")
    if out is not None:
        _check_folder(out)
    asked = read_problem(problem)
    solution = solved(asked, rounds, rule, cuts, time_limit, seed, Console(stderr=True), workers)
    print(told(asked, solution, rounds is None))
    if out is not None:
        _write(asked, solution, out)


def solved(
    problem: MaxCSP,
    rounds: int | None,
    rule: str,
    cuts: str,
    time_limit: float | None,
    seed: int,
    console: Console,
    workers: int = 1,
) -> Solution:
    """Solve in so many rounds, or prove where they are None; what is known is on the console."""
    with console.status(f"{problem.n} variables of {problem.k} values") as status:

        def watch(nodes: int, value: float, bound: float) -> None:
            status.update(f"{nodes} nodes: value {value:.10g}, searching below {bound:.10g}")

        if rounds is None:
            from qnn.moments.csp import Processes

            crew = Processes(workers) if workers > 1 else None
            return problem.prove(time_limit, rule, cuts, seed, watch=watch, crew=crew)
        return problem.solve(rounds, rule, time_limit, cuts, seed, watch=watch)


def told(problem: MaxCSP, solution: Solution, exact: bool) -> str:
    """The result in a few lines of plain text; exact: of the tree, not of so many rounds."""
    s = solution
    gap = max(s.upper_bound - s.value, 0.0)
    seeds = f"; seeds {', '.join(map(str, s.seeds))}" if s.seeds else ""
    how = "tree" if exact else f"{s.rounds} rounds"
    rows = [
        ("problem", f"{problem.name}: {problem.n} variables of {problem.k} values, "
                    f"{len(problem.payoffs.pairs)} pairs"),
        ("bound", f"{s.upper_bound:.12g}, proven"),
        ("value", f"{s.value:.12g}{_standing(problem, s)}"),
        ("gap", f"{gap:.6g}" + (f" ({gap / abs(s.value):.3%})" if s.value else "")),
        ("nodes", f"{s.nodes}, {s.leaves} leaves, {s.cuts} cuts ({how}, rule {s.rule}{seeds})"),
        ("rounding", f"{s.expected:.10g} expected, {s.derandomized:.10g} derandomized"
                     + ("" if s.propagated is None else f", {s.propagated:.10g} propagated")),
        ("correlation", f"{s.local_correlation:.4g} local, {s.global_correlation:.4g} global"),
        ("rank", f"threshold rank {s.threshold_rank} of the constraint graph"),
        ("guarantee", _guarantee(s.guarantee)),
        ("time", f"{s.seconds:.1f} s"),
    ]  # fmt: skip
    return "\n".join(f"{name:<12}{text}" for name, text in rows)


def _standing(problem: MaxCSP, s: Solution) -> str:
    if s.value <= problem.nothing:
        known = "there is none" if s.upper_bound <= problem.nothing else "none is found"
        return f", no solution: of one below the upper bound {-problem.nothing:.12g} {known}"
    gap = s.upper_bound - s.value
    return "" if not s.optimal else ", the maximum" + (f" but for {gap:.1g}" if gap > 0.0 else "")


def _guarantee(loss: float) -> str:
    if loss >= 1.0:
        return "the theory promises nothing here; the bound above is proven all the same"
    return f"these rounds lose at most {loss:.3g} of the total weight"


def _check_folder(out: Path) -> None:
    """Before anything is computed: raise InputError where no files can be written to it."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f"{out}: {place} is no folder that can be written to")


def _write(problem: MaxCSP, solution: Solution, out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        problem.payoffs.save(out / PROBLEM)
        solution.certificate.save(out / PROOF)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    print(verify_line(str(out / PROOF), data=str(out / PROBLEM)))
