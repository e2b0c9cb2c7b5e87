"""Reading problems from files: Max-Cut as the rudy generator writes it, and WCSP of two variables.

A rudy file has the numbers of vertices and edges, then of each edge its vertices, from 1, and its
weight. A WCSP file (toulbar2's classic text format) minimizes costs below an upper bound: here its
negative is maximized, a cost at or above the upper bound is the upper bound, and an assignment
whose costs reach it is no solution.
"""

import math
import os

import numpy as np

from qnn.errors import InputError
from qnn.moments.csp.problem import MOST_INDICATORS, MaxCSP, cut_of
from qnn.numerics.archive import read_bytes

_LARGEST = 10**12


def read(path: str | os.PathLike[str]) -> MaxCSP:
    """A problem from a file: WCSP where its name ends in ".wcsp", else an edge list.

    Raises InputError, one line, for what is neither.
    """
    try:
        text = read_bytes(path, "rudy or WCSP").decode("ascii")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file of edges or costs") from None
    where = str(path)
    return read_wcsp(text, where) if where.lower().endswith(".wcsp") else read_rudy(text, where)


def read_rudy(text: str, where: str = "rudy") -> MaxCSP:
    """Max-Cut from the text of an edge list; edges named twice are added."""
    numbers = _Numbers(text, where)
    n, m = numbers.whole("the number of vertices", 1), numbers.whole("the number of edges", 0)
    edges, weights = np.empty((m if m <= len(text) else 0, 2), dtype=np.int32), []
    if len(edges) != m:
        raise InputError(f"{where}: it promises {m} edges, more than it has characters")
    for row in range(m):
        for side in (0, 1):
            edges[row, side] = numbers.whole(f"a vertex of edge {row + 1}", 1, n) - 1
        weights.append(numbers.real(f"the weight of edge {row + 1}"))
    numbers.end()
    loops = edges[:, 0] == edges[:, 1]
    return cut_of(n, edges[~loops], np.array(weights)[~loops], name=where)


def read_wcsp(text: str, where: str = "wcsp") -> MaxCSP:
    """The negative of a network of costs over one and two variables.

    A value outside of a variable's domain costs more than any other value of it ever does.
    """
    name, rest = (*text.split(None, 1), "", "")[:2]
    numbers = _Numbers(rest, where)
    n = numbers.whole("the number of variables", 1)
    k = numbers.whole("the largest domain", 1)
    count = numbers.whole("the number of cost functions", 0)
    top = numbers.whole("the upper bound", 1, _LARGEST)
    sizes = [numbers.whole(f"the domain of variable {i}", 1, k) for i in range(n)]
    k = max(k, 2)
    if n * k > MOST_INDICATORS:
        raise InputError(f"{where}: {n} variables of {k} values are too many for this solver")
    unary, constant = np.zeros((n, k)), 0.0
    dearest = np.zeros(n)
    pairs, tables = [], []
    for c in range(count):
        scope, costs = _cost_function(numbers, c, sizes, top)
        dearest[scope] += costs.max(initial=0.0)
        if len(scope) == 0:
            constant -= float(costs)
        elif len(scope) == 1:
            unary[scope[0], : len(costs)] -= costs
        else:
            table = np.zeros((k, k))
            table[: costs.shape[0], : costs.shape[1]] = -costs
            pairs.append(scope)
            tables.append(table)
    numbers.end()
    for i, size in enumerate(sizes):
        unary[i, size:] = -max(float(top), dearest[i] + 1.0)
    problem = MaxCSP.of_tables(
        n,
        k,
        np.array(pairs).reshape(-1, 2),
        np.array(tables).reshape(-1, k, k),
        unary,
        constant,
        name=name or where,
    )
    problem.nothing = -float(top)
    return problem


def _cost_function(
    numbers: "_Numbers", c: int, sizes: list[int], top: int
) -> tuple[list[int], np.ndarray]:
    what = f"cost function {c + 1}"
    arity = numbers.whole(f"the arity of {what}", 0)
    if arity > 2:
        raise InputError(
            f"{numbers.where}: {what} is over {arity} variables, here at most 2 are possible"
        )
    scope = [numbers.whole(f"a variable of {what}", 0, len(sizes) - 1) for _ in range(arity)]
    if len(set(scope)) < len(scope):
        raise InputError(f"{numbers.where}: {what} names a variable twice")
    default = numbers.whole(f"the default cost of {what}", 0, _LARGEST)
    tuples = numbers.whole(f"the number of tuples of {what}", 0)
    costs = np.full([sizes[i] for i in scope], float(min(default, top)))
    for _ in range(tuples):
        at = tuple(numbers.whole(f"a value of {what}", 0, sizes[i] - 1) for i in scope)
        costs[at] = float(min(numbers.whole(f"a cost of {what}", 0, _LARGEST), top))
    return scope, costs


class _Numbers:
    """The numbers of a text, one after the other."""

    def __init__(self, text: str, where: str) -> None:
        self.words, self.at, self.where = text.split(), 0, where

    def _word(self, what: str) -> str:
        if self.at == len(self.words):
            raise InputError(f"{self.where}: it ends where {what} should stand")
        self.at += 1
        return self.words[self.at - 1]

    def whole(self, what: str, least: int, most: int | None = None) -> int:
        """A whole number within bounds."""
        word = self._word(what)
        digits = word.removeprefix("+")
        number = int(digits) if digits.isdecimal() and len(digits) < 20 else -1
        if number < least or (most is not None and number > most):
            span = f"from {least}" + (f" to {most}" if most is not None else "")
            raise InputError(
                f"{self.where}: {what} must be a whole number {span} (it is {word[:40]!r})"
            )
        return number

    def real(self, what: str) -> float:
        """A finite number."""
        word = self._word(what)
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not abs(number) <= _LARGEST:
            raise InputError(
                f"{self.where}: {what} must be a number of at most {_LARGEST:.0e} in size "
                f"(it is {word[:40]!r})"
            )
        return number

    def end(self) -> None:
        """Raise unless nothing is left."""
        if self.at < len(self.words):
            raise InputError(
                f"{self.where}: {self.words[self.at][:40]!r} stands where it should end"
            )
