"""The cells of a choice: what is trained on each fold at a setting, and how it is judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qnn.features.class_weights import row_weights
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.features.tables import column_names
from qnn.losses import get_loss
from qnn.training.problems.vector import problem_of
from qnn.training.selection.folds import Folds, take
from qnn.training.selection.kinds import Kind, Wanted
from qnn.training.selection.paths import Networks, path

# What a nat of validation loss counts beside accuracy, which alone is too coarse on few rows: in
# nested cross-validation 97.5 % instead of 95.6 on breast cancer, 74.8 instead of 73.8 on glass.
LOSS_WEIGHT = 0.4

AllRows = tuple[Any, np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Cell:
    """A setting, and what it reached on each fold: accuracy, or the negative RMSE.

    Where classes are weighted, accuracy is the share of the rows' weights: balanced, if they are.

    `columns` is how many the networks of the folds read, of each fold's own; `loss` is the mean of
    the folds' validation losses a row, `size_in_bytes` of their networks with all numbers of their
    encoding.
    """

    kind: Kind
    columns: int
    fraction: float
    width: int
    scores: tuple[float, ...]
    loss: float
    size_in_bytes: float

    @property
    def score(self) -> float:
        """The mean over the folds."""
        return float(np.mean(self.scores))

    @property
    def merit(self) -> float:
        """What is compared: the RMSE, or accuracy and loss together."""
        return self.score - LOSS_WEIGHT * self.loss if self.score >= 0.0 else self.score

    def error(self, rows: int) -> float:
        """The standard error of the score on so many rows."""
        if self.score >= 0.0:
            return float(np.sqrt(self.score * (1.0 - self.score) / rows))
        return float(np.std(self.scores) / np.sqrt(len(self.scores)))


@dataclass(frozen=True, eq=False)
class Data:
    """What every cell is computed from.

    `all_rows`: table, target and weights that the encoding is fitted on in the end; None: these.
    """

    table: Any
    target: np.ndarray
    classes: Sequence[Any] | None
    wanted: Wanted
    folds: Folds
    seed: int
    all_rows: AllRows | None = None
    _layouts: dict[Kind, FeatureLayout] = field(default_factory=dict)

    def layout_of(self, kind: Kind) -> FeatureLayout:
        """The layout that a kind has on the table, which is looked into once."""
        if kind not in self._layouts:
            self._layouts[kind] = self.wanted.layout_of(kind, self.table)
        return self._layouts[kind]

    @property
    def rows(self) -> int:
        """How many rows judge."""
        return sum(len(test) for _, test in self.folds)

    @property
    def size_in_bytes(self) -> int:
        """What the rows take, a float64 a column."""
        return 8 * len(self.target) * len(column_names(self.table))

    @property
    def chosen_by(self) -> np.ndarray:
        """The numbers of all rows that choose."""
        return np.sort(np.concatenate([test for _, test in self.folds]))


@dataclass(frozen=True, eq=False)
class Fitted:
    """The networks of one fold at one fraction, with the fold's validation rows."""

    networks: Networks
    preprocessing: Preprocessing
    X: np.ndarray
    target: np.ndarray
    weights: np.ndarray | None

    @property
    def scores(self) -> np.ndarray:
        """Outputs (k, C), or (k,) where there is one."""
        scores = self.networks.scores(self.X)
        return scores if self.preprocessing.target.shape else scores[:, 0]

    @property
    def size_in_bytes(self) -> int:
        """What a predictor carries: the networks, and the numbers of the encoding."""
        return self.networks.size_in_bytes + self.preprocessing.bytes_of_numbers

    def narrowed(self, width: int) -> Fitted:
        """The same with narrower networks."""
        return replace(self, networks=self.networks.narrowed(width))

    def score(self) -> float:
        """Accuracy, or minus the RMSE in units of the coded targets."""
        if self.preprocessing.classes is not None:
            hits = self.preprocessing.decode(self.scores) == self.target
            return float(np.average(hits, weights=self.weights))
        apart = self.scores - self.preprocessing.encode_target(self.target)
        return -float(np.sqrt(np.mean(apart**2)))

    def loss(self) -> float:
        """The loss a row, summed over the outputs that it has a part in."""
        loss = self.networks.outputs[0].problem.loss
        coded = self.preprocessing.encode_target(self.target)
        part = np.nonzero(coded) if self.preprocessing.target.pairs else ...
        rows = float(len(coded))
        if self.weights is not None:
            rows = float(self.weights.sum())
            counts = np.broadcast_to(self.weights, coded.T.shape).T
            loss = loss.weighted(np.ravel(counts[part]))
        return loss.value(np.ravel(self.scores[part]), np.ravel(coded[part])) / rows


def fits(
    data: Data,
    kind: Kind,
    fractions: tuple[float, ...],
    width: int,
    columns: Sequence[tuple[str, ...]] | None = None,
) -> Iterator[list[Fitted]]:
    """All folds' networks at each fraction in turn; `columns`: those that each fold reads."""
    layout = data.layout_of(kind)
    layouts = [layout.only(names) for names in columns or ()] or [layout] * len(data.folds)
    paths, held = [], []
    for number, ((fit, test), own) in enumerate(zip(data.folds, layouts, strict=True)):
        rng = np.random.default_rng([data.seed, number])
        preprocessing, networks = trained(data, kind, fit, own, fractions, width, rng)
        paths.append(networks)
        matrix = preprocessing.transform(take(data.table, test))
        judged = data.target[test]
        counts = row_weights(data.wanted.class_weight, preprocessing.encode_target(judged))
        held.append((preprocessing, matrix, judged, counts))
    for found in zip(*paths, strict=True):
        yield [Fitted(one, *rows) for one, rows in zip(found, held, strict=True)]


def trained(
    data: Data,
    kind: Kind,
    rows: np.ndarray,
    layout: FeatureLayout,
    fractions: tuple[float, ...],
    width: int,
    rng: np.random.Generator,
) -> tuple[Preprocessing, Iterator[Networks]]:
    """What encodes these rows, and the networks that are trained on them at each fraction."""
    wanted, part, labels = data.wanted, take(data.table, rows), data.target[rows]
    classes = None if data.classes is None else list(data.classes)
    preprocessing = layout.fit(part, labels, classes).coded(kind.multi_class)
    coded = preprocessing.encode_target(labels)
    loss = get_loss(kind.loss, wanted.loss_parameter)
    problem = problem_of(
        preprocessing.transform(part),
        coded,
        1.0,
        loss.weighted(row_weights(wanted.class_weight, coded)),
        kind.activation,
        wanted.alphabet,
    )
    return preprocessing, path(problem, fractions, width, rng)


def cell(kind: Kind, fraction: float, width: int, fitted: list[Fitted]) -> Cell:
    """A setting as the folds judge it."""
    return Cell(
        kind,
        len(fitted[0].preprocessing.layout.kept),
        fraction,
        width,
        tuple(fit.score() for fit in fitted),
        float(np.mean([fit.loss() for fit in fitted])),
        float(np.mean([fit.size_in_bytes for fit in fitted])),
    )


def narrowed(wide: Cell, fitted: list[Fitted], width: int) -> Cell:
    """The same setting with fewer neurons."""
    return cell(wide.kind, wide.fraction, width, [fit.narrowed(width) for fit in fitted])
