"""The choice itself: every cell scored on the same folds, hopeless ones left early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.networks.activations import Activation
from qnn.training.selection.cells import Cell, Data, Fitted, cell, fits, narrowed, trained
from qnn.training.selection.columns import fewer, most_important
from qnn.training.selection.folds import make_folds, too_few
from qnn.training.selection.kinds import AUTO, Kind, Wanted
from qnn.training.selection.sizes import refuse_small, whole_bytes, widest_within

# Cells in a row worse than the best of their kind by so much of its standard error: the path ends.
PAST, PAST_ERRORS = 2, 0.5
# Standard errors that a smaller network may be worse than the best that reads all columns.
SMALLER = 1.0
# Standard errors by which pairs of classes must be more accurate: they take more bytes.
PAIRED_ERRORS = 1.0
# Paths that begin with a known best fraction, that of one class against the rest or of more
# columns: from so many times it, down to the second number of it. Where the fraction is small, far
# larger ones under-fit (on vowel in pairs 52 to 88 % right at 0.2 to 0.025, 93 at 0.0015).
NEAR, BELOW = 4.2, 0.45
# The fraction where rows are too few for folds.
PLAIN = 0.05

#: Called before each cell with how many are done, how many there are at most, and the cell's name.
Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Choice:
    """The setting chosen, and all cells that were tried (in their order).

    `kind.columns` are those that are read, where the choice leaves some out.
    """

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
    data = Data(table, target, classes, wanted, folds, seed, widths)
    steps = _Steps(report, len(wanted.fractions), len(kinds))
    found = _best_of(kinds, data, steps, wanted.fractions)
    found = _or_in_pairs(found, data, widths, steps)
    choice = _settled(found, data)
    if wanted.beta_fraction != AUTO or data.rows == len(target):
        return choice
    return replace(choice, fraction=_carried(choice.fraction, len(folds[0][0]), len(target)))


@dataclass(frozen=True, eq=False)
class _Step:
    """The best cell of a kind with so many columns, its networks, and narrower widths."""

    cell: Cell
    narrower: tuple[int, ...]
    fitted: list[Fitted]


@dataclass(frozen=True)
class _Found:
    """The cell that is chosen, the best of its kind with more columns each, and all cells."""

    cell: Cell
    before: tuple[Cell, ...]
    cells: tuple[Cell, ...]


def _or_in_pairs(
    found: _Found, data: Data, widths: dict[Kind, tuple[int, ...]], steps: _Steps
) -> _Found:
    """What was found, or that of its best kind with classes in pairs; `widths` gets those of that.

    The best is that of all columns.
    """
    leader = max(found.cells, key=lambda cell: (cell.columns, cell.merit))
    wanted, classes = data.wanted, data.classes
    paired = leader.kind.paired(classes) if wanted.multi_class == AUTO else None
    # Codings are compared by accuracy: losses of different outputs are not of one kind.
    least = leader.score + PAIRED_ERRORS * leader.error(data.rows)
    if paired is None or least >= 1.0:
        return found
    widths |= _fitting((paired,), data.table, data.target, classes, wanted, refuse=False)
    if not widths[paired]:
        return found
    near = tuple(one for one in wanted.fractions if one <= NEAR * leader.fraction)
    other = _best_of((paired,), data, steps, near)
    both = (*found.cells, *other.cells)
    better = max(other.cells, key=lambda cell: (cell.columns, cell.merit)).score > least
    return replace(other if better else found, cells=both)


def _carried(fraction: float, fitted: int, rows: int) -> float:
    """The fraction for so many rows that was the best for fewer, to two digits.

    The noise in the gradient of a sum over n rows grows as √n, which β has to outweigh, and
    beta_max as n. For many rows that do not choose this is half the fraction or less.
    """
    return float(f"{fraction * np.sqrt(fitted / rows):.2g}")


def _best_of(
    kinds: Sequence[Kind], data: Data, steps: _Steps, fractions: tuple[float, ...]
) -> _Found:
    """What is chosen among kinds of one coding of the classes."""
    cells: list[Cell] = []
    trails: list[list[_Step]] = []
    for kind in kinds:
        own, step = _followed(kind, data, steps, fractions)
        cells += own
        trails.append([step])
    least = _hardly_worse([trail[0].cell for trail in trails], data)
    best: list[tuple[Cell, tuple[Cell, ...]]] = []
    for trail in trails:
        if data.wanted.reduces:
            for own, step in _reduced(trail[0], data, steps, least):
                cells += own
                trail.append(step)
        before: tuple[Cell, ...] = ()
        for step in trail:
            if step.cell.merit >= least:
                narrow = [narrowed(step.cell, step.fitted, width) for width in step.narrower]
                best += [(one, before) for one in (step.cell, *narrow)]
                cells += narrow
            before = (*before, step.cell)
    # Candidates are each kind's best β and narrower networks there: a larger β saves few bytes.
    # Where all that is compared fits in the bytes allowed, the best counts, not the smallest.
    if data.wanted.max_bytes is None:
        enough = [one for one in best if one[0].merit >= least]
        found = min(enough, key=lambda one: (one[0].size_in_bytes, -one[0].merit))
    else:
        found = max(best, key=lambda one: (one[0].merit, -one[0].size_in_bytes))
    return _Found(*found, tuple(cells))


def _hardly_worse(leaders: Sequence[Cell], data: Data) -> float:
    """The merit that is enough."""
    best = max(leaders, key=lambda cell: cell.merit)
    return best.merit - SMALLER * best.error(data.rows)


def _reduced(
    full: _Step, data: Data, steps: _Steps, least: float
) -> Iterator[tuple[list[Cell], _Step]]:
    """The cells with fewer and fewer columns, and the best of each, to the first not enough.

    Which columns stay each fold decides for itself, by its best networks with more.
    """
    step = full
    while (count := fewer(step.cell.columns)) < step.cell.columns:
        columns = [
            most_important(fit.networks, fit.preprocessing.layout, count) for fit in step.fitted
        ]
        best = step.cell.fraction
        near = [one for one in data.wanted.fractions if BELOW * best <= one <= NEAR * best]
        own, step = _followed(step.cell.kind, data, steps, tuple(near), columns)
        yield own, step
        if step.cell.merit < least:
            return


def _settled(found: _Found, data: Data) -> Choice:
    """The choice, with the names of the columns that networks of all rows that choose keep."""
    kind, wanted, width = found.cell.kind, data.wanted, found.cell.width
    if not found.before:
        return Choice(kind, found.cell.fraction, width, found.cells)
    layout = wanted.layout_of(kind, data.table)
    sizes = [cell.columns for cell in (*found.before, found.cell)][1:]
    for number, (before, count) in enumerate(zip(found.before, sizes, strict=True)):
        near = [one for one in wanted.fractions if one >= before.fraction][-3:]
        rng = np.random.default_rng([data.seed, len(data.folds), number])
        paths = trained(data, kind, data.chosen_by, layout, tuple(near), data.widths[kind][0], rng)[
            1
        ]
        *_, networks = paths
        layout = layout.only(most_important(networks, layout, count))
    chosen = replace(kind, columns=tuple(column.name for column in layout.kept))
    widest = _widths(kind, layout, data)[0]
    return Choice(chosen, found.cell.fraction, min(width, widest), found.cells)


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
    found, data = {}, Data(table, target, classes, wanted, [], 0, {})
    for kind in kinds:
        found[kind] = _widths(kind, wanted.layout_of(kind, table), data)
    if refuse and wanted.max_bytes is not None and not any(found.values()):
        least = min(
            whole_bytes(1, *_parts(kind, wanted.layout_of(kind, table), data)) for kind in kinds
        )
        refuse_small(wanted.max_bytes, least)
    return found


def _widths(kind: Kind, layout: FeatureLayout, data: Data) -> tuple[int, ...]:
    """The widths that keep a network of a kind, encoded so, within `max_bytes`, wide to narrow."""
    wanted = data.wanted
    if wanted.max_bytes is None:
        return wanted.widths
    widest = widest_within(wanted.max_bytes, wanted.widths[0], *_parts(kind, layout, data))
    return tuple(sorted({min(width, widest) for width in wanted.widths} - {0}, reverse=True))


def _parts(
    kind: Kind, layout: FeatureLayout, data: Data
) -> tuple[Preprocessing, str | Activation, str | int, str | int]:
    """What the bytes of a network depend on beside its width."""
    labels = None if data.classes is None else list(data.classes)
    fitted = layout.fit(data.table, data.target, labels).coded(kind.multi_class)
    return fitted, kind.activation, data.wanted.alphabet, data.wanted.second_layer


def _followed(
    kind: Kind,
    data: Data,
    steps: _Steps,
    fractions: tuple[float, ...],
    columns: list[tuple[str, ...]] | None = None,
) -> tuple[list[Cell], _Step]:
    """The cells of a kind along its path, and the best with its networks."""
    own: list[Cell] = []
    leader: _Step | None = None
    named, (width, *narrower) = f"{kind}", data.widths[kind]
    if columns is not None:
        named += f", {len(columns[0])} columns"
        layout = data.wanted.layout_of(kind, data.table).only(columns[0])
        width, *narrower = _widths(kind, layout, data)
    networks = fits(data, kind, fractions, width, columns)
    for fraction in fractions:
        steps.tell(f"{named}, β/β_max {fraction:g}", len(own))
        fitted = next(networks)
        own.append(cell(kind, fraction, width, fitted))
        if leader is None or own[-1].merit > leader.cell.merit:
            leader = _Step(own[-1], tuple(narrower), fitted)
        if _past(own, data):
            break
    assert leader is not None, "there is a fraction"
    steps.ended()
    return own, leader


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


def _plain(kind: Kind, wanted: Wanted, widest: int) -> Choice:
    """The setting where nothing is to be chosen, or nothing can be."""
    fraction = PLAIN if wanted.beta_fraction == AUTO else float(wanted.beta_fraction)
    width = None if wanted.width in (AUTO, None) else int(wanted.width)
    if wanted.max_bytes is not None:
        width = widest
    return Choice(kind, fraction, width, ())


def _past(cells: list[Cell], data: Data) -> bool:
    """Whether a kind's last cells are past its best."""
    best = max(cells, key=lambda cell: cell.merit)
    least = best.merit - PAST_ERRORS * best.error(data.rows)
    return len(cells) > PAST and all(cell.merit < least for cell in cells[-PAST:])
