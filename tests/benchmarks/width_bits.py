"""The objective against width × bits, bilinear networks on WDBC: `python -m
tests.benchmarks.width_bits`.

The bound is the same for every alphabet, so the curves say what bits buy: a narrower network of the
same objective. Writes docs/images/width_bits.png and prints the table in docs/networks.md.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

from qnn.training.problems.problem import Problem
from qnn.training.relaxation.choice import solve
from qnn.training.rounding import round_relaxation

WIDTHS = (2, 4, 8, 16, 32)
ALPHABETS = ("binary", 2, 3, 4)
SEEDS = (0, 1, 2)
BETA = 30.0
FIGURE = Path(__file__).parents[2] / "docs" / "images" / "width_bits.png"


def measure() -> tuple[float, dict[tuple[str, int], tuple[float, int]]]:
    """The lower bound, and of each (alphabet, width) the best objective and its bytes."""
    X, labels = load_breast_cancer(return_X_y=True)
    X = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
    found, bound = {}, 0.0
    for alphabet in ALPHABETS:
        problem = Problem(X, 2.0 * labels - 1.0, BETA, alphabet=alphabet)
        relaxation = solve(problem)
        bound = max(bound, relaxation.lower_bound)
        for width in WIDTHS:
            networks = [
                round_relaxation(relaxation, width, np.random.default_rng(seed)) for seed in SEEDS
            ]
            best = min(networks, key=problem.objective)
            found[str(alphabet), width] = (problem.objective(best), best.size_in_bytes)
    return bound, found


def draw(bound: float, found: dict[tuple[str, int], tuple[float, int]]) -> Figure:
    """A line an alphabet; objective against the number of neurons, and against bytes."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for alphabet in map(str, ALPHABETS):
        points = [found[alphabet, width] for width in WIDTHS]
        name = alphabet if alphabet == "binary" else f"{alphabet} bits"
        left.plot(WIDTHS, [value for value, _ in points], marker="o", label=name)
        right.plot([size for _, size in points], [value for value, _ in points], marker="o")
    for axes, words in ((left, "most neurons"), (right, "bytes")):
        axes.axhline(bound, color="0.4", linestyle="--", linewidth=1)
        axes.set(xscale="log", xlabel=words)
        axes.set_xscale("log", base=2)
    left.set_ylabel("training objective")
    left.legend(frameon=False)
    return figure


def main() -> None:
    """Measure, print, draw."""
    bound, found = measure()
    print(f"lower bound {bound:.2f}")
    for alphabet in map(str, ALPHABETS):
        cells = (f"{found[alphabet, w][0]:.2f} ({found[alphabet, w][1]} B)" for w in WIDTHS)
        print(f"| {alphabet} | {' | '.join(cells)} |")
    draw(bound, found).savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
