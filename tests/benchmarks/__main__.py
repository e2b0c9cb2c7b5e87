"""All benchmarks in one run: ``make bench``, or ``python -m tests.benchmarks --limit 60``.

Each method solves each instance in a process of its own, one thread, so that peak memory is its
own. Times are ratios to ours in the same run; a method that does not end within the limit shows
as more than that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import numpy as np

from tests.benchmarks.instances import names
from tests.benchmarks.methods import METHODS

Result = dict[str, Any]
OURS = "ours"


def measure(method: str, instance: str, limit: float) -> Result | None:
    """One method on one instance; None where it does not end within the limit or fails."""
    command = [sys.executable, "-m", "tests.benchmarks.methods", method, instance]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(f"  {method} on {instance} failed: {done.stderr.strip().splitlines()[-1]}")
        return None
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(instances: list[str], limit: float) -> None:
    """Print a table with a row for each instance and method, then geometric means."""
    ratios: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
    print(f"{'instance':>14}  {'method':<15} {'seconds':>9} {'ratio':>8} {'MiB':>7} {'ratio':>7}")
    for instance in instances:
        ours = measure(OURS, instance, limit)
        for method in METHODS:
            found = ours if method == OURS else measure(method, instance, limit)
            if found is None or ours is None:
                print(f"{instance:>14}  {method:<15} {f'> {limit:.0f}':>9}")
                continue
            memory = max(ours["bytes"], 2.0**20)
            pair = (found["seconds"] / ours["seconds"], found["bytes"] / memory)
            ratios[method].append(pair)
            gap = f"  verified gap {found['gap']:.1e}" if method == OURS else ""
            print(
                f"{instance:>14}  {method:<15} {found['seconds']:9.4f} {pair[0]:8.1f} "
                f"{found['bytes'] / 2**20:7.1f} {pair[1]:7.1f}{gap}",
                flush=True,
            )
    for method, pairs in ratios.items():
        if method != OURS and pairs:
            time_ratio, memory_ratio = np.exp(np.log(np.maximum(pairs, 1e-9)).mean(axis=0))
            print(
                f"geometric mean over {len(pairs)} instances that ended: {method} takes "
                f"{time_ratio:.1f} times our time and {memory_ratio:.1f} times our memory"
            )


def main() -> None:
    """The comparison, then paths and accuracy, then the large problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one method")
    parser.add_argument("--largest", type=int, default=20_000_000, help="most entries n d^2")
    parser.add_argument("--large", action="store_true", help="image size and streaming as well")
    arguments = parser.parse_args()
    compare(names(arguments.largest), arguments.limit)
    modules = ["paths"] + (["streaming", "image_size"] if arguments.large else [])
    for module in modules:
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{module}"], check=False)


if __name__ == "__main__":
    main()
