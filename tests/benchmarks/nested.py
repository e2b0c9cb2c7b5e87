"""Accuracy against bytes: `python -m tests.benchmarks.nested [FOLDER [SET…]]`, nested.

Three stratified outer folds, the same for all, dealt three times where rows are fewer than 900.
Each arm sees a fold's training part alone and makes every choice of its own there: ours by
`qnn.training.selection` (`auto`), as a classifier did before it (`default before`: standardized,
squared loss, β at 0.05 of its maximum), logistic regression, the RBF-SVM and boosting by three
inner folds. Bytes are all that predicts from raw numbers: of a network its packed weights and
second layer, and its means, scales and thresholds as they are stored (rounded before it is
trained); of logistic regression 8 a coefficient, into which the scaling is multiplied; of the SVM 8
a number, its support vectors' and the scaling's; of boosting 9 a split and 8 a leaf: what
scikit-learn keeps of them.

Peers of equal bytes have at most as many as ours of that fold, with numbers rounded to 2 bytes:
boosting with trees of depth 1 or 2, logistic regression with its largest coefficients at 3 bytes
each, and a network of ±1 weights of our form on our encodings (float second layer refitted, then 8
bits each) by straight-through backpropagation, on standardized columns or three bits each, at one
of two β: the best of four on a held-out third.

Each fold is written to FOLDER (out/nested, where none is named) as it ends and read from there
again; after each set the table and the figure of all so far are made: FOLDER/accuracy.md and
FOLDER/accuracy.png.
"""

import json
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from qnn.features.preprocessing import Preprocessing
from qnn.losses import get_loss
from qnn.networks.quantized import QuantizedNetwork
from qnn.networks.stacks import stack
from qnn.training.arms.base import BestLayer, to_alphabet
from qnn.training.arms.descent import SETTINGS, run
from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem
from qnn.training.relaxation import solve
from qnn.training.rounding import round_relaxation
from qnn.training.selection import SECOND_LAYER, Kind, Wanted, choose
from qnn.training.selection.paths import path
from tests.benchmarks.nested_peers import (
    LARGE,
    Arm,
    Part,
    Result,
    searched,
    share,
    small_boosting,
    small_logistic,
)

DATA = Path(__file__).parents[1] / "data"
LOADERS = {
    "wdbc": load_breast_cancer,
    "digits": load_digits,
    "iris": load_iris,
    "wine": load_wine,
}
# The cheap ones first.
SETS = (
    "iris", "wine", "votes", "recurrence", "wisconsin", "zoo", "wdbc", "ionosphere", "pima",
    "glass", "vehicle", "german_credit", "vowel", "segment", "digits",
)  # fmt: skip
FOLDER = "out/nested"
OUTER = 3
# How often folds are dealt anew where rows are fewer than `MANY`: what three folds of 150 rows say
# hangs on how they were dealt.
REPEATS, MANY = 3, 900
PEERS = tuple(LARGE)
EQUAL = ("boosting, equal bytes", "logistic, equal bytes", "straight-through, equal bytes")
OURS = ("auto", "default before")


def load(name: str) -> Part:
    """A set's columns and labels."""
    if name in LOADERS:
        bunch = LOADERS[name](as_frame=True)
        return bunch.data, bunch.target.to_numpy()
    table = pd.read_csv(DATA / f"{name}.csv", dtype={"target": str})
    return table.drop(columns="target"), table["target"].to_numpy()


def auto(train: Part, test: Part, seed: int, budget: int) -> Result:
    """Our network with its bound: chosen, relaxed, rounded."""
    network, preprocessing, told = auto_network(train, seed)
    return _judged(network, preprocessing, test) | told


