"""What a study of CSPs will do: its instances and its solves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from pipeline.datasets.problems import read_problem
from pipeline.plans.description import axis, description, rough_time
from pipeline.plans.study import NothingFollows
from pipeline.studies.csp.config import CspConfig
from pipeline.studies.csp.solves import Solve
from qnn.errors import InputError
from qnn.moments.csp import MaxCSP, planted_unique_games
from qnn.moments.csp.problem import MOST_INDICATORS, MOST_LEAVES


@dataclass(frozen=True)
class CspPlan(NothingFollows):
    """The solves, and the problems by the digests of their payoffs."""

    config: CspConfig
    units: tuple[Solve, ...]
    data: dict[str, MaxCSP]

    def describe(self) -> str:
        """The axes, and how much work that is."""
        config = self.config
        names = tuple(dict.fromkeys(unit.shard for unit in self.units))
        axes = [
            axis("instances", names),
            axis("rounds", tuple("exact" if depth is None else depth for depth in config.depths)),
            axis("rules", config.rules),
            axis("seeds", config.seeds),
        ]
        seconds = sum(unit.estimated_seconds for unit in self.units)
        work = f"{len(self.units)} solves, {rough_time(seconds)} of one core (rough)"
        facts = [("work", work), ("proofs", "every bound, kept with its problem")]
        title = f"study {config.name}: constraint satisfaction over pairs"
        return description(title, axes, facts)


def prepare(config: CspConfig) -> CspPlan:
    """Read or make the instances, and plan. InputError for what is none, or for too many leaves."""
    units, data = [], {}
    for name, problem in _problems(config):
        content = problem.payoffs.digest()
        data[content] = problem
        for rounds, rule, seed in product(config.depths, config.rules, config.seeds):
            if rounds is not None and problem.k ** min(rounds, problem.n) > MOST_LEAVES:
                raise InputError(
                    f"rounds: {rounds} rounds of the {problem.k} values of {name} give more than "
                    f"{MOST_LEAVES} leaves"
                )
            units.append(
                Solve(
                    name, content, problem.n, problem.k, len(problem.payoffs.pairs), rounds, rule,
                    config.cuts, seed, config.time_limit,
                )
            )  # fmt: skip
    # Two sections of planted games may share a seed.
    return CspPlan(config, tuple({unit.id: unit for unit in units}.values()), data)


def _problems(config: CspConfig) -> Iterator[tuple[str, MaxCSP]]:
    """Each instance with its name."""
    for name in config.instances:
        yield name, read_problem(name)
    for number, p in enumerate(config.planted):
        if p.n * p.k > MOST_INDICATORS:
            raise InputError(
                f"planted[{number}]: {p.n} variables of {p.k} values are too many: n k may be "
                f"{MOST_INDICATORS} at most"
            )
        for seed in p.seeds:
            name = f"unique games n={p.n} k={p.k} degree={p.degree:g} noise={p.noise:g} seed={seed}"
            yield name, planted_unique_games(p.n, p.k, p.degree, p.noise, seed)[0]
