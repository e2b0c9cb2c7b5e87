"""What blocks on many cores cost, from measured constants: `python -m tests.benchmarks.scaling`.

The constants are those that `tests.benchmarks.distributed --record` has written, in
`tests/data/blocks_constants.json`: processor seconds a row, the bytes that an actor is sent and
sends, the driver's processor seconds for each call of an actor. The work is linear in the rows, as
blocks are independent. Sums come together along the tree of `FAN` actors each; what is broadcast
goes once to every machine. The link's speed is assumed, and latency is not in it. `--write` puts
the table into the page.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.sweeps.cluster.block_actors import FAN
from tests.benchmarks.measure import replace_table

CONSTANTS = Path(__file__).parents[1] / "data" / "blocks_constants.json"
SIZES = (10**7, 10**8, 10**9, 10**10)
CORES = (1, 16, 1000)
MARK = "<!-- table of scaling -->"
#: cores of a machine, and bits a second of its link
MACHINE, LINK = 16, 1e9


@dataclass(frozen=True)
class Cost:
    """Seconds of work and of the driver's calls; of sums one after another, and of broadcasts.

    ``volume``: bytes of all partial sums of an actor.
    """

    work: float
    calls: float
    sums: float
    broadcasts: float
    volume: float


def cost(measured: dict[str, Any], call: float, n: int, cores: int) -> Cost:
    """Of n rows on so many cores, an actor each.

    ``measured``: rows, actors, passes, processor seconds (statistics, first, rest), bytes sent and
    received; ``call``: seconds of the driver for each call.
    """
    work = sum(measured[name] for name in ("statistics", "first", "rest"))
    volume = measured["received"] / measured["actors"]
    given = measured["sent"] / measured["actors"]
    # Statistics, columns and the first pass come before the solve's.
    passes = measured["passes"] + 3
    asked, after = gathered(cores)
    return Cost(
        work / measured["rows"] * n / cores,
        passes * asked * call,
        8.0 * after * volume / LINK,
        8.0 * math.ceil(cores / MACHINE) * given / LINK,
        volume,
    )


def gathered(actors: int) -> tuple[int, int]:
    """The calls of a pass, and how many sums arrive one after another on the way to the driver."""
    calls, after = actors, 0
    while actors > FAN:
        actors = math.ceil(actors / FAN)
        calls += actors
        after += FAN - 1
    return calls, after + actors


def lines() -> Iterator[str]:
    """The table of the page, in Markdown."""
    found = json.loads(CONSTANTS.read_text())
    call = max(measured["call"] for measured in found.values() if "call" in measured)
    yield (
        "| loss | d | rows | work on 1, 16, 1,000 cores | sums of an actor | 1,000 actors: calls, "
        "sums, broadcasts |"
    )
    yield "|---|---|---|---|---|---|"
    for measured in _chosen(found):
        for n in SIZES:
            work = [_time(cost(measured, call, n, cores).work) for cores in CORES]
            most = cost(measured, call, n, CORES[-1])
            parts = [_time(part) for part in (most.calls, most.sums, most.broadcasts)]
            yield (
                f"| {measured['loss']} | {measured['columns']} | 1e{round(math.log10(n))} | "
                f"{', '.join(work)} | {most.volume / 1e6:.2g} MB | {', '.join(parts)} |"
            )


def _chosen(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of each loss and number of columns the measurement on actors of most rows."""
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for key in sorted(found):
        if not found[key]["actors"]:
            continue
        measured = {**found[key], "loss": key.split()[0]}
        place = measured["loss"], measured["columns"]
        if place not in best or measured["rows"] >= best[place]["rows"]:
            best[place] = measured
    yield from best.values()


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="a page whose table is made anew")
    arguments = parser.parse_args()
    table = "\n".join(lines())
    print(table)
    if arguments.write:
        replace_table(arguments.write, MARK, table)


if __name__ == "__main__":
    main()
