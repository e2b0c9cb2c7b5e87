"""What a sweep costs beside its solving, and how two cores share a sweep that is all solving.

`python -m tests.benchmarks.sweeps`. Ray is up and its workers are warm before anything is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from pipeline.configuration.reading import SweepConfig, parse_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.sweeps.cluster.session import ray_session
from pipeline.sweeps.driver import SweepOptions, SweepOutcome, run_sweep
from tests.benchmarks.measure import machine


def main() -> None:
    if sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            _measured(sys.argv[1], Path(folder))
        return
    print(machine())
    print(_process("overhead"), flush=True)
    one, two = json.loads(_process("1")), json.loads(_process("2"))
    print(
        f"solve-bound sweep of {one['trials']} trials, {one['sizes']}: {one['seconds']:.1f} s on "
        f"one core, {two['seconds']:.1f} s on two: {one['seconds'] / two['seconds']:.2f} times"
    )


def _process(part: str) -> str:
    """A part in a process of its own: a process starts Ray only once, its token stays."""
    command = [sys.executable, "-m", "tests.benchmarks.sweeps", part]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _measured(part: str, folder: Path) -> None:
    if part == "overhead":
        overhead(folder)
    else:
        cores(folder, int(part))


def overhead(folder: Path) -> None:
    """1,000 trials of tiny problems on one core: all seconds but those of solving and rounding."""
    config = _config(
        folder,
        "tiny",
        60,
        4,
        10,
        beta={"fractions": _fractions(25)},
        seeds=[0, 1, 2, 3],
        widths=[8],
    )
    with ray_session(None, 1):
        _run(_config(folder, "warm", 60, 4, 2, beta={"fractions": [0.3]}), folder / "warm-run")
        seconds, outcome = _run(config, folder / "tiny-run")
    rows = [row for row in outcome.results.to_pylist() if row["shard"] != "all"]
    relaxations = {row["certificate"]: row["relaxation_seconds"] for row in rows}
    solving = sum(relaxations.values()) + sum(row["rounding_seconds"] for row in rows)
    trials, paths = len(rows), outcome.timings["paths"]
    print(
        f"sweep of {trials} trials, {len(relaxations)} relaxations of {_sizes(outcome)}, Ray up, "
        f"one core: {paths:.2f} s, {solving:.2f} s of it solving and rounding: "
        f"{1e3 * (paths - solving) / trials:.2f} ms a trial beside them; with the plan, the "
        f"choice, the refit and the report {seconds:.2f} s: "
        f"{1e3 * (seconds - solving) / trials:.2f} ms a trial",
        flush=True,
    )


def cores(folder: Path, cpus: int) -> None:
    """The seconds of a sweep that is nearly all solving, on so many cores, as JSON."""
    config = _config(
        folder,
        "solving",
        800,
        80,
        32,
        beta={"fractions": _fractions(6)},
        seeds=[0],
        widths=[8],
        rounding=["krivine"],
        relaxation={"tol": 1e-6},
    )
    with ray_session(None, cpus):
        _run(_config(folder, "warm", 60, 4, 4, beta={"fractions": [0.3]}), folder / "warm-run")
        _, outcome = _run(config, folder / "solving-run")
    found = {
        "seconds": outcome.timings["paths"],
        "trials": outcome.results.num_rows - 1,
        "sizes": _sizes(outcome),
    }
    print(json.dumps(found))


def _run(config: SweepConfig, out: Path) -> tuple[float, SweepOutcome]:
    start = time.perf_counter()
    outcome = run_sweep(config, str(out), SweepOptions(), Console(quiet=True))
    return time.perf_counter() - start, outcome


def _sizes(outcome: SweepOutcome) -> str:
    row = outcome.results.slice(0, 1).to_pylist()[0]
    return f"n = {row['n']}, d = {row['d']}"


def _config(folder: Path, name: str, n: int, d: int, folds: int, **changes: object) -> SweepConfig:
    """Two noisy classes of a planted network in a CSV file, k folds."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    value = (X @ rng.choice([-1.0, 1.0], d)) * (X @ rng.choice([-1.0, 1.0], d))
    value += 0.5 * value.std() * rng.standard_normal(n)
    columns = [f"x{j}" for j in range(d)]
    lines = [",".join([*columns, "target"])]
    for x, t in zip(X, np.where(value > 0.0, "yes", "no"), strict=True):
        lines.append(",".join([*(f"{v:.6f}" for v in x), t]))
    file = folder / f"{name}.csv"
    file.write_text("\n".join(lines) + "\n")
    sweep = {
        "name": name,
        "data": {"source": str(file)},
        "shards": {"kind": "kfold", "count": folds},
        "rounding": ["refined"],
        **changes,
    }
    return parse_config(dump_yaml(sweep), f"{name}.yaml")


def _fractions(count: int) -> list[float]:
    return [float(f"{value:.4g}") for value in np.geomspace(0.5, 0.01, count)]


if __name__ == "__main__":
    main()
