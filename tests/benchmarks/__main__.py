"""All benchmarks of the solvers in one run: ``python -m tests.benchmarks`` (``make bench``).

``--quick`` leaves out the instances on which the general-purpose solvers take minutes; ``--large``
adds a million rows and images, see `tests.benchmarks.streaming` and `tests.benchmarks.image_size`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from threadpoolctl import threadpool_limits

from tests.benchmarks.measure import machine
from tests.benchmarks.relaxations import accuracy, compare, growth, paths, verification


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one method")
    arguments = parser.parse_args()
    print(machine(), "- one thread", flush=True)
    with threadpool_limits(1):
        compare(4_000_000 if arguments.quick else 20_000_000, arguments.limit)
        for section in (paths, accuracy, growth, verification):
            print(flush=True)
            section()
    if arguments.large:
        for name in ("rounding", "streaming", "image_size", "sweeps"):
            print(flush=True)
            subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False)
    print(machine())


if __name__ == "__main__":
    main()
