"""The search: paths of β for each kind, hopeless cells left early, with all columns or fewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.networks.activations import Activation
from qnn.training.selection.cells import Cell, Data, Fitted, cell, fits, narrowed, trained
from qnn.training.selection.columns import fewer, most_important, names_read
from qnn.training.selection.kinds import Kind
from qnn.training.selection.sizes import whole_bytes, widest_within

# Cells in a row worse than the best of their kind by so much of its standard error: the path ends.
PAST, PAST_ERRORS = 2, 0.5
# Paths of classes in pairs and of fewer columns begin at so many times the best fraction of one
# class against the rest, or of more columns: where that is small, far larger ones under-fit (on
# vowel in pairs 52 to 88 % right at 0.2 to 0.025, 93 at 0.0015). With fewer columns they end at
# `BELOW` times it.
NEAR, BELOW = 4.2, 0.45
# Fractions of the path to the networks of all rows that say which columns stay.
LAST = 3

#: Called before each cell with how many are done, how many there are at most, and the cell's name.
Report = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Step:
    """The best cell of a kind that reads so many columns, with its networks.

    `widths` are those that keep its networks within `max_bytes`, wide to narrow: none, where one
    neuron takes more. `before` are the best cells of the same kind with more columns each.
    """

    cell: Cell
    fitted: list[Fitted]
    widths: tuple[int, ...]
    before: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A cell that may be chosen, and the cells of its kind with more columns that led to it.

    `columns` are those that each fold's networks read.
    """

    cell: Cell
    before: tuple[Cell, ...]
    columns: tuple[tuple[str, ...], ...]


