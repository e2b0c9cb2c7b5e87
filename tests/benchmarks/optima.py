"""Proven optima, and the bounds between, of real and planted sets: certified, verified, tabled.

python -m tests.benchmarks.optima [--sets wdbc pima] [--fractions 0.3 0.1] [--limit 600]
                                  [--activations relu square] [--out out/optima]
                                  [--write docs/optima.md]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from qnn.certificates import Certificate, verify
from qnn.networks.activations import Activation, Bilinear, Polynomial
from qnn.numerics.gaps import relative_gap
from qnn.training.fit import Trained, train
from qnn.training.problems.levels import facts_of, refusal
from qnn.training.problems.problem import Problem
from tests.benchmarks.measure import machine, replace_table

DATA = Path(__file__).parents[1] / "data"
FRACTIONS = (0.3, 0.1, 0.03)
# Betas given as such, beside the fractions: those that others have published or asked about.
BETAS = {("wdbc", "bilinear"): (30.0, 5.0)}
MARK = "<!-- table of {} -->"
ACTIVATIONS: dict[str, Activation] = {
    "bilinear": Bilinear(),
    "relu": Polynomial(0.0937, 0.5, 0.4688),
    "square": Polynomial(1.0, 0.0, 0.0),
}
HEAD = (
    "| set | n | d | β | β/β_max | relaxation's gap | tightened gap | s | objective | proven gap "
    "| neurons | s | s to verify | certificate |\n" + "|---" * 14 + "|\n"
)


def standardized(columns: np.ndarray) -> np.ndarray:
    """Mean 0, deviation 1 (ddof 0), constant columns dropped, a column of ones appended."""
    columns = columns[:, columns.std(axis=0) > 0.0]
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return np.column_stack([scaled, np.ones(len(scaled))])


def wdbc() -> tuple[np.ndarray, np.ndarray]:
    data = load_breast_cancer()
    return standardized(data.data), 2.0 * data.target - 1.0


def wdbc_thermometer() -> tuple[np.ndarray, np.ndarray]:
    """Three bits a feature, above each quartile or not, as ±1."""
    data = load_breast_cancer()
    quartiles = np.quantile(data.data, [0.25, 0.5, 0.75], axis=0)
    bits = np.hstack([np.where(data.data > row, 1.0, -1.0) for row in quartiles])
    return np.column_stack([bits, np.ones(len(bits))]), 2.0 * data.target - 1.0


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The digit 3 against the rest."""
    data = load_digits()
    return standardized(data.data), np.where(data.target == 3, 1.0, -1.0)


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A set of tests/data: numbers as they are, texts one-hot, the target's first class +1."""
    with open(DATA / f"{name}.csv", newline="") as file:
        head, *rows = list(csv.reader(file))
    columns = dict(zip(head, map(np.array, zip(*rows, strict=True)), strict=True))
    target = columns.pop("target")
    blocks = []
    for values in columns.values():
        try:
            blocks.append(values.astype(float)[:, None])
        except ValueError:
            blocks.append((values[:, None] == np.unique(values)).astype(float))
    return standardized(np.hstack(blocks)), np.where(target == target[0], 1.0, -1.0)


def planted(d: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian rows, the outputs of five quantized neurons, and noise; seed d."""
    rng = np.random.default_rng(d)
    X = rng.standard_normal((n, d))
    U, V = rng.choice([-1.0, 1.0], (2, d, 5))
    signal = ((X @ U) * (X @ V)) @ rng.standard_normal(5)
    return X, signal + 0.3 * signal.std() * rng.standard_normal(n)


SETS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "planted-8": lambda: planted(8, 60),
    "planted-12": lambda: planted(12, 150),
    "planted-16": lambda: planted(16, 250),
    "planted-20": lambda: planted(20, 400),
    "pima": lambda: table("pima"),
    "wdbc": wdbc,
    "wdbc-thermometer": wdbc_thermometer,
    "ionosphere": lambda: table("ionosphere"),
    "german_credit": lambda: table("german_credit"),
    "digits-3": digits,
}


@dataclass(frozen=True)
class Row:
    """One problem: the tightened bound where there is one, and the best network and bound."""

    name: str
    problem: Problem
    tightened: Trained | None
    best: Trained
    verify_seconds: float
    certificate: str

    def __str__(self) -> str:
        problem, best = self.problem, self.best
        relaxed = relative_gap(best.objective, best.relaxation.lower_bound)
        between = "– | –"
        if self.tightened is not None:
            gap = relative_gap(best.objective, self.tightened.lower_bound)
            between = f"{100 * gap:.3f} % | {self.tightened.statistics['seconds']:.1f}"
        return (
            f"| {self.name} | {problem.n} | {problem.d} | {problem.beta:.6g} "
            f"| {problem.beta / problem.beta_max:.3g} | {100 * relaxed:.2f} % "
            f"| {between} "
            f"| {best.objective:.9g} | {best.gap:.1e} | {best.network.neurons} "
            f"| {best.statistics['seconds']:.1f} | {self.verify_seconds:.1f} | {self.certificate} |"
        )


def rows(
    names: list[str], activations: list[str], fractions: list[float], limit: float, out: Path
) -> Iterator[Row]:
    """Train, certify, save, load and verify each set with each activation at each beta."""
    for name, activation in itertools.product(names, activations):
        X, y = SETS[name]()
        largest = Problem(X, y, 1.0, activation=ACTIVATIONS[activation])
        label = name if activation == "bilinear" else f"{name}-{activation}"
        betas = [fraction * largest.beta_max for fraction in fractions]
        for beta in (*betas, *BETAS.get((name, activation), ())):
            problem = largest.with_beta(beta)
            tightened = None
            if refusal("tightened", facts_of(problem)) is None:
                tightened = train(problem, certify="tightened", time_limit=limit, tol=1e-3)
            best = train(problem, certify="exact", time_limit=limit, tol=1e-3)
            stem = f"{label}-{beta:.6g}"
            best.network.save(out / f"{stem}.network.npz")
            best.certificate.save(out / f"{stem}.npz")
            begin = time.perf_counter()
            bound = verify(Certificate.load(out / f"{stem}.npz"), X, y)
            seconds = time.perf_counter() - begin
            if not bound >= best.lower_bound:
                sys.exit(f"{stem}: the bound did not verify")
            yield Row(label, problem, tightened, best, seconds, f"{stem}.npz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--activations", nargs="+", choices=ACTIVATIONS, default=["bilinear"])
    parser.add_argument("--fractions", nargs="*", type=float, default=list(FRACTIONS))
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for each problem")
    parser.add_argument("--out", type=Path, default=Path("out/optima"), help="certificates")
    parser.add_argument("--write", type=Path, help="a document whose table is replaced")
    arguments = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        # BLAS reads it when it is loaded; its threads only cost time at these sizes.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "tests.benchmarks.optima", *sys.argv[1:]])
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(HEAD, end="")
    lines = []
    for row in rows(
        arguments.sets,
        arguments.activations,
        arguments.fractions,
        arguments.limit,
        arguments.out,
    ):
        lines.append(str(row))
        print(row, flush=True)
    if arguments.write:
        mark = MARK.format(", ".join(arguments.activations))
        replace_table(arguments.write, mark, HEAD + "\n".join(lines) + f"\n\n({machine()})")


if __name__ == "__main__":
    main()
