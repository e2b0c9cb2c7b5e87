"""Constraint satisfaction over pairs of variables: the problem, its bounds and its answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qnn.certificates.csp import CspCertificate, Payoffs, proven_upper_bound
from qnn.errors import CertificateError, InputError, shown
from qnn.moments import correlation_rounding as rounding
from qnn.moments.csp.crew import Crew
from qnn.moments.csp.forms import pair_payoffs
from qnn.moments.csp.leaves import Cutting, distributions, indicator_moments
from qnn.moments.csp.rudy import parsed, rudy_edges
from qnn.moments.csp.seeds import check_rule
from qnn.moments.csp.tree import (
    Branch,
    Search,
    Watch,
    certificate_of,
    condition,
    leaves_of,
    prove,
    unwatched,
)
from qnn.numerics.arguments import check_limits, check_seed
from qnn.numerics.arrays import floats_of
from qnn.semidefinite.squares import Effort

Array = np.ndarray

# The payoffs of all pairs are kept as one matrix.
MOST_INDICATORS = 6000
MOST_LEAVES = 4096
# Payoffs of other sizes leave the range of the multipliers, which are kept in 32 bits.
SMALLEST, LARGEST = 1e-20, 1e20
CUTS = ("auto", "none", "triangles", "odd")
# Signs beyond which a leaf gets fewer rounds.
_MANY = 400
# Relative lifts of the diagonals, until the bound is proven.
_LIFTS = (0.0, 1e-8, 1e-6, 1e-4, 1e-2)


@dataclass(frozen=True, eq=False)
class Solution:
    """What is proven, and what is reached.

    upper_bound : no assignment's value is above it; `certificate` proves it.
    value, assignment : of the best assignment found, (n,) in 0..k−1.
    optimal : the two are one; where not all payoffs are whole numbers, but for a millionth of what
        the assignment is paid at most (`qnn.moments.csp.tree.Yardstick`). `message` tells where a
        file of costs has no solution at all.
    expected, derandomized, propagated : the best value by conditioning and then rounding
        independently, in the mean and derandomized; by propagation (None but for unique games).
    threshold_rank : of the constraint graph at 2ε², ε being `guarantee`, the share of the weight
        that the theory says these rounds lose at most (1: nothing is promised).
    local_correlation, global_correlation : of the worst leaf's moments.
    """

    upper_bound: float
    value: float
    assignment: Array
    certificate: CspCertificate
    optimal: bool
    rounds: int
    rule: str
    seeds: tuple[int, ...]
    nodes: int
    leaves: int
    cuts: int
    expected: float
    derandomized: float
    propagated: float | None
    threshold_rank: int
    guarantee: float
    local_correlation: float
    global_correlation: float
    seconds: float
    message: str


class MaxCSP:
    """Maximize the weight of satisfied constraints over x in {0..k−1}ⁿ.

    n, k : numbers of variables and of values, k >= 2.
    constraints : tuples (i, j, weight, allowed), i ≠ j, allowed (k, k) of booleans: satisfied where
        ``allowed[x_i, x_j]``.

    `nothing` is the value at or below which an assignment is no solution: of a file of costs, its
    upper bound negated; of others -inf. Raises InputError for what is no such problem.
    """

    nothing: float = -math.inf

    def __init__(
        self,
        n: int,
        k: int,
        constraints: Iterable[tuple[int, int, float, Any]],
        name: str = "csp",
    ) -> None:
        _check_size(n, k)
        rows = list(constraints)
        pairs, tables = np.zeros((len(rows), 2), np.int64), np.zeros((len(rows), k, k))
        for number, row in enumerate(rows):
            pairs[number], tables[number] = _constraint(row, n, k, number)
        self.payoffs = _payoffs(n, k, pairs, tables, np.zeros((n, k)), 0.0)
        self.name = name

    @classmethod
    def of_tables(
        cls,
        n: int,
        k: int,
        pairs: Array,
        tables: Array,
        unary: Array | None = None,
        constant: float = 0.0,
        name: str = "csp",
    ) -> MaxCSP:
        """`constant + Σ unary[i, x_i] + Σ tables[c, x_i, x_j]`: pairs (m, 2), tables (m, k, k)."""
        problem = cls(n, k, (), name)
        unary = np.zeros((n, k)) if unary is None else unary
        problem.payoffs = _payoffs(n, k, pairs, tables, unary, constant)
        return problem

    @property
    def n(self) -> int:
        """Variables."""
        return self.payoffs.n

    @property
    def k(self) -> int:
        """Values of each."""
        return self.payoffs.k

    def value(self, assignment: Array) -> float:
        """Of an assignment (n,), correctly rounded."""
        x = np.asarray(assignment)
        if x.shape != (self.n,) or x.dtype.kind not in "iu":
            raise InputError(f"an assignment must be {self.n} whole numbers")
        if x.min() < 0 or x.max() >= self.k:
            raise InputError(f"an assignment's values must be from 0 to {self.k - 1}")
        return math.fsum([self.payoffs.constant, *paid(self.payoffs, x)])

    def solve(
        self,
        rounds: int = 2,
        rule: str = "auto",
        time_limit: float | None = None,
        cuts: str = "auto",
        seed: int = 0,
        watch: Watch = unwatched,
    ) -> Solution:
        """Condition on `rounds` seeds: k^rounds semidefinite bounds, the worst of them counts.

        rule : how the seeds are chosen (`qnn.moments.csp.RULES`). cuts : "none", "triangles"
        (the consistency of all triples), "odd" (sets of 5 and 7 too). time_limit : seconds, after
        which the leaves that are left are bounded as their parents were. watch : told now and then
        of the nodes so far, the best value and the bound of the search, which no proof stands for.
        """
        check_rule(rule)
        if not isinstance(rounds, int | np.integer) or isinstance(rounds, bool) or rounds < 0:
            raise InputError(f"rounds must be a whole number from 0 on (got {shown(rounds)})")
        if self.k ** min(rounds, self.n) > MOST_LEAVES:
            raise InputError(
                f"{rounds} rounds of {self.k} values give more than {MOST_LEAVES} leaves: take "
                "fewer, or prove()"
            )
        search, over, started = self._search(cuts, seed, time_limit)
        root, seeds = condition(search, int(rounds), rule, over, watch)
        return self._solution(search, root, int(rounds), rule, seeds, started, over)

    def prove(
        self,
        time_limit: float | None = None,
        rule: str = "auto",
        cuts: str = "auto",
        seed: int = 0,
        most_nodes: int | None = None,
        watch: Watch = unwatched,
        crew: Crew | None = None,
    ) -> Solution:
        """Split the worst leaf until the best assignment is proven to be one, or time ends.

        crew : who bounds leaves ahead, as `qnn.moments.csp.Processes(4)` does on four cores; the
        result is the same, but for what a time limit cuts off.
        """
        check_rule(rule)
        search, over, started = self._search(cuts, seed, time_limit)
        if crew is not None:
            search.crew = crew
            crew.begin(search.form)
        try:
            root = prove(search, rule, over, most_nodes, watch)
        finally:
            if crew is not None:
                crew.end()
        return self._solution(search, root, 0, rule, [], started, over)

    def _search(
        self, cuts: str, seed: int, time_limit: float | None
    ) -> tuple[Search, Callable[[], bool], float]:
        if cuts not in CUTS:
            raise InputError(f"cuts must be one of {', '.join(CUTS)} (got {shown(cuts)})")
        check_limits(1.0, time_limit)
        check_seed("seed", seed, 2**63, "the same gives the same answer")
        started = time.monotonic()

        def over() -> bool:
            return time_limit is not None and time.monotonic() - started > time_limit

        many = self.n * (self.k - 1) > _MANY
        effort = Effort(rounds=12, steps=20) if many else Effort()
        odd = cuts == "odd" or (cuts == "auto" and self.k == 2)
        search = Search(self.payoffs, Cutting(cuts != "none", odd, effort), seed)
        return search, over, started

    def _solution(
        self,
        search: Search,
        root: Branch,
        rounds: int,
        rule: str,
        seeds: list[int],
        started: float,
        over: Callable[[], bool],
    ) -> Solution:
        rounded = _Rounded(self, search, root)
        certificate = stated(certificate_of(search, root, math.inf, over), self.payoffs)
        value, bound = self.value(search.assignment), certificate.upper_bound
        eigenvalues = rounding.spectrum(self.payoffs)
        loss = rounding.guaranteed_loss(eigenvalues, rounds) if self.k == 2 else 1.0
        optimal = search.yardstick.proves(bound, value)
        return Solution(
            upper_bound=bound,
            value=value,
            assignment=search.assignment,
            certificate=certificate,
            optimal=optimal,
            rounds=rounds,
            rule=rule,
            seeds=tuple(seeds),
            nodes=search.nodes,
            leaves=certificate.leaves,
            cuts=len(certificate.cut_starts) - 1,
            expected=rounded.expected,
            derandomized=rounded.derandomized,
            propagated=rounded.propagated,
            threshold_rank=rounding.threshold_rank(eigenvalues, 2.0 * loss**2),
            guarantee=loss,
            local_correlation=rounded.correlations.local,
            global_correlation=rounded.correlations.everywhere,
            seconds=time.monotonic() - started,
            message=self._message(bound, value, optimal),
        )

    def _message(self, bound: float, value: float, optimal: bool) -> str:
        if bound <= self.nothing:
            return f"no solution: proven, all cost {-self.nothing:.15g} or more"
        if value <= self.nothing:
            return (
                f"no solution found: the best costs {-value:.15g}, not below {-self.nothing:.15g}"
            )
        return "optimal" if optimal else f"the gap is {bound - value:.6g}"


class _Rounded:
    """The paper's roundings of the leaves; the search is offered what they give."""

    def __init__(self, problem: MaxCSP, search: Search, root: Branch) -> None:
        p = problem.payoffs
        W = pair_payoffs(p)
        leaves = leaves_of(root)
        unique = is_unique(p)
        worst = max(leaves, key=lambda node: node.bound)
        self.expected, best, spread = -math.inf, -math.inf, -math.inf
        for node in leaves:
            Z = indicator_moments(node, p.k)
            means = distributions(Z)
            mean = rounding.expected_value(W, p.unary, means) + p.constant
            self.expected = max(self.expected, mean)
            best = max(best, self._offer(problem, search, rounding.derandomized(W, p.unary, means)))
            if unique:
                x = rounding.best_propagation(p, W, Z)
                spread = max(spread, self._offer(problem, search, x))
            if node is worst:
                self.correlations = rounding.correlations(p, Z)
        self.derandomized = best
        self.propagated = spread if unique else None

    @staticmethod
    def _offer(problem: MaxCSP, search: Search, x: Array) -> float:
        search.offer(x, math.fsum(paid(problem.payoffs, x)))
        return problem.value(x)


