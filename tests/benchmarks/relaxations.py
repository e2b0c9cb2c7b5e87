"""The benchmark of the relaxation's solvers: time and memory side by side, paths, accuracy, growth.

Each method runs in its own process with one thread. Seconds are wall seconds, the least disturbed
of a few repeats for quick methods; memory is the peak above that of the imports and the data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qnn.certificates import verify
from qnn.training.problems.problem import Problem
from qnn.training.relaxation import solve
from tests.benchmarks.instances import make

Result = dict[str, Any]


def run_method(method: str, instance: str, limit: float) -> Result | str:
    """The result of a method in its own process, or why there is none."""
    command = [sys.executable, "-m", "tests.benchmarks.methods", method, instance]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"> {limit:.0f} s"
    if done.returncode:
        return f"failed ({(done.stderr.strip().splitlines() or ['killed'])[-1][:40]})"
    result: Result = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def compare(instances: list[str], methods: list[str], limit: float) -> None:
    """One row an instance and method; ratios are theirs over ours."""
    print(
        "one solve: ours to a verified gap of 1e-4, SCS at eps 1e-6, Clarabel at its own; beta at"
    )
    print("0.1 of beta_max; 'SCS alone' is its set-up and solve on prepared data")
    print(
        f"{'instance':14} {'method':15} {'seconds':>9} {'ratio':>8} {'MiB':>8} {'ratio':>7}  note"
    )
    ratios: dict[str, list[tuple[float, float]]] = {}
    for instance in instances:
        ours = run_method("ours", instance, limit)
        assert isinstance(ours, dict), ours
        for method in methods:
            theirs = ours if method == "ours" else run_method(method, instance, limit)
            if isinstance(theirs, str):
                print(f"{instance:14} {method:15} {theirs}", flush=True)
                continue
            time_ratio = theirs["seconds"] / ours["seconds"]
            memory_ratio = theirs["bytes"] / max(ours["bytes"], 2**20)
            ratios.setdefault(method, []).append((time_ratio, memory_ratio))
            note = f"{theirs['outcome']}, {theirs['iterations']:.0f} iterations"
            if "gap" in theirs:
                note += f", verified gap {theirs['gap']:.1e}"
            print(
                f"{instance:14} {method:15} {theirs['seconds']:9.4f} {time_ratio:8.1f} "
                f"{theirs['bytes'] / 2**20:8.1f} {memory_ratio:7.1f}  {note}",
                flush=True,
            )
    print("geometric means of the ratios (where ours needs less than 1 MiB, 1 MiB is counted):")
    for method, pairs in ratios.items():
        mean = np.exp(np.log(np.array(pairs)).mean(axis=0))
        print(f"  {method:15} time {mean[0]:7.1f}  memory {mean[1]:6.1f}  ({len(pairs)} instances)")


def _seconds(problem: Problem, tol: float, repeats: int = 5) -> float:
    """The least of the repeats; the zero-network bound is known, as along a path."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        solve(problem, tol)
        best = min(best, time.perf_counter() - start)
    return best


def paths() -> None:
    """30 betas over 3 decades, warm-started, against one cold solve in the middle."""
    print(
        "path of 30 betas over 3 decades from beta_max, verified gap 1e-3 each; cold: one solve in"
    )
    print("its middle")
    print(f"{'instance':14} {'path s':>8} {'cold s':>8} {'ratio':>6}  iterations of the path, cold")
    for instance in ("20,200", "40,400", "60,1000", "100,1000", "wdbc", "digits"):
        problem = make(instance, 1.0)
        betas = problem.beta_max * np.logspace(0.0, -3.0, 30)
        middle = problem.with_beta(problem.beta_max * 10**-1.5)
        cold, single = _seconds(middle, 1e-3), solve(middle, 1e-3)
        best, iterations = np.inf, 0.0
        for _ in range(3):
            start, relaxation, iterations = time.perf_counter(), None, 0.0
            for beta in betas:
                relaxation = solve(problem.with_beta(beta), 1e-3, warm_start=relaxation)
                assert relaxation.gap <= 1e-3
                iterations += relaxation.statistics["iterations"]
            best = min(best, time.perf_counter() - start)
        print(
            f"{instance:14} {best:8.3f} {cold:8.4f} {best / cold:6.1f}  "
            f"{iterations:.0f}, {single.statistics['iterations']:.0f}",
            flush=True,
        )


def accuracy() -> None:
    """A verified gap of 1e-8."""
    print("verified gap 1e-8")
    print(f"{'instance':14} {'beta/max':>8} {'seconds':>8} {'gap':>8}  iterations")
    for instance in ("20,200", "40,400", "60,1000", "wdbc", "ionosphere", "german_credit"):
        for fraction in (0.5, 0.1, 0.02):
            found = solve(make(instance, fraction), 1e-8)
            print(
                f"{instance:14} {fraction:8.2f} {found.statistics['seconds']:8.3f} "
                f"{found.gap:8.1e}  {found.statistics['iterations']:.0f}",
                flush=True,
            )


def growth(picture: Path = Path("out/growth.png")) -> None:
    """Time against n and d, memory against n d: exponents of lines in logarithms, and a plot."""
    print("growth: seconds to a verified gap of 1e-4, planted")
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="n, or d", ylabel="seconds to a verified gap of 1e-4")
    for label, sizes in (
        ("n (d = 20)", [(20, n) for n in (200, 800, 3200, 12800, 51200)]),
        ("n (d = 60)", [(60, n) for n in (200, 400, 800, 1600)]),
        ("d (n = 500)", [(d, 500) for d in (10, 20, 40, 80, 160)]),
    ):
        seconds = [_seconds(make(f"{d},{n}"), 1e-4, 3) for d, n in sizes]
        axis = [n if label.startswith("n") else d for d, n in sizes]
        slope = np.polyfit(np.log(axis), np.log(seconds), 1)[0]
        points = ", ".join(f"{x}: {s:.4f}" for x, s in zip(axis, seconds, strict=True))
        print(f"  {label:12} {points}; exponent {slope:.2f}", flush=True)
        axes.loglog(axis, seconds, marker="o", label=f"{label}: exponent {slope:.2f}")
    axes.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
    print(f"  plotted in {picture}")
    rows, memory = (12800, 25600, 51200, 102400), []
    for n in rows:
        found = run_method("ours", f"20,{n}", 600.0)
        assert isinstance(found, dict), found
        memory.append(found["bytes"])
    slope = np.polyfit(np.log(rows), np.log(memory), 1)[0]
    points = ", ".join(f"{n}: {size / 2**20:.0f}" for n, size in zip(rows, memory, strict=True))
    print(
        f"  memory (d = 20), MiB above imports and data: {points}; exponent {slope:.2f}; "
        f"{memory[-1] / (8.0 * 20 * rows[-1]):.1f} times the data",
        flush=True,
    )


def verification(count: int = 1000) -> None:
    """Certificates of d = 32, n = 300, checked one after the other."""
    problem = make("32,300")
    certificate = solve(problem, 1e-4).certificate
    start = time.perf_counter()
    for _ in range(count):
        verify(certificate, problem.X, problem.y)
    print(f"verification of {count} certificates, d = 32, n = 300: ", end="")
    print(f"{time.perf_counter() - start:.2f} s")
