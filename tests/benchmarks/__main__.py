"""All benchmarks of the solvers in one run: ``python -m tests.benchmarks`` (``make bench``).

``--quick`` leaves out the instances on which the general-purpose solvers take minutes; ``--large``
adds a million rows, images, rounding and sweeps, each in a process of its own. ``--sections``,
``--instances`` and ``--methods`` run a part of it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

from threadpoolctl import threadpool_limits

from tests.benchmarks.fallbacks import fallbacks
from tests.benchmarks.instances import names
from tests.benchmarks.learned import learned
from tests.benchmarks.measure import machine
from tests.benchmarks.methods import METHODS
from tests.benchmarks.relaxations import accuracy, compare, growth, paths, verification

SECTIONS: dict[str, Callable[[], None]] = {
    "paths": paths,
    "accuracy": accuracy,
    "growth": growth,
    "verification": verification,
    "fallbacks": fallbacks,
    "learned": learned,
}
LARGE = (
    "speed",
    "rounding",
    "streaming",
    "distributed",
    "scaling",
    "image_size",
    "sweeps",
    "robustness",
    "reconstruction",
    "csp",
    "quantization",
    "quantized_networks",
    "orthonormal",
    "bell",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one method")
    parser.add_argument("--sections", nargs="+", choices=["compare", *SECTIONS, *LARGE])
    parser.add_argument("--instances", nargs="+", help="of the comparison")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    arguments = parser.parse_args()
    wanted = arguments.sections or ["compare", *SECTIONS, *(LARGE if arguments.large else ())]
    print(machine(), "- one thread", flush=True)
    with threadpool_limits(1):
        if "compare" in wanted:
            largest = 4_000_000 if arguments.quick else 20_000_000
            compare(arguments.instances or names(largest), arguments.methods, arguments.limit)
        for name, section in SECTIONS.items():
            if name in wanted:
                print(flush=True)
                section()
    for name in LARGE:
        if name in wanted:
            print(flush=True)
            subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False)
    print(machine())


if __name__ == "__main__":
    main()