def paid(payoffs: Payoffs, x: Array) -> list[float]:
    """What an assignment (n,) is paid beside the constant: by each variable, then each pair."""
    i, j = payoffs.pairs.T
    pairs = payoffs.tables[np.arange(len(i)), x[i], x[j]]
    return [*payoffs.unary[np.arange(payoffs.n), x].tolist(), *pairs.tolist()]


def is_unique(payoffs: Payoffs) -> bool:
    """Whether every constraint is a permutation: one value of each for every value of the other."""
    satisfied = payoffs.tables > 0.0
    return bool(
        len(satisfied) and np.all(satisfied.sum(axis=1) == 1) and np.all(satisfied.sum(axis=2) == 1)
    )


def stated(certificate: CspCertificate, payoffs: Payoffs) -> CspCertificate:
    """The certificate with the bound that it proves; its diagonals raised where they must be."""
    size = float(np.abs(certificate.diagonals).max(initial=0.0))
    for lift in _LIFTS:
        raised = (certificate.diagonals + np.float32(lift * size)).astype(np.float32)
        trial = replace(certificate, diagonals=raised) if lift else certificate
        try:
            return replace(trial, upper_bound=proven_upper_bound(trial, payoffs, margin=2.0))
        except CertificateError as error:
            last = error
    raise last


