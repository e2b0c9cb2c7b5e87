"""Exact Max-Cut by trees of semidefinite leaves, and hierarchies by conditioning.

python -m tests.benchmarks.csp [--limit 900] [--names g05_60.0 pm1s_80.0 …] [--rounds 3]
                               [--sections proofs conditioning games] [--write docs/hierarchy.md]

Of each instance: nodes, leaves and processor seconds of the proof, the checker's seconds as a share
of them, bytes of the certificate; the bounds of conditioning with and without cuts; and of planted
unique games bound and value against rounds, with the threshold rank. Seconds are the processor's.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from qnn.certificates.csp import verify_csp
from qnn.moments.csp import MaxCSP, planted_unique_games, rudy
from tests.benchmarks.measure import Stopwatch, machine, peak_bytes, replace_table

# What the page has.
NAMES = [
    *(f"g05_60.{number}" for number in range(5)),
    *(f"pm1s_80.{number}" for number in range(5)),
    "pm1d_80.0",
    "g05_100.0",
    "pm1d_80.1",
]
# Seeds of Max-Cut: more buy nothing that triangles have not.
SEEDS = 1
MARK = "<!-- table of {} -->"


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def head(*cells: str) -> str:
    return row(*cells) + "\n" + "|---" * len(cells) + "|"


def proofs(names: list[str], limit: float) -> Iterator[str]:
    yield head("instance", "value", "bound", "nodes", "leaves", "kB", "proof", "checker / proof")
    for name in names:
        problem = rudy(name)
        watch = Stopwatch()
        solution = problem.prove(time_limit=limit)
        proof = watch.read().processor
        watch = Stopwatch()
        verify_csp(solution.certificate, problem.payoffs)
        check = watch.read().processor
        yield row(
            name,
            f"{solution.value:g}",
            f"{solution.upper_bound:g}" + (", proven" if solution.optimal else ""),
            solution.nodes,
            solution.leaves,
            f"{len(solution.certificate.to_bytes()) / 1e3:.0f}",
            f"{proof:.1f} s",
            f"{check / proof:.3f}",
        )


def conditioning(problems: list[MaxCSP], most: int) -> Iterator[str]:
    yield head("instance", "rounds", "rule", "cuts", "bound", "value", "derandomized", "mean", "s")
    for problem in problems:
        for rounds in range(most + 1):
            for rule in ("corr_dual", "dual", "corr", "random") if rounds else ("corr_dual",):
                for cuts in ("none", "triangles", "odd"):
                    watch = Stopwatch()
                    s = problem.solve(rounds, rule=rule, cuts=cuts)
                    numbers = (s.upper_bound, s.value, s.derandomized, s.expected)
                    cells = (f"{number:.2f}" for number in numbers)
                    seconds = f"{watch.read().processor:.1f}"
                    yield row(problem.name, rounds, rule, cuts, *cells, seconds)


def games(most: int) -> Iterator[str]:
    """Bound and value against rounds without cuts, as in the paper."""
    yield head("n", "k", "noise", "seed", "rounds", "bound", "value", "mean", "rank", "guarantee")
    for n, k, noise in ((40, 3, 0.3), (60, 2, 0.3)):
        for seed in (0, 1):
            problem, _ = planted_unique_games(n, k, 6.0, noise, seed)
            total = sum(problem.payoffs.tables.max(axis=(1, 2)))
            for rounds in range(most + 1):
                s = problem.solve(rounds, cuts="none")
                shares = (f"{x / total:.4f}" for x in (s.upper_bound, s.value, s.expected))
                promised = f"{s.guarantee:.3f}"
                yield row(n, k, noise, seed, rounds, *shares, s.threshold_rank, promised)


def printed(lines: Iterator[str]) -> str:
    """The lines as one text, each printed as it comes."""
    kept = []
    for line in lines:
        print(line, flush=True)
        kept.append(line)
    return "\n".join(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sections = ("proofs", "conditioning", "games")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds of an instance")
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--rounds", type=int, default=3, help="of the unique games")
    parser.add_argument("--sections", nargs="+", choices=sections, default=list(sections))
    parser.add_argument("--write", type=Path, help="a document whose tables are replaced")
    arguments = parser.parse_args()
    rudy("g05_20.0").prove()  # compiled before anything is measured
    tables = {
        "proofs": lambda: proofs(arguments.names, arguments.limit),
        "conditioning": lambda: conditioning([rudy("g05_40.0")], SEEDS),
        "games": lambda: games(arguments.rounds),
    }
    for section in arguments.sections:
        text = printed(tables[section]())
        if arguments.write:
            own = f"{text}\n\n({machine()})"
            replace_table(arguments.write, MARK.format(section), own)
    print(f"peak {peak_bytes() / 1e6:.0f} MB;", machine())


if __name__ == "__main__":
    main()
