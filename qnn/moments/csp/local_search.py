"""Good assignments: single changes that gain, and a search that forbids what it has just undone."""

import numpy as np

from qnn.numerics.compiled import compiled

Array = np.ndarray


def improved(W: Array, unary: Array, x: Array, fixed: Array | None = None) -> tuple[Array, float]:
    """An assignment that no single change of a value improves, and its value without constant.

    W (n, k, n, k) as `pair_payoffs` gives it, unary (n, k), x (n,). fixed (n,): values to keep, −1
    where free.
    """
    x = np.array(x, dtype=np.int64)
    held = np.zeros(len(x), dtype=np.bool_) if fixed is None else np.asarray(fixed) >= 0
    if fixed is not None:
        x[held] = np.asarray(fixed)[held]
    return x, float(_climb(W, unary, x, held))


def tabu_search(
    W: Array, unary: Array, x: Array, steps: int, rng: np.random.Generator
) -> tuple[Array, float]:
    """The best assignment of a search of single changes from x, and its value without constant.

    A changed variable stays for some n/4 steps (F. Glover, Tabu Search, 1989).
    """
    x = np.array(x, dtype=np.int64)
    best = x.copy()
    tenure = max(2, min(len(x) // 4, 20))
    jitter = rng.integers(0, 8, size=steps)
    value = _tabu(W, unary, x, best, tenure, jitter)
    return best, float(value)


@compiled(nogil=True)
def _gains(W: np.ndarray, unary: np.ndarray, x: np.ndarray) -> np.ndarray:
    """G (n, k): what each value of each variable is paid beside the others' values."""
    G = unary.copy()
    n, k = unary.shape
    for j in range(n):
        row = W[j, x[j]]
        for i in range(n):
            for a in range(k):
                G[i, a] += row[i, a]
    return G


@compiled(nogil=True)
def _value(unary: np.ndarray, x: np.ndarray, G: np.ndarray) -> float:
    total = 0.0
    for i in range(len(x)):
        total += 0.5 * (G[i, x[i]] + unary[i, x[i]])
    return total


@compiled(nogil=True)
def _change(W: np.ndarray, x: np.ndarray, G: np.ndarray, j: int, b: int) -> None:
    old, new = W[j, x[j]], W[j, b]
    n, k = G.shape
    for i in range(n):
        for a in range(k):
            G[i, a] += new[i, a] - old[i, a]
    x[j] = b


@compiled(nogil=True)
def _climb(W: np.ndarray, unary: np.ndarray, x: np.ndarray, held: np.ndarray) -> float:
    G = _gains(W, unary, x)
    n, k = G.shape
    least = 1e-9 * (1.0 + np.abs(G).max())
    while True:
        best, at, to = least, -1, 0
        for i in range(n):
            if not held[i]:
                for a in range(k):
                    gain = G[i, a] - G[i, x[i]]
                    if gain > best:
                        best, at, to = gain, i, a
        if at < 0:
            return _value(unary, x, G)
        _change(W, x, G, at, to)


@compiled(nogil=True)
def _tabu(
    W: np.ndarray,
    unary: np.ndarray,
    x: np.ndarray,
    best: np.ndarray,
    tenure: int,
    jitter: np.ndarray,
) -> float:
    G = _gains(W, unary, x)
    n, k = G.shape
    until = np.zeros(n, dtype=np.int64)
    value = _value(unary, x, G)
    top = value
    for step in range(len(jitter)):
        gain, at, to = -np.inf, -1, 0
        for i in range(n):
            for a in range(k):
                if a != x[i]:
                    own = G[i, a] - G[i, x[i]]
                    allowed = until[i] <= step or value + own > top + 1e-9
                    if allowed and own > gain:
                        gain, at, to = own, i, a
        if at < 0:
            continue
        _change(W, x, G, at, to)
        value += gain
        until[at] = step + tenure + jitter[step]
        if value > top + 1e-12:
            top = value
            best[:] = x
    return top
