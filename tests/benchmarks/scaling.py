"""What blocks on many cores cost, from measured constants: `python -m tests.benchmarks.scaling`.

The constants are those that `tests.benchmarks.distributed --record` has written, in
`tests/data/blocks_constants.json`: processor seconds a row and pass, bytes of a partial sum. The
work is linear in the rows, as blocks are independent; of each pass one partial sum of each actor
goes to the driver. How fast the driver's link must be for that to take a hundredth of the work is
computed, not assumed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONSTANTS = Path(__file__).parents[1] / "data" / "blocks_constants.json"
SIZES = (10**7, 10**8, 10**9, 10**10)
CORES = (1, 16, 1000)
#: the part of the work that communication may take
SHARE = 0.01


def costs(measured: dict[str, Any], n: int, cores: int) -> tuple[float, float, float]:
    """Seconds of work on so many cores, partial sums' bytes, bits a second of the driver's link.

    ``measured``: rows, columns, processor seconds (statistics, first, rest) and passes.
    """
    d = measured["columns"]
    work = sum(measured[name] for name in ("statistics", "first", "rest"))
    seconds = work / measured["rows"] * n / cores
    moments = measured.get("moments")
    # One compressed sum and the proof's d^2; or a broadcast and a gradient of d k each pass.
    if moments is not None:
        volume = 8.0 * (moments + 2 * d * d + 2 * d)
    else:
        volume = 8.0 * (measured["passes"] * 2 * d * measured["rank"] + d * d)
    needed = 8.0 * cores * volume / (SHARE * seconds) if cores > 1 else 0.0
    return seconds, volume, needed


def lines() -> Iterator[str]:
    """The table of the page, in Markdown."""
    found = json.loads(CONSTANTS.read_text())
    yield "| loss | d | rows | work on 1, 16, 1,000 cores | sums of an actor | link for 1 % |"
    yield "|---|---|---|---|---|---|"
    for measured in _chosen(found):
        for n in SIZES:
            seconds = [costs(measured, n, cores)[0] for cores in CORES]
            _, volume, needed = costs(measured, n, CORES[-1])
            yield (
                f"| {measured['loss']} | {measured['columns']} | 1e{round(math.log10(n))} | "
                f"{', '.join(_time(value) for value in seconds)} | {volume / 1e6:.3g} MB | "
                f"{needed / 1e9:.2g} Gbit/s |"
            )


def _chosen(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of each loss and number of columns the measurement of most rows."""
    best: dict[tuple[str, int], dict[str, Any]] = {}
    for key in sorted(found):
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


if __name__ == "__main__":
    print("\n".join(lines()))
