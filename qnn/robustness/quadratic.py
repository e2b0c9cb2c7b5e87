"""Robustness of the project's own networks: one quadratic form a margin, bounded on each cell."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from qnn.certificates.robustness.checker import scalar, specification
from qnn.certificates.robustness.forms import BoxForm, Form
from qnn.certificates.robustness.networks import QuadraticNetwork, read_network
from qnn.certificates.robustness.quadratic import margin_forms
from qnn.certificates.robustness.question import DUAL, Question
from qnn.certificates.robustness.record import RobustnessCertificate
from qnn.certificates.robustness.regions import Region, cells_of, region_of
from qnn.errors import CertificateError, InputError
from qnn.networks.quantized import QuantizedNetwork
from qnn.robustness.ball import least_on_ball
from qnn.robustness.branching import Goal, Node, Search, preorder
from qnn.robustness.descent import lowest_point, random_starts
from qnn.robustness.result import Limits, Robustness, Worst, found, proven
from qnn.robustness.threat import Rows, raw_point

Array = np.ndarray
_STARTS = 12


@dataclass(frozen=True)
class Case:
    """A question of a quantized network: its region, its margins as forms, the worst row so far."""

    question: Question
    region: Region
    forms: list[Form]
    worst: Worst

    @property
    def size(self) -> float:
        """The largest sum of absolute coefficients of the forms on a cell."""
        low, high = self.region.low.min(axis=0), self.region.high.max(axis=0)
        reach = np.maximum(np.abs(low), np.abs(high)) + self.region.axes
        return max(
            abs(form.constant) + float(np.abs(form.linear) @ reach + reach @ np.abs(form.A) @ reach)
            for form in self.forms
        )


class QuadraticProver:
    """Certifies rows of one quantized network; what all rows share is computed once."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self.rows = Rows(network)
        read = read_network(self.rows.data)
        assert isinstance(read, QuadraticNetwork)
        self.read = read
        self._forms = lru_cache(maxsize=64)(self._margins)

    def case(self, question: Question) -> Case:
        """The question with its region; InputError where the region cannot be had."""
        try:
            region = region_of(question, self.read.preprocessing, self.read.d)
        except CertificateError as error:
            raise InputError(f"robustness: {error}") from None
        band = None if np.isnan(question.band).any() else tuple(question.band.tolist())
        forms = self._forms(question.label, band, question.output)
        C, offsets = specification(question, scalar(self.read), self.read.outputs)
        case = Case(question, region, forms, Worst(self.rows, question, C, offsets))
        if not np.isfinite([case.size, case.worst.margin]).all():
            raise InputError("robustness: the network's margins overflow on this region")
        return case

    def certify(self, question: Question, effort: str, limits: Limits) -> Robustness:
        """Both bounds of the question's worst margin, by the means of an effort."""
        start = time.process_time()
        with np.errstate(all="ignore"):
            return self._certify(self.case(question), effort, limits, start)

    def _certify(self, case: Case, effort: str, limits: Limits, start: float) -> Robustness:
        if case.region.axes.any():
            certificate = _on_ball(case, self.rows)
            return found(case.worst, self._proven(case, certificate), len(case.forms), start)
        searches = _searches(case, self.rows, limits.gap is None and effort == "exact")
        if effort == "exact":
            _branch(case, self.rows, searches, limits)
        elif effort == "dual":
            for search in searches:
                search.bound_root(Goal(limit=0))
        elif effort == "crown":
            for search in searches:
                _bound_by_eigenvalue(search)
        _offer(case, self.rows, searches)
        certificate = _certificate(case, searches, effort)
        nodes = sum(search.nodes for search in searches)
        return found(case.worst, self._proven(case, certificate), nodes, start)

    def _proven(self, case: Case, certificate: RobustnessCertificate) -> RobustnessCertificate:
        return proven(certificate, self.rows.data, case.size)

    def _margins(self, label: int, band: tuple[float, float] | None, output: int) -> list[Form]:
        empty, ends = np.zeros(0), np.array(band or (np.nan, np.nan))
        question = Question("", "linf", empty, empty, empty, empty, (), (), 0, label, ends, output)
        C, offsets = specification(question, scalar(self.read), self.read.outputs)
        return margin_forms(self.read.arrays, self.read.divisor, C, offsets)


