"""The choice itself: of all that was tried on the same folds the smallest that is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qnn.training.selection.cells import AllRows, Cell, Data
from qnn.training.selection.columns import names_read
from qnn.training.selection.folds import Folds, all_fitted, make_folds, too_few
from qnn.training.selection.kinds import AUTO, Kind, Wanted
from qnn.training.selection.search import NEAR, Candidate, Report, Search, Step
from qnn.training.selection.sizes import refuse_small

# Standard errors that a smaller network may be worse, by its mean, and by which pairs of classes
# must be more accurate, since they take more bytes.
SMALLER, PAIRED = 0.25, 1.0
# Columns are left out where that is better by so many standard errors; and where a network takes
# more than this share of what its rows take as floats, if it is worse by no more than so many.
CLEARLY, SHARE, FEWER = 2.0, 0.02, 1.0
# The fraction where rows are too few for folds.
PLAIN = 0.05


@dataclass(frozen=True)
class Choice:
    """The setting chosen, and all cells that were tried (in their order).

    `kind.columns` are those that the network reads, where the choice leaves some out.
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
    all_rows: AllRows | None = None,
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
    all_rows : table, target and weights (n,) or None that the encoding of the network is fitted on,
        with what each takes in bytes; None: these, once each.

    Raises
    ------
    InputError : a table, target or setting that cannot be trained on.
    """
    kinds, folds = wanted.kinds(table, classes), _folds(target, classes, wanted, seed)
    data = Data(table, target, classes, wanted, folds, seed, all_rows)
    search = Search(data, report, len(kinds))
    _refuse_where_none_fits(kinds, search)
    if not folds:
        return _plain(kinds, search)
    leaders = [
        search.follow(kind, wanted.fractions)
        for kind in kinds
        if wanted.reduces or search.widths(kind, data.layout_of(kind))
    ]
    leaders = _or_in_pairs(leaders, search)
    found = _smallest(leaders, search)
    candidates = [found] if found else []
    if wanted.reduces:
        candidates = [*_with_fewer_columns(found, leaders, search), *candidates]
    choice = _settled(kinds, candidates, search)
    if wanted.beta_fraction != AUTO or search.data.rows == len(target):
        return choice
    return replace(choice, fraction=_carried(choice.fraction, len(folds[0][0]), len(target)))


def refuse_where_none_fits(
    table: Any, target: np.ndarray, classes: Sequence[Any] | None, wanted: Wanted
) -> None:
    """Raise InputError where `choose` would, since `max_bytes` holds no network; trains nothing."""
    kinds, folds = wanted.kinds(table, classes), _folds(target, classes, wanted, 0)
    data = Data(table, target, classes, wanted, folds, 0)
    _refuse_where_none_fits(kinds, Search(data, None, len(kinds)))


def _folds(target: np.ndarray, classes: Sequence[Any] | None, wanted: Wanted, seed: int) -> Folds:
    """The folds; none where nothing is to be chosen, or rows are too few."""
    if not wanted.chooses or too_few(target, classes):
        return []
    return make_folds(target, classes, np.random.default_rng(seed))


def _refuse_where_none_fits(kinds: Sequence[Kind], search: Search) -> None:
    wanted = search.data.wanted
    if wanted.max_bytes is None:
        return
    least = search.least_bytes(kinds, reduced=wanted.reduces and bool(search.data.folds))
    if least > wanted.max_bytes:
        refuse_small(wanted.max_bytes, least, wanted.least_width)


def _or_in_pairs(leaders: list[Step], search: Search) -> list[Step]:
    """The best of each kind, or that of the best kind with classes in pairs."""
    wanted, data = search.data.wanted, search.data
    fitting = [step.cell for step in leaders if step.widths]
    if wanted.multi_class != AUTO or not fitting:
        return leaders
    leader = max(fitting, key=lambda cell: cell.merit)
    paired = leader.kind.paired(data.classes)
    # Codings are compared by accuracy: losses of different outputs are not of one kind.
    least = leader.score + PAIRED * leader.error(data.rows)
    if paired is None or least >= 1.0:
        return leaders
    if not all_fitted(data.folds, data.target, data.classes or ()):
        return leaders
    if not search.widths(paired, data.layout_of(paired)):
        return leaders
    near = [one for one in wanted.fractions if one <= NEAR * leader.fraction]
    other = search.follow(paired, near)
    return [other] if other.cell.score > least else leaders


def _smallest(leaders: Sequence[Step], search: Search) -> Candidate | None:
    """The smallest that reads all columns and is hardly worse than the best of them.

    Where `max_bytes` says what is small enough the best; None where nothing fits. Candidates are
    each kind's best β and narrower networks there: a larger β saves few bytes.
    """
    fitting = [step for step in leaders if step.widths]
    if not fitting:
        return None
    rows = search.data.rows
    least = _hardly_worse([step.cell for step in fitting], rows, SMALLER)
    best = [one for step in fitting if step.cell.merit >= least for one in search.narrower(step)]
    errors = SMALLER if search.data.wanted.max_bytes is None else 0.0
    least = _hardly_worse([one.cell for one in best], rows, errors)
    enough = [one for one in best if one.cell.merit >= least]
    return min(enough, key=lambda one: (one.cell.size_in_bytes, -one.cell.merit))


def _with_fewer_columns(
    found: Candidate | None, leaders: Sequence[Step], search: Search
) -> list[Candidate]:
    """What is to be taken instead, since fewer columns are better or small enough.

    The first whose network fits.
    """
    if search.data.wanted.max_bytes is not None:
        # A merit may grow as columns go, since networks may be wider: all steps are tried.
        least = found.cell.merit if found else -np.inf
        tried = _reduced(leaders, search, -np.inf)
        return _best_first([one for one in tried if one.cell.merit > least])
    best = max((step.cell for step in leaders), key=lambda cell: cell.merit)
    error = best.error(search.data.rows)
    tried = _reduced(leaders, search, best.merit - FEWER * error)
    top = max((one.cell.merit for one in tried), default=-np.inf)
    if top >= best.merit + CLEARLY * error:
        enough = [one for one in tried if one.cell.merit >= top - SMALLER * error]
        return sorted(enough, key=lambda one: (one.cell.size_in_bytes, -one.cell.merit))
    limit = SHARE * search.data.size_in_bytes
    if found and found.cell.size_in_bytes <= limit:
        return []
    whole = [one for step in leaders for one in search.narrower(step)]
    least = best.merit - FEWER * error
    tried += [one for one in whole if one.cell.merit >= least]
    return _best_first([one for one in tried if one.cell.size_in_bytes <= limit])


def _reduced(leaders: Sequence[Step], search: Search, least: float) -> list[Candidate]:
    """All candidates with fewer columns whose merit is enough."""
    return [
        one
        for leader in leaders
        for step in search.reduced(leader, least)
        for one in search.narrower(step)
        if one.cell.merit >= least
    ]


def _best_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda one: (-one.cell.merit, one.cell.size_in_bytes))


def _settled(kinds: Sequence[Kind], candidates: Sequence[Candidate], search: Search) -> Choice:
    """The first candidate whose network fits with the columns that all rows keep.

    Where the columns that tell most are too large, one that is small enough.
    """
    for one in candidates:
        cell = one.cell
        layout = search.layout_of(one)
        widths = search.widths(cell.kind, layout)
        if widths:
            kind = cell.kind
            if one.before:
                kind = replace(kind, columns=names_read(layout))
            return Choice(kind, cell.fraction, min(cell.width, widths[0]), tuple(search.cells))
    return _of_one_column(kinds, search)


def _of_one_column(kinds: Sequence[Kind], search: Search) -> Choice:
    """The best that reads one column, of those that fit; each with what takes the fewest bytes."""
    wanted, data = search.data.wanted, search.data
    best: tuple[Step, Kind] | None = None
    for column in data.layout_of(kinds[0]).kept:
        ones = [replace(kind, columns=(column.name,)) for kind in kinds]
        kind = min(ones, key=lambda one: search.least_bytes([one], reduced=False))
        if search.widths(kind, data.layout_of(kind)):
            step = search.follow(kind, wanted.fractions)
            if best is None or step.cell.merit > best[0].cell.merit:
                best = step, kind
    assert best is not None, "the smallest of all was compared with max_bytes before"
    return Choice(best[1], best[0].cell.fraction, best[0].widths[0], tuple(search.cells))


def _carried(fraction: float, fitted: int, rows: int) -> float:
    """The fraction for so many rows that was the best for fewer, to two digits.

    The noise in the gradient of a sum over n rows grows as √n, which β has to outweigh, and
    beta_max as n. For many rows that do not choose this is half the fraction or less.
    """
    return float(f"{fraction * np.sqrt(fitted / rows):.2g}")


def _hardly_worse(cells: Sequence[Cell], rows: int, errors: float) -> float:
    """The merit that is enough."""
    best = max(cells, key=lambda cell: cell.merit)
    return best.merit - errors * best.error(rows)


def _plain(kinds: Sequence[Kind], search: Search) -> Choice:
    """The setting where nothing is to be chosen, or nothing can be."""
    wanted = search.data.wanted
    fraction = PLAIN if wanted.beta_fraction == AUTO else float(wanted.beta_fraction)
    width = None if wanted.width in (AUTO, None) else int(wanted.width)
    if wanted.max_bytes is None:
        return Choice(kinds[0], fraction, width, ())
    fitting = ((kind, search.widths(kind, search.data.layout_of(kind))) for kind in kinds)
    kind, widths = next((kind, widths) for kind, widths in fitting if widths)
    return Choice(kind, fraction, widths[0], ())