def auto_network(train: Part, seed: int) -> tuple[QuantizedNetwork, Preprocessing, Result]:
    """The network, what encodes its rows, and its setting, gap and seconds."""
    began = time.process_time()
    table, target = train
    classes, wanted = list(np.unique(target)), Wanted()
    choice = choose(table, target, classes, wanted, seed)
    chosen = time.process_time() - began
    kind = choice.kind
    layout = wanted.layout_of(kind, table)
    preprocessing = layout.fit(table, target, classes).coded(kind.multi_class)
    networks, lower, upper = [], 0.0, 0.0
    for problem in _problems(preprocessing, train, kind, choice.fraction):
        relaxation = solve(problem, tol=1e-3)
        width = choice.width or wanted.widths[0]
        rng = np.random.default_rng(seed)
        network = round_relaxation(relaxation, width, rng, second_layer=SECOND_LAYER)
        networks.append(network)
        lower, upper = lower + relaxation.lower_bound, upper + problem.objective(network)
    network = networks[0] if len(networks) == 1 else stack(networks)
    told = {
        "setting": f"{kind}, {choice.fraction:g}, {choice.width}",
        "gap": (upper - lower) / upper,
        "choosing": chosen,
        "seconds": time.process_time() - began,
    }
    return network, preprocessing, told