def max_cut(weights: Array, name: str = "max_cut") -> MaxCSP:
    """Max-Cut: (n, n) symmetric weights; the value is the weight of the edges that are cut."""
    A = floats_of(weights, "weights")
    if A.ndim != 2 or A.shape[0] != A.shape[1] or len(A) == 0:
        raise InputError(f"weights must be a square matrix (they are of shape {A.shape})")
    if not np.array_equal(A, A.T):
        raise InputError("weights must be symmetric and finite")
    i, j = np.nonzero(np.triu(A, 1))
    return cut_of(len(A), np.column_stack([i, j]), A[i, j], name)


def cut_of(n: int, edges: Array, weights: Array, name: str) -> MaxCSP:
    """Max-Cut of edges (m, 2) with weights (m,)."""
    tables = np.zeros((len(edges), 2, 2))
    tables[:, 0, 1] = tables[:, 1, 0] = weights
    return MaxCSP.of_tables(n, 2, edges, tables, name=name)


def rudy(name: str) -> MaxCSP:
    """Max-Cut of an instance of the Biq Mac library, regenerated: "g05_60.0", "pm1d_80.3", …"""
    _check_size(parsed(name)[1], 2)  # before millions of edges are drawn
    n, edges, weights = rudy_edges(name)
    return cut_of(n, edges, weights, name)


