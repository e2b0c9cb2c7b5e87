"""What is found out about one row: both bounds of its worst margin, the witness, the proof."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal

import numpy as np

from qnn.certificates.robustness import RobustnessCertificate, proven_margin
from qnn.certificates.robustness.question import Question
from qnn.errors import CertificateError, InputError, shown
from qnn.robustness.means import SOLVERS
from qnn.robustness.threat import Rows

Array = np.ndarray
Verdict = Literal["robust", "vulnerable", "open"]
#: From cheap to dear.
EFFORTS = ("interval", "crown", "dual", "exact")
# Parts of a form's size that a bound may give up for a proof, tried in this order.
SLACKS = (1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-6, 1e-4, 1e-2)
# Of a network that is 0 all sizes are, and only what products may lose by underflow is allowed for.
_TINY_SLACK = 1e-280
# What a bound of the dual gives up at once where it is 10 times that above 0 and a verdict is all
# that is wanted: of networks of images proofs need 1e-8, and a try is a factorization a leaf.
VERDICT_SLACK = 1e-6
# Who makes a certificate asks for more allowance than who checks it.
MAKER_MARGIN = 4.0


@dataclass(frozen=True, eq=False)
class Robustness:
    """What was found out about one row.

    lower_bound: proven, no input of the region has a smaller margin. upper_bound: the margin of the
    worst row found, as the network computes it. verdict: "robust" where the lower bound is above 0,
    "vulnerable" where ``witness``, a raw row of the region, gets another answer, else "open".
    certificate: proves the lower bound. nodes: of the search; seconds: of processor time.
    """

    lower_bound: float
    upper_bound: float
    verdict: Verdict
    witness: Any
    certificate: RobustnessCertificate
    nodes: int
    seconds: float

    def verify(self, network: Any) -> float:
        """Check the certificate again; see `qnn.certificates.robustness.verify`."""
        from qnn.certificates.robustness import verify

        return verify(self.certificate, network)


@dataclass(frozen=True)
class Limits:
    """How hard to try: nodes of branch and bound for the row, seconds, and when to stop.

    gap: None stops at a verdict; a number goes on until both bounds are that close, relative.
    solver: of a ReLU network's dual, "second_order", "first_order" (of any size, and of balls), or
    "auto", by the network's size. Raises InputError for what is no such number or name.
    """

    nodes: int = 20_000
    seconds: float | None = None
    gap: float | None = None
    solver: str = "auto"

    def __post_init__(self) -> None:
        whole = isinstance(self.nodes, int | np.integer) and not isinstance(self.nodes, bool)
        if not whole or self.nodes < 0:
            raise InputError(f"nodes must be a whole number, 0 or more (got {shown(self.nodes)})")
        for name in ("seconds", "gap"):
            value = getattr(self, name)
            if value is not None and not _from_zero(value):
                raise InputError(f"{name} must be a number, 0 or more (got {shown(value)})")
        if self.solver not in SOLVERS:
            raise InputError(
                f"solver must be one of {', '.join(SOLVERS)} (got {shown(self.solver)})"
            )

    def clock(self) -> Callable[[], bool]:
        """Says whether the time is over, from now on."""
        start, seconds = time.process_time(), self.seconds
        return lambda: seconds is not None and time.process_time() - start > seconds


def check_effort(effort: object) -> None:
    """InputError for what is none of EFFORTS."""
    if effort not in EFFORTS:
        raise InputError(f"effort must be one of {', '.join(EFFORTS)} (got {shown(effort)})")


def _from_zero(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and float(value) >= 0.0


class Worst:
    """The worst raw row found so far; every candidate is evaluated by the network itself."""

    def __init__(self, rows: Rows, question: Question, C: Array, offsets: Array) -> None:
        self.rows, self.question, self.C, self.offsets = rows, question, C, offsets
        self.margin = np.inf
        self.numbers, self.categories = question.numbers, question.categories
        self.offer(question.numbers[None], [question.categories])

    @property
    def breaks(self) -> bool:
        """Whether the answer of the worst row is another one."""
        if self.question.label < 0 or len(self.offsets) > 1 or self.question.label == 1:
            # A tie goes to the class of score 0 or the first of equal ones: below 0 is safe.
            return self.margin < 0.0 or (self.margin == 0.0 and self._tie_lost())
        return self.margin < 0.0

    def offer(self, numbers: Array, categories: list[tuple[str | None, ...]]) -> None:
        """Evaluate raw rows (n, k) of the region and keep the worst."""
        scores = self.rows.scores(numbers, categories)
        margins = (scores @ self.C.T + self.offsets).min(axis=1)
        least = int(np.argmin(margins))
        if margins[least] < self.margin:
            self.margin = float(margins[least])
            self.numbers, self.categories = numbers[least].copy(), categories[least]

    def witness(self) -> Any:
        """The worst row as a user has it: values by column, or the network's inputs."""
        if self.rows.preprocessing is None:
            return self.numbers.copy()
        values: dict[str, Any] = dict(zip(self.rows.names, self.numbers.tolist(), strict=True))
        for column, value in zip(self.rows.categorical, self.categories, strict=True):
            values[column.name] = value
        return {column.name: values[column.name] for column in self.rows.preprocessing.layout.kept}

    def _tie_lost(self) -> bool:
        scores = self.rows.scores(self.numbers[None], [self.categories])[0]
        if self.question.label < 0:
            return False
        if len(scores) == 1:
            return not scores[0] > 0.0
        return int(scores.argmax()) != self.question.label


def proven(
    certificate: RobustnessCertificate, data: bytes, size: float, first: float = 0.0
) -> RobustnessCertificate:
    """The certificate with the largest bound near its own that its checker proves.

    data: the network's file; size: of the forms, what slacks are parts of; first: the slack that is
    tried first, from which on the bound is good enough. Raises CertificateError where nothing is
    proven.
    """
    wanted = certificate.lower_bound
    slacks = [part * (size + abs(wanted)) for part in SLACKS if part >= first]
    for slack in (*slacks, _TINY_SLACK):
        tried = replace(certificate, lower_bound=float(wanted - slack))
        try:
            proven_margin(tried, data, MAKER_MARGIN)
        except CertificateError as error:
            last = error
            continue
        return tried
    raise last


def found(worst: Worst, certificate: RobustnessCertificate, nodes: int, start: float) -> Robustness:
    """The record of what was found; ``start``: the processor time when it began."""
    verdict: Verdict = "open"
    if worst.breaks:
        verdict = "vulnerable"
    elif certificate.lower_bound > 0.0:
        verdict = "robust"
    return Robustness(
        lower_bound=certificate.lower_bound,
        upper_bound=worst.margin,
        verdict=verdict,
        witness=worst.witness() if verdict == "vulnerable" else None,
        certificate=certificate,
        nodes=nodes,
        seconds=time.process_time() - start,
    )
