"""Exact Max-Cut by trees of semidefinite leaves, and hierarchies by conditioning.

python -m tests.benchmarks.csp [--limit 120] [--names g05_60.0 pm1s_80.0 …] [--rounds 2]

Of each instance: nodes, leaves and processor seconds of the proof, the checker's seconds as a share
of them, bytes of the certificate; and the bounds of conditioning with and without cuts.
"""

import argparse

from qnn.certificates.csp import verify_csp
from qnn.moments.csp import MaxCSP, planted_unique_games, rudy
from tests.benchmarks.measure import Stopwatch, machine, peak_bytes

NAMES = [
    f"{family}.{number}" for family in ("g05_60", "pm1s_80", "pm1d_80") for number in range(10)
]


def proofs(names: list[str], limit: float) -> None:
    print("instance value bound nodes leaves cuts kB proof check/proof")
    for name in names:
        problem = rudy(name)
        watch = Stopwatch()
        solution = problem.prove(time_limit=limit)
        proof = watch.read()
        watch = Stopwatch()
        verify_csp(solution.certificate, problem.payoffs)
        check = watch.read()
        print(
            name,
            solution.value,
            solution.upper_bound,
            solution.nodes,
            solution.leaves,
            solution.cuts,
            f"{len(solution.certificate.to_bytes()) / 1e3:.0f}",
            proof,
            f"{check.processor / proof.processor:.3f}",
            flush=True,
        )


def conditioning(problem: MaxCSP, most: int) -> None:
    print(f"{problem.name}: rounds rule cuts bound value derandomized expected s")
    for rounds in range(most + 1):
        for rule in ("corr_dual", "dual", "corr", "random") if rounds else ("corr_dual",):
            for cuts in ("none", "triangles", "odd"):
                watch = Stopwatch()
                s = problem.solve(rounds, rule=rule, cuts=cuts)
                print(
                    rounds,
                    rule,
                    cuts,
                    f"{s.upper_bound:.2f} {s.value:.2f} {s.derandomized:.2f} {s.expected:.2f}",
                    f"{watch.read().processor:.1f}",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=120.0)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(machine(), "- one thread")
    rudy("g05_20.0").prove()  # compiled before anything is measured
    proofs(arguments.names, arguments.limit)
    conditioning(rudy("g05_40.0"), arguments.rounds)
    conditioning(planted_unique_games(30, 3, 6.0, 0.2, 0)[0], arguments.rounds)
    print(f"peak {peak_bytes() / 1e6:.0f} MB;", machine())


if __name__ == "__main__":
    main()
