"""The choice itself: every cell scored on the same folds, hopeless ones left early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qnn.features.class_weights import row_weights
from qnn.features.preprocessing import Preprocessing
from qnn.losses import get_loss
from qnn.training.problems.vector import problem_of
from qnn.training.selection.folds import Folds, make_folds, take, too_few
from qnn.training.selection.kinds import AUTO, Kind, Wanted
from qnn.training.selection.paths import Networks, path
from qnn.training.selection.sizes import refuse_small, whole_bytes, widest_within

# Cells in a row worse than the best of their kind by so much of its standard error: the path ends.
PAST, PAST_ERRORS = 2, 0.5
# What a nat of validation loss counts beside accuracy, which alone is too coarse on few rows: in
# nested cross-validation 97.5 % instead of 95.6 on breast cancer, 74.8 instead of 73.8 on glass.
LOSS_WEIGHT = 0.4
# Standard errors that a smaller network may be worse, by its mean.
SMALLER = 0.25
# Standard errors by which pairs of classes must be more accurate: they take more bytes.
PAIRED_ERRORS = 1.0
# Their path begins at so many times the best fraction of one class against the rest: where that is
# small, far larger ones under-fit (on vowel 52 to 88 % right at 0.2 to 0.025, 93 at 0.0015).
NEAR = 4.0
# The fraction where rows are too few for folds.
PLAIN = 0.05

#: Called before each cell with how many are done, how many there are at most, and the cell's name.
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Cell:
    """A setting, and what it reached on each fold: accuracy, or the negative RMSE.

    Where classes are weighted, accuracy is the share of the rows' weights: balanced, if they are.

    `loss` is the mean of the folds' validation losses a row, `size_in_bytes` of their networks with
    all numbers of their encoding.
    """

    kind: Kind
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


@dataclass(frozen=True)
class Choice:
    """The setting chosen, and all cells that were tried (in their order)."""

    kind: Kind
    fraction: float
    width: int | None
    cells: tuple[Cell, ...]


def choose(
    table: Any,
    target: np.ndarray,
    classes: Sequence[Any] | None,
    wanted: Wanted,
    seed: int = 0,
    report: Report | None = None,
) -> Choice:
    """The smallest setting that is hardly worse than the best, by cross-validation of these rows.

    Parameters
    ----------
    table : what `FeatureLayout.from_table` takes, n rows.
    target : (n,) labels, or (n,) or (n, C) numbers where `classes` is None.
    classes : the labels, None for a regression.
    wanted : what is fixed and what is to be chosen.
    seed : of folds, of the rows that choose where there are more than 2,000, and of the networks.
    report : called before each cell.

    Raises
    ------
    InputError : a table, target or setting that cannot be trained on.
    """
    kinds = wanted.kinds(table, classes)
    widths = _fitting(kinds, table, target, classes, wanted)
    kinds = tuple(kind for kind in kinds if widths[kind])
    if not wanted.chooses or too_few(target, classes):
        return _plain(kinds[0], wanted, widths[kinds[0]][0])
    folds = make_folds(target, classes, np.random.default_rng(seed))
    rows = sum(len(test) for _, test in folds)
    data = _Data(table, target, classes, wanted, folds, seed, widths)
    steps = _Steps(report, len(wanted.fractions), len(kinds))
    found = _best_of(kinds, data, steps, rows, wanted.fractions)
    found = _or_in_pairs(found, data, widths, steps, rows)
    if wanted.beta_fraction != AUTO or rows == len(target):
        return found
    return replace(found, fraction=_carried(found.fraction, len(folds[0][0]), len(target)))


def _or_in_pairs(
    found: Choice, data: _Data, widths: dict[Kind, tuple[int, ...]], steps: _Steps, rows: int
) -> Choice:
    """The choice, or that of its best kind with classes in pairs; `widths` gets those of that."""
    leader = max(found.cells, key=lambda cell: cell.merit)
    wanted, classes = data.wanted, data.classes
    paired = leader.kind.paired(classes) if wanted.multi_class == AUTO else None
    # Codings are compared by accuracy: losses of different outputs are not of one kind.
    least = leader.score + PAIRED_ERRORS * leader.error(rows)
    if paired is None or least >= 1.0:
        return found
    widths |= _fitting((paired,), data.table, data.target, classes, wanted, refuse=False)
    if not widths[paired]:
        return found
    near = tuple(one for one in wanted.fractions if one <= NEAR * leader.fraction)
    other = _best_of((paired,), data, steps, rows, near)
    both = (*found.cells, *other.cells)
    better = max(other.cells, key=lambda cell: cell.merit).score > least
    return replace(other if better else found, cells=both)


def _carried(fraction: float, fitted: int, rows: int) -> float:
    """The fraction for so many rows that was the best for fewer, to two digits.

    The noise in the gradient of a sum over n rows grows as √n, which β has to outweigh, and
    beta_max as n. For many rows that do not choose this is half the fraction or less.
    """
    return float(f"{fraction * np.sqrt(fitted / rows):.2g}")


def _best_of(
    kinds: Sequence[Kind], data: _Data, steps: _Steps, rows: int, fractions: tuple[float, ...]
) -> Choice:
    """The choice among kinds of one coding of the classes."""
    cells: list[Cell] = []
    leaders: list[tuple[Cell, list[_Fitted]]] = []
    for kind in kinds:
        own, leader = _followed(kind, data, steps, rows, fractions)
        cells += own
        leaders.append(leader)
    least = _hardly_worse(cells, rows)
    best: list[Cell] = []
    for cell, fitted in leaders:
        if cell.merit >= least:
            narrower = data.widths[cell.kind][1:]
            best += [cell, *(_narrowed(cell, fitted, width) for width in narrower)]
    known = set(map(id, cells))
    # Where all that is compared fits in the bytes allowed, the best counts, not the smallest.
    errors = SMALLER if data.wanted.max_bytes is None else 0.0
    cells += (cell for cell in best if id(cell) not in known)
    return _chosen(best, cells, rows, errors)


def _fitting(
    kinds: Sequence[Kind],
    table: Any,
    target: np.ndarray,
    classes: Sequence[Any] | None,
    wanted: Wanted,
    refuse: bool = True,
) -> dict[Kind, tuple[int, ...]]:
    """The widths of each kind that keep a network within `max_bytes`, wide to narrow.

    Those are of all rows' encoding, which is that of the network. Raises InputError, with `refuse`,
    where there are none.
    """
    most, found, least = wanted.max_bytes, {}, []
    if most is None:
        return dict.fromkeys(kinds, wanted.widths)
    for kind in kinds:
        layout = wanted.layout_of(kind, table)
        labels = None if classes is None else list(classes)
        fitted = layout.fit(table, target, labels).coded(kind.multi_class)
        parts = (fitted, kind.activation, wanted.alphabet, wanted.second_layer)
        widest = widest_within(most, wanted.widths[0], *parts)
        kept = {min(width, widest) for width in wanted.widths} - {0}
        found[kind] = tuple(sorted(kept, reverse=True))
        least.append(whole_bytes(1, *parts))
    if refuse and not any(found.values()):
        refuse_small(most, min(least))
    return found


def _followed(
    kind: Kind, data: _Data, steps: _Steps, rows: int, fractions: tuple[float, ...]
) -> tuple[list[Cell], tuple[Cell, list[_Fitted]]]:
    """The cells of a kind along its path, and the best with its networks."""
    own: list[Cell] = []
    leader: tuple[Cell, list[_Fitted]] | None = None
    fits = _fits(data, kind, fractions)
    for fraction in fractions:
        steps.tell(f"{kind}, β/β_max {fraction:g}", len(own))
        fitted = next(fits)
        own.append(_cell(kind, fraction, data.widths[kind][0], fitted))
        if leader is None or own[-1].merit > leader[0].merit:
            leader = own[-1], fitted
        if _past(own, rows):
            break
    assert leader is not None, "there is a fraction"
    steps.ended()
    return own, leader


@dataclass(frozen=True, eq=False)
class _Data:
    """What every cell is computed from."""

    table: Any
    target: np.ndarray
    classes: Sequence[Any] | None
    wanted: Wanted
    folds: Folds
    seed: int
    widths: Mapping[Kind, tuple[int, ...]]


@dataclass
class _Steps:
    """How far it is: kinds that have ended, each with so many steps at most."""

    report: Report | None
    each: int
    kinds: int
    done: int = 0

    def tell(self, name: str, step: int) -> None:
        """Report a cell that begins, the step of its kind."""
        if self.report is not None:
            kinds = max(self.kinds, self.done + 1)
            self.report(self.done * self.each + step, kinds * self.each, name)

    def ended(self) -> None:
        """A kind has."""
        self.done += 1


def _hardly_worse(cells: list[Cell], rows: int, errors: float = SMALLER) -> float:
    """The merit that is enough."""
    best = max(cells, key=lambda cell: cell.merit)
    return best.merit - errors * best.error(rows)


def _chosen(candidates: list[Cell], cells: list[Cell], rows: int, errors: float) -> Choice:
    """The smallest candidate that is hardly worse than the best; of equal ones the better.

    Candidates are each kind's best β and narrower networks there: a larger β saves few bytes.
    """
    least = _hardly_worse(candidates, rows, errors)
    enough = [cell for cell in candidates if cell.merit >= least]
    found = min(enough, key=lambda cell: (cell.size_in_bytes, -cell.merit))
    return Choice(found.kind, found.fraction, found.width, tuple(cells))


def _plain(kind: Kind, wanted: Wanted, widest: int) -> Choice:
    """The setting where nothing is to be chosen, or nothing can be."""
    fraction = PLAIN if wanted.beta_fraction == AUTO else float(wanted.beta_fraction)
    width = None if wanted.width in (AUTO, None) else int(wanted.width)
    if wanted.max_bytes is not None:
        width = widest
    return Choice(kind, fraction, width, ())


@dataclass(frozen=True, eq=False)
class _Fitted:
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

    def narrowed(self, width: int) -> _Fitted:
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


def _fits(data: _Data, kind: Kind, fractions: tuple[float, ...]) -> Iterator[list[_Fitted]]:
    """All folds' networks at each fraction in turn."""
    table, target, wanted = data.table, data.target, data.wanted
    classes = None if data.classes is None else list(data.classes)
    layout = wanted.layout_of(kind, table)
    paths, held = [], []
    for number, (fit, test) in enumerate(data.folds):
        part, labels = take(table, fit), target[fit]
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
        rng = np.random.default_rng([data.seed, number])
        paths.append(path(problem, fractions, data.widths[kind][0], rng))
        matrix, judged = preprocessing.transform(take(table, test)), target[test]
        counts = row_weights(wanted.class_weight, preprocessing.encode_target(judged))
        held.append((preprocessing, matrix, judged, counts))
    for networks in zip(*paths, strict=True):
        yield [_Fitted(one, *rows) for one, rows in zip(networks, held, strict=True)]


def _cell(kind: Kind, fraction: float, width: int, fitted: list[_Fitted]) -> Cell:
    return Cell(
        kind,
        fraction,
        width,
        tuple(fit.score() for fit in fitted),
        float(np.mean([fit.loss() for fit in fitted])),
        float(np.mean([fit.size_in_bytes for fit in fitted])),
    )


def _narrowed(cell: Cell, fitted: list[_Fitted], width: int) -> Cell:
    narrow = [fit.narrowed(width) for fit in fitted]
    return _cell(cell.kind, cell.fraction, width, narrow)


def _past(cells: list[Cell], rows: int) -> bool:
    """Whether a kind's last cells are past its best."""
    best = max(cells, key=lambda cell: cell.merit)
    least = best.merit - PAST_ERRORS * best.error(rows)
    return len(cells) > PAST and all(cell.merit < least for cell in cells[-PAST:])