class Search:
    """All cells that are tried, in their order, each told before it is trained."""

    def __init__(self, data: Data, report: Report | None, kinds: int) -> None:
        """`kinds`: how many there are, each with a path of so many cells at most."""
        self.data = data
        self.cells: list[Cell] = []
        self._narrower: dict[Step, list[Candidate]] = {}
        self._report, self._kinds, self._ended = report, kinds, 0

    def follow(
        self,
        kind: Kind,
        fractions: Sequence[float],
        columns: Sequence[tuple[str, ...]] | None = None,
        before: tuple[Cell, ...] = (),
    ) -> Step:
        """The best cell of a kind along its path; `columns`: those that each fold reads."""
        layout = self.data.layout_of(kind)
        widths = self.widths(kind, layout if columns is None else layout.only(columns[0]))
        width = widths[0] if widths else self.data.wanted.widths[0]
        named = f"{kind}" if columns is None else f"{kind}, {len(columns[0])} columns"
        own: list[Cell] = []
        best: Step | None = None
        networks = fits(self.data, kind, tuple(fractions), width, columns)
        for fraction in fractions:
            self._tell(f"{named}, β/β_max {fraction:g}", len(own))
            fitted = next(networks)
            own.append(cell(kind, fraction, width, fitted))
            if best is None or own[-1].merit > best.cell.merit:
                best = Step(own[-1], fitted, widths, before)
            if self._past(own):
                break
        assert best is not None, "there is a fraction"
        self._ended += 1
        self.cells += own
        return best

    def narrower(self, step: Step) -> list[Candidate]:
        """What may be chosen of a step: its cell, and narrower networks; nothing that is too large.

        The narrower ones count as tried.
        """
        if step not in self._narrower:
            narrow = [narrowed(step.cell, step.fitted, width) for width in step.widths[1:]]
            self.cells += narrow
            fitting = (step.cell, *narrow) if step.widths else ()
            columns = tuple(names_read(fit.preprocessing.layout) for fit in step.fitted)
            self._narrower[step] = [Candidate(one, step.before, columns) for one in fitting]
        return self._narrower[step]

    def reduced(self, full: Step, least: float) -> Iterator[Step]:
        """The same with fewer and fewer columns, to the first that falls below a merit.

        Which columns stay each fold decides for itself, by its best networks with more.
        """
        step = full
        while (count := fewer(step.cell.columns)) < step.cell.columns:
            columns = [
                most_important(fit.networks, fit.preprocessing.layout, count) for fit in step.fitted
            ]
            best, before = step.cell.fraction, (*step.before, step.cell)
            near = [one for one in self.data.wanted.fractions if BELOW * best <= one <= NEAR * best]
            step = self.follow(step.cell.kind, near, columns, before)
            yield step
            if step.cell.merit < least:
                return

    def layout_of(self, candidate: Candidate) -> FeatureLayout:
        """The layout of a candidate: networks of all rows that choose say which columns stay.

        Where with a fold's columns the networks of all folds are better by more than a standard
        error, those stay: of many columns that tell nothing some networks find the few that tell
        all, and others do not. Columns that fit into `max_bytes` come first.
        """
        kind = candidate.cell.kind
        whole = self.data.layout_of(kind)
        if not candidate.before:
            return whole
        own = self._of_all_rows(candidate, whole)
        sets = dict.fromkeys([names_read(own), *candidate.columns])
        layouts = [one for one in map(whole.only, sets) if self.widths(kind, one)]
        if len(layouts) < 2:
            return layouts[0] if layouts else own
        cells = [self._judged(candidate.cell, names_read(one)) for one in layouts]
        best = max(cells, key=lambda cell: cell.merit)
        clearly = best.merit > cells[0].merit + best.error(self.data.rows)
        return layouts[cells.index(best)] if clearly else layouts[0]

    def _judged(self, like: Cell, names: tuple[str, ...]) -> Cell:
        """A setting with the same columns on all folds."""
        self._tell(f"{like.kind}, which {len(names)} columns", 0)
        same = [names] * len(self.data.folds)
        networks = fits(self.data, like.kind, (like.fraction,), like.width, same)
        self.cells.append(cell(like.kind, like.fraction, like.width, next(networks)))
        return self.cells[-1]

    def _of_all_rows(self, candidate: Candidate, layout: FeatureLayout) -> FeatureLayout:
        data, kind = self.data, candidate.cell.kind
        counts = [one.columns for one in (*candidate.before, candidate.cell)][1:]
        for number, (leader, count) in enumerate(zip(candidate.before, counts, strict=True)):
            near = [one for one in data.wanted.fractions if one >= leader.fraction][-LAST:]
            rng = np.random.default_rng([data.seed, len(data.folds), number])
            _, networks = trained(
                data, kind, data.chosen_by, layout, tuple(near), leader.width, rng
            )
            *_, last = networks
            layout = layout.only(most_important(last, layout, count))
        return layout

    def widths(self, kind: Kind, layout: FeatureLayout) -> tuple[int, ...]:
        """The widths that keep a network, encoded so, within `max_bytes`, wide to narrow.

        The encoding is that of all rows, as the network's will be.
        """
        wanted = self.data.wanted
        if wanted.max_bytes is None:
            return wanted.widths
        widest = widest_within(wanted.max_bytes, wanted.widths[0], *self._parts(kind, layout))
        fitting = {min(width, widest) for width in wanted.widths}
        return tuple(sorted({one for one in fitting if one >= wanted.least_width}, reverse=True))

    def least_bytes(self, kinds: Sequence[Kind], reduced: bool) -> int:
        """What the narrowest networks take at least; `reduced`: of one column."""
        least, width = [], self.data.wanted.least_width
        for kind in kinds:
            layout = self.data.layout_of(kind)
            ones = [layout.only([one.name]) for one in layout.kept] if reduced else [layout]
            least += [whole_bytes(width, *self._parts(kind, one)) for one in ones]
        return min(least)

    def _parts(
        self, kind: Kind, layout: FeatureLayout
    ) -> tuple[Preprocessing, str | Activation, str | int, str | int]:
        """What the bytes of a network depend on beside its width."""
        data = self.data
        labels = None if data.classes is None else list(data.classes)
        table, target, weights = data.all_rows or (data.table, data.target, None)
        fitted = layout.fit(table, target, labels, weights=weights).coded(kind.multi_class)
        return fitted, kind.activation, data.wanted.alphabet, data.wanted.second_layer

    def _tell(self, name: str, step: int) -> None:
        if self._report is not None:
            each = len(self.data.wanted.fractions)
            kinds = max(self._kinds, self._ended + 1)
            self._report(self._ended * each + step, kinds * each, name)

    def _past(self, cells: list[Cell]) -> bool:
        """Whether a path's last cells are past its best."""
        best = max(cells, key=lambda cell: cell.merit)
        least = best.merit - PAST_ERRORS * best.error(self.data.rows)
        return len(cells) > PAST and all(cell.merit < least for cell in cells[-PAST:])
