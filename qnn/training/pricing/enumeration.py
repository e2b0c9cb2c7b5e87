"""Exact pricing: the largest value over all sign vectors, with a proven upper bound.

Of the bilinear activation's `uᵀMv`, which is `max_u ‖Mu‖₁`, or of the polynomial one's `|uᵀMu|`, u
homogenized. Ranges of vectors (`qnn.training.pricing.scans`) are scanned by a `Scanner`, threads or
others; the best stay.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from qnn.networks.activations.lift import Lift
from qnn.training.pricing.scans import FormScan, ProductScan, Scan, count_heads

Array = np.ndarray

# Heads that are scanned at once: some milliseconds.
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Enumeration:
    """The largest `|vᵀMu|` and what it proves.

    U, V (d, k): the k best u, best first, one of each ±u, with their v; values (k,) as floats.
    `maximum` is values[0], `error` what rounding and the given distance of M can change it by.
    `upper_bound` is proven for every u, v and every matrix within the given distance of M; where
    the search was cut short (`complete` is False) it is the trivial one, `Σ|M_ij|`.
    """

    U: Array
    V: Array
    values: Array
    error: float
    upper_bound: float
    complete: bool

    @property
    def maximum(self) -> float:
        """The largest value found; the true maximum of M, but for rounding, where complete."""
        return float(self.values[0])


def enumerate_signs(
    M: Array,
    distance: float = 0.0,
    floor: float = np.inf,
    keep: int = 1,
    scanner: "Scanner | None" = None,
    deadline: float | None = None,
) -> Enumeration:
    """The exact maximum of `vᵀMu` over signs u, v, and the `keep` best u of those above `floor`.

    Parameters
    ----------
    M : (d, d) matrix, symmetric or not; time grows as 2^d.
    distance : bound of `Σ_ij |M'_ij − M_ij|` for the matrices M' that the proof must cover (see
        `forming_error`).
    floor, keep : of the vectors with `‖Mu‖₁ ≥ floor` the `keep` best are returned, all where they
        are fewer; the maximum always. The default returns the maximum alone.
    scanner : who scans; None for threads of this process. The result is the same for any.
    deadline : `time.monotonic` after which no more is scanned.

    Raises InputError where M is not finite or has more columns than can be enumerated.
    """
    return _enumerate(ProductScan(M), distance, floor, keep, scanner, deadline)


def enumerate_forms(
    M: Array,
    distance: float = 0.0,
    floor: float = np.inf,
    keep: int = 1,
    scanner: "Scanner | None" = None,
    deadline: float | None = None,
) -> Enumeration:
    """The exact maximum of `|uᵀMu|` over signs u with a last entry of +1, M (d, d) symmetric.

    All else is as in `enumerate_signs`; V is U.
    """
    return _enumerate(FormScan(M), distance, floor, keep, scanner, deadline)


def _enumerate(
    plan: Scan,
    distance: float,
    floor: float,
    keep: int,
    scanner: "Scanner | None",
    deadline: float | None,
) -> Enumeration:
    best = BestVectors(plan, max(1, keep), floor)
    scan = scan_by_threads if scanner is None else scanner
    complete = scan(best, range(count_heads(plan.d)), deadline)
    return best.result(distance, complete)


def scan_by_threads(
    best: "BestVectors", heads: range, deadline: float | None = None, count: int | None = None
) -> bool:
    """Scan these heads by threads of this process; whether that ended before the deadline.

    count : of the threads; None for OMP_NUM_THREADS, or one a core.
    """
    chunks = (heads[at : at + CHUNK] for at in range(0, len(heads), CHUNK))
    workers = count or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    if workers == 1 or len(heads) <= CHUNK:
        for chunk in chunks:
            if deadline is not None and time.monotonic() > deadline:
                return False
            best.scan(chunk)
        return True
    with ThreadPoolExecutor(workers) as pool:
        running: list[Future[None]] = []
        for chunk in chunks:
            if deadline is not None and time.monotonic() > deadline:
                return False
            running.append(pool.submit(best.scan, chunk))
            if len(running) >= 2 * workers:
                running.pop(0).result()
        for future in running:
            future.result()
    return True


def forming_error(lift: Lift, nu: Array) -> float:
    """A bound of `Σ_ij |fl(M)_ij − M_ij|` for `M = T ∘ (Fᵀ diag(ν) F)`, in any order of the sums.

    Each entry is a sum of n products of three factors, features that were scaled once and a
    template's entry, so `γ_{n+5} (|T| ∘ |F|ᵀ diag|ν| |F|)_ij` bounds its error (Higham, Accuracy
    and Stability of Numerical Algorithms, 2002, §3.1), plus underflow. The double sum is `Σ_i |ν_i|
    |f_i|ᵀ|T||f_i|`, itself rounded: hence twice the count.
    """
    features = np.abs(lift.features)
    n, d = features.shape
    if lift.template is None:
        rows, top = features.sum(axis=1) ** 2, 1.0
    else:
        template = np.abs(lift.template)
        rows, top = ((features @ template) * features).sum(axis=1), 1.0 + float(template.max())
    size = float(np.abs(nu) @ rows)
    tiny = float(np.finfo(np.float64).tiny)
    largest = top * (1.0 + float(features.max(initial=0.0)) ** 2)
    return _gamma(2 * n + 6 * d + 30) * size + d * d * (n + 1.0) * tiny * largest


class BestVectors:
    """The best vectors over all ranges; a thread adds to it under the interpreter's lock.

    plan : what is scanned; floor, keep : as in `enumerate_signs`. Each head is scanned once.
    """

    def __init__(self, plan: Scan, keep: int, floor: float) -> None:
        self.plan, self.keep, self.floor = plan, keep, floor
        self.parts: list[tuple[Array, Array]] = []
        self.largest = self.least = -np.inf

    @property
    def wanted(self) -> tuple[float, int, float, float]:
        """What a scan of the next heads is told: floor, keep, and the best values so far."""
        return self.floor, self.keep, self.largest, self.least

    def scan(self, heads: range) -> None:
        """Scan these heads, here and now."""
        self.take(*self.plan.scan(heads, *self.wanted))

    def take(self, values: Array, positions: Array) -> None:
        """Add what a range returned."""
        if len(values) == 0:
            return
        self.parts.append((values, positions))
        self.largest = max(self.largest, float(values.max()))
        if len(values) >= self.keep:
            self.least = max(self.least, float(np.partition(values, -self.keep)[-self.keep]))

    def result(self, distance: float, complete: bool) -> Enumeration:
        """All ranges together, in an order that does not depend on who scanned what when."""
        if self.parts:
            values = np.concatenate([part[0] for part in self.parts])
            positions = np.concatenate([part[1] for part in self.parts])
        else:
            positions = np.zeros(1, dtype=np.int64)
            values = self.plan.values(self.plan.vectors(positions))
        order = np.lexsort((positions, -values))
        wanted = values[order] >= self.floor
        wanted[0] = True
        order = order[wanted][: self.keep]
        U = self.plan.vectors(positions[order])
        d, size = len(self.plan.M), self.plan.size
        rounding = _gamma(4 * d + 20) * size + d * d * float(np.finfo(np.float64).tiny)
        bound = size
        if complete:
            bound = min(size, float(values[order[0]]) + self.plan.rest)
        return Enumeration(
            U=U,
            V=self.plan.partners(U),
            values=values[order],
            error=rounding + distance,
            upper_bound=(bound + rounding + distance) * (1.0 + 2.0**-50),
            complete=complete,
        )


# Scans some heads for them, until a `time.monotonic` if one is given; whether it scanned all.
Scanner = Callable[[BestVectors, range, float | None], bool]


def _gamma(k: int) -> float:
    # Not `qnn.numerics.floating`, on which the checker stands: the search shares nothing with that.
    return k * 2.0**-53 / (1.0 - k * 2.0**-53)