def default_before(train: Part, test: Part, seed: int, budget: int) -> Result:
    """The setting of the estimators before `auto`, by column generation without a bound."""
    table, target = train
    kind, classes = Kind("standardize", 3, "squared"), list(np.unique(target))
    preprocessing = Wanted(scaling="standardize").layout_of(kind, table).fit(table, target, classes)
    problems = _problems(preprocessing, train, kind, 0.05)
    rng = np.random.default_rng(seed)
    scores, size = [], 0
    X = preprocessing.transform(test[0])
    for problem in problems:
        fraction = min(1.0, problem.beta / problem.beta_max_estimate)
        networks = next(path(problem, (fraction,), 256, rng))
        scores.append(networks.scores(X)[:, 0])
        size += sum(one.W.shape[0] * -(-one.W.shape[1] * one.width // 8) + 8 * one.width
                    for one in networks.outputs)  # fmt: skip
    found = scores[0] if len(scores) == 1 else np.stack(scores, axis=1)
    bytes_ = size + preprocessing.bytes_of_numbers
    return {"accuracy": share(preprocessing.decode(found), test[1]), "bytes": bytes_}


def _problems(
    preprocessing: Preprocessing, train: Part, kind: Kind, fraction: float
) -> list[Problem]:
    """A problem for each output, all at the same β."""
    X, coded = preprocessing.transform(train[0]), preprocessing.encode_target(train[1])
    several = VectorProblem(X, coded.reshape(len(X), -1), 1.0, get_loss(kind.loss), kind.activation)
    return list(several.with_beta(fraction * several.beta_max).outputs)


def _judged(network: QuantizedNetwork, preprocessing: Preprocessing, test: Part) -> Result:
    network = replace(network, preprocessing=preprocessing)
    scores = network.decision_function(preprocessing.transform(test[0]))
    hits = share(preprocessing.decode(scores), test[1])
    whole = network.size_in_bytes + preprocessing.bytes_of_numbers
    return {"accuracy": hits, "bytes": whole, "network": network.size_in_bytes,
            "neurons": network.neurons}  # fmt: skip


# β of its maximum that the straight-through peer chooses from, and the steps of each of its runs.
STRAIGHT, STEPS = (0.02, 0.004), 600
ENCODED = (Kind("standardize", 3, "logistic"), Kind("thermometer", 3, "logistic"))


def straight_through(train: Part, test: Part, seed: int, budget: int) -> Result:
    """A network of our form, as wide as `budget` allows, by straight-through Adam."""
    order = np.random.default_rng(seed).permutation(len(train[1]))
    held, fit = (_rows(train, some) for some in np.split(order, [len(order) // 3]))
    known = set(fit[1]) == set(train[1])
    settings = list(product(ENCODED, STRAIGHT))
    scores = [_straight(fit, held, *one, seed, budget) if known else None for one in settings]
    # One that does not fit into the budget at all is taken where none does.
    ranks = [(False, 0.0) if one is None else (one[1] <= budget, one[0]) for one in scores]
    chosen = settings[max(range(len(settings)), key=lambda k: ranks[k])]
    share, size = _straight(train, test, *chosen, seed, budget)
    return {"accuracy": share, "bytes": size, "setting": f"{chosen[0]}, {chosen[1]:g}"}


def _rows(part: Part, rows: np.ndarray) -> Part:
    return part[0].iloc[rows], part[1][rows]


def _straight(
    train: Part, test: Part, kind: Kind, fraction: float, seed: int, budget: int
) -> tuple[float, int]:
    """Accuracy on the test part, and bytes."""
    classes = list(np.unique(train[1]))
    preprocessing = Wanted().layout_of(kind, train[0]).fit(train[0], train[1], classes)
    problems = _problems(preprocessing, train, kind, fraction)
    room = (budget - preprocessing.bytes_of_numbers) / len(problems) - 8
    width = int(np.clip(room * 8 // (2 * problems[0].d + SECOND_LAYER), 1, 64))
    networks = []
    for number, problem in enumerate(problems):
        best, rng = BestLayer(problem, np.inf), np.random.default_rng([seed, number])
        run(best, width, SETTINGS[0], to_alphabet, rng, np.inf, steps=STEPS)
        networks.append(_on_a_grid(best.network()))
    network = networks[0] if len(networks) == 1 else stack(networks)
    judged = _judged(network, preprocessing, test)
    return judged["accuracy"], judged["bytes"]


def _on_a_grid(network: QuantizedNetwork) -> QuantizedNetwork:
    """The same with its second layer on `SECOND_LAYER` bits."""
    largest = 2 ** (SECOND_LAYER - 1) - 1
    scale = float(np.abs(network.alpha).max(initial=0.0)) / largest or 1.0
    alpha = np.rint(network.alpha / scale) * scale
    return replace(network, alpha=alpha, second_layer=str(SECOND_LAYER))


ARMS: dict[str, Arm] = {
    "auto": auto,
    "default before": default_before,
    **{name: searched(*setting) for name, setting in LARGE.items()},
    "boosting, equal bytes": small_boosting,
    "logistic, equal bytes": small_logistic,
    "straight-through, equal bytes": straight_through,
}


def measure(name: str, folder: Path) -> dict[str, list[Result]]:
    """All arms on all folds of a set; what is in the folder already is read."""
    kept = folder / f"{name}.json"
    found: dict[str, list[Result]] = json.loads(kept.read_text()) if kept.exists() else {}
    table, target = load(name)
    folds = deal(table, target)
    for arm, train_and_judge in ARMS.items():
        for number in range(len(found.get(arm, [])), len(folds)):
            fit, test = folds[number]
            parts = ((table.iloc[rows], target[rows]) for rows in (fit, test))
            budget = int(found["auto"][number]["bytes"]) if arm in EQUAL else 0
            result = train_and_judge(*parts, number, budget)
            found.setdefault(arm, []).append(result)
            kept.write_text(json.dumps(found))
            print(name, arm, number, result, file=sys.stderr, flush=True)
    return found


def deal(table: pd.DataFrame, target: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows to fit and to judge of each outer fold, one deal after the other."""
    return [
        fold
        for repeat in range(REPEATS if len(target) < MANY else 1)
        for fold in StratifiedKFold(OUTER, shuffle=True, random_state=repeat).split(table, target)
    ]


def _mean(results: list[Result], key: str) -> float:
    return float(np.mean([result[key] for result in results]))


def _beside(found: dict[str, list[Result]], others: tuple[str, ...]) -> tuple[float, float]:
    """Points of `auto` above the best of other arms, and the standard error over the folds.

    Training parts overlap: the variance of the mean is (1/k + rows judged over rows fitted) times
    that of the k folds (Nadeau and Bengio, 2003).
    """
    best = max(others, key=lambda arm: _mean(found[arm], "accuracy"))
    apart = [
        100.0 * (ours["accuracy"] - other["accuracy"])
        for ours, other in zip(found["auto"], found[best], strict=True)
    ]
    shared = 1.0 / len(apart) + 1.0 / (OUTER - 1.0)
    return float(np.mean(apart)), float(np.std(apart, ddof=1) * np.sqrt(shared))


def row(name: str, found: dict[str, list[Result]]) -> str:
    """A line of the table."""
    cells = [
        f"{100 * _mean(found[arm], 'accuracy'):.1f} ({_mean(found[arm], 'bytes'):.0f})"
        for arm in (*OURS, *PEERS)
    ]
    cells.append("{:+.1f} ± {:.1f}".format(*_beside(found, PEERS)))
    cells.append(f"{100 * _mean(found['auto'], 'bytes') / _mean(found['RBF-SVM'], 'bytes'):.1f} %")
    cells += [f"{100 * _mean(found[arm], 'accuracy'):.1f}" for arm in EQUAL]
    cells.append("{:+.1f} ± {:.1f}".format(*_beside(found, EQUAL)))
    cells.append(f"{100 * _mean(found['auto'], 'gap'):.1f} %")
    cells.append(f"{_mean(found['auto'], 'choosing'):.0f} of {_mean(found['auto'], 'seconds'):.0f}")
    return f"| {' | '.join([name, *cells])} |"


def page(found: dict[str, dict[str, list[Result]]]) -> str:
    """The table of all sets, with the sums that the targets are about."""
    titles = [
        "set", "auto", "default before", *PEERS, "points beside the best", "of the SVM's bytes",
        *EQUAL, "points beside the best of equal bytes", "gap", "seconds choosing",
    ]  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [row(name, arms) for name, arms in found.items()]
    apart = [_beside(arms, PEERS)[0] for arms in found.values()]
    equal = [_beside(arms, EQUAL) for arms in found.values()]
    lines.append(
        f"\nMean distance to the best peer {np.mean(apart):+.2f} points, the worst "
        f"{np.min(apart):+.1f}; at least as good as all peers of equal bytes on "
        f"{sum(mean > -1e-9 for mean, _ in equal)} of {len(equal)}, below the best of them by more "
        f"than a standard error on {sum(mean < -error for mean, error in equal)}."
    )
    return "\n".join(lines) + "\n"


def figure(found: dict[str, dict[str, list[Result]]], target: Path) -> None:
    """Accuracy beside the best peer's against bytes beside the SVM's: a dot a set and arm.

    An arm that was not run on a set has none there.
    """
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(8, 4.5), layout="constrained")
    axes = canvas.add_subplot()
    shown = {"auto": "o", "default before": "x", "logistic regression": "^", "boosting": "s",
             "boosting, equal bytes": "v", "straight-through, equal bytes": "+"}  # fmt: skip
    for arm, marker in shown.items():
        x, y = [], []
        for arms in (arms for arms in found.values() if arm in arms):
            best = max(_mean(arms[peer], "accuracy") for peer in PEERS)
            x.append(_mean(arms[arm], "bytes") / _mean(arms["RBF-SVM"], "bytes"))
            y.append(100.0 * (_mean(arms[arm], "accuracy") - best))
        axes.plot(x, y, marker, label=arm, alpha=0.75)
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    axes.axvline(0.05, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        ylim=(-22, 6),
        xlabel="bytes, of the RBF-SVM's",
        ylabel="test accuracy less the best peer's, points",
    )
    axes.legend(loc="lower right", fontsize="small")
    canvas.savefig(target, dpi=120)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in sys.argv[2:] or SETS:
        with threadpool_limits(1):
            found[name] = measure(name, folder)
        (folder / "accuracy.md").write_text(page(found), encoding="utf-8")
        figure(found, folder / "accuracy.png")
    print(page(found))


if __name__ == "__main__":
    main()