def _check_size(n: int, k: int) -> None:
    for what, number, least in (("n", n, 1), ("k", k, 2)):
        if not isinstance(number, int | np.integer) or number < least or isinstance(number, bool):
            raise InputError(f"{what} must be a whole number from {least} on (got {shown(number)})")
    if n * k > MOST_INDICATORS:
        raise InputError(
            f"{n} variables of {k} values are too many: n k may be {MOST_INDICATORS} at most"
        )


def _constraint(row: Any, n: int, k: int, number: int) -> tuple[Array, Array]:
    where = f"constraint {number}"
    try:
        i, j, weight, allowed = row
        pair, allowed, weight = np.array([i, j]), np.asarray(allowed), float(weight)
    except (TypeError, ValueError):
        raise InputError(f"{where} must be (i, j, weight, allowed)") from None
    if pair.dtype.kind not in "iu" or pair.min() < 0 or pair.max() >= n or pair[0] == pair[1]:
        raise InputError(f"{where}: i and j must be two different numbers from 0 to {n - 1}")
    if allowed.shape != (k, k) or not np.isin(allowed, (0, 1)).all():
        raise InputError(f"{where}: allowed must be a {k} by {k} matrix of booleans")
    return pair, np.where(allowed.astype(bool), weight, 0.0)


def _payoffs(n: int, k: int, pairs: Array, tables: Array, unary: Array, constant: float) -> Payoffs:
    pairs = np.asarray(pairs).reshape(-1, 2)
    tables, unary = floats_of(tables, "tables"), floats_of(unary, "unary")
    if len(pairs) and (pairs.dtype.kind not in "iu" or pairs.min() < 0 or pairs.max() >= n):
        raise InputError(f"pairs must be two numbers from 0 to {n - 1} each")
    if np.any(pairs[:, 0] == pairs[:, 1]):
        raise InputError("a constraint is between a variable and itself")
    if tables.shape != (len(pairs), k, k) or unary.shape != (n, k):
        raise InputError(f"payoffs must be of shapes {(len(pairs), k, k)} and {(n, k)}")
    sizes = np.abs(np.concatenate([tables.ravel(), unary.ravel(), [constant]]))
    some = sizes[sizes > 0.0]
    if not np.isfinite(sizes).all() or sizes.max() > LARGEST:
        raise InputError(f"payoffs must be finite and at most {LARGEST:g} in size")
    if len(some) and some.max() < SMALLEST:
        raise InputError(f"payoffs below {SMALLEST:g} are too small: take larger units")
    return Payoffs(n, k, float(constant), unary, pairs.astype(np.int32), tables)