def _searches(case: Case, rows: Rows, verdict: bool) -> list[Search]:
    """A search for each form and cell, in the certificate's order, with points that descents find.

    Where only a verdict is wanted the descents end with the first row that gets another answer.
    """
    region, rng = case.region, np.random.default_rng(0)
    searches = [
        Search(form, region, cell, 0.5 * region.low[cell] + 0.5 * region.high[cell])
        for form in case.forms
        for cell in range(len(region.low))
    ]
    for search in searches:
        low, high = search.root.box
        starts = np.vstack([search.root.point[None], random_starts(low, high, _STARTS, rng)])
        search.offer(*lowest_point(search.form, low, high, region.chains, starts))
        if verdict and search.upper < 0.0:
            _offer(case, rows, [search])
            if case.worst.breaks:
                break
    return searches


def _offer(case: Case, rows: Rows, searches: list[Search]) -> None:
    """Evaluate the searches' best points as raw rows."""
    cells = cells_of(case.question)
    points = [raw_point(rows, case.question, search.point) for search in searches]
    case.worst.offer(np.array(points), [tuple(cells[search.cell]) for search in searches])


def _branch(case: Case, rows: Rows, searches: list[Search], limits: Limits) -> None:
    """Bound the roots, then split where that leaves the verdict, or a gap, open."""
    if limits.gap is None and case.worst.breaks:
        return
    expired = limits.clock()
    size = case.size
    target = np.inf if limits.gap is not None else 1e-10 * size
    floor = -np.inf if limits.gap is not None else 0.0
    close = (1e-8 if limits.gap is None else 1e-10) * size
    goal = Goal(target, floor, limits.gap or 0.0, close, limits.nodes, expired)
    for search in sorted(searches, key=lambda one: one.upper):
        if limits.gap is not None and search.lower >= min(s.upper for s in searches):
            continue
        search.bound_root(goal)
        search.run(goal)
        left = limits.nodes - sum(one.nodes for one in searches)
        goal = replace(goal, limit=max(left, 0))
        if limits.gap is None and search.upper <= 0.0:
            _offer(case, rows, [search])
            if case.worst.breaks:
                return


def _bound_by_eigenvalue(search: Search) -> None:
    """Replace the root's diagonal by one number on all of it, where that bounds better."""
    form = search.form.on_box(*search.root.box)
    n = len(form.g)
    if not n:
        return
    # |z_j| <= 1 for all n of them lies in the ball of radius sqrt(n).
    wide = BoxForm(form.c, np.sqrt(n) * form.g, n * form.H, form.error, form.free)
    s, value, _ = least_on_ball(wide)
    if value > search.root.value:
        kappa = np.full(n, s / n * (1.0 + 1e-12) + 1e-15)
        box = search.root.box
        search.root = Node(box, kappa, value, search.root.point, search.root.losses)


def _certificate(case: Case, searches: list[Search], method: str) -> RobustnessCertificate:
    nodes = [node for search in searches for node in preorder(search.root)]
    leaves = [node.kappa for node in nodes if node.split == DUAL]
    return RobustnessCertificate(
        question=case.question,
        lower_bound=min(search.lower for search in searches),
        splits=np.array([node.split for node in nodes], dtype=np.int64),
        cuts=np.array([node.cut for node in nodes]),
        multipliers=np.concatenate(leaves) if leaves else np.zeros(0),
        method=method,
    )


def _on_ball(case: Case, rows: Rows) -> RobustnessCertificate:
    """The exact least value of each form on each ellipsoid."""
    region, cells = case.region, cells_of(case.question)
    multipliers, values = [], []
    for form in case.forms:
        for cell, centre in enumerate(region.low):
            at = form.around(centre, region.axes)
            s, value, w = least_on_ball(at)
            multipliers.append(s * (1.0 + 1e-12) + 1e-14 * float(np.abs(at.H).max(initial=0.0)))
            values.append(value)
            x = centre.copy()
            x[at.free] += region.axes[at.free] * w
            point = raw_point(rows, case.question, x)
            case.worst.offer(point[None], [tuple(cells[cell])])
    count = len(values)
    return RobustnessCertificate(
        question=case.question,
        lower_bound=min(values),
        splits=np.full(count, DUAL),
        cuts=np.zeros(count),
        multipliers=np.array(multipliers),
        method="exact",
    )
