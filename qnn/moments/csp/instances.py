"""Problems to try things on, with or without a known answer, from a seed."""

import numpy as np

from qnn.moments.csp.problem import MaxCSP, cut_of
from qnn.numerics.arguments import generator_of

Array = np.ndarray


def planted_unique_games(
    n: int, k: int, degree: float, noise: float, seed: int | np.random.Generator
) -> tuple[MaxCSP, Array]:
    """Permutations on random pairs, satisfied by a hidden assignment but for a share of `noise`.

    About n · degree / 2 pairs, none twice; a noisy one has a random permutation. Returns the
    problem and the hidden assignment (n,).
    """
    rng = generator_of(seed)
    hidden = rng.integers(0, k, size=n)
    pairs = _random_pairs(n, round(n * degree / 2.0), rng)
    tables = np.zeros((len(pairs), k, k))
    for table, (i, j) in zip(tables, pairs, strict=True):
        images = rng.permutation(k)
        if rng.random() >= noise:
            at = int(np.flatnonzero(images == hidden[j])[0])
            images[[hidden[i], at]] = images[[at, hidden[i]]]
        table[np.arange(k), images] = 1.0
    return MaxCSP.of_tables(n, k, pairs, tables, name=f"unique_games_{n}_{k}"), hidden


def max_k_cut(n: int, k: int, density: float, seed: int | np.random.Generator) -> MaxCSP:
    """Random edges, each worth 1 where its ends differ."""
    rng = generator_of(seed)
    pairs = _random_pairs(n, round(density * n * (n - 1) / 2.0), rng)
    tables = np.tile(1.0 - np.eye(k), (len(pairs), 1, 1))
    return MaxCSP.of_tables(n, k, pairs, tables, name=f"max_{k}_cut_{n}")


def max_2_sat(n: int, clauses: int, seed: int | np.random.Generator) -> MaxCSP:
    """Clauses of two different variables, each negated or not; value 1 is true."""
    rng = generator_of(seed)
    pairs = np.array([rng.choice(n, size=2, replace=False) for _ in range(clauses)]).reshape(-1, 2)
    tables = np.ones((clauses, 2, 2))
    wrong = rng.integers(0, 2, size=(clauses, 2))
    tables[np.arange(clauses), wrong[:, 0], wrong[:, 1]] = 0.0
    return MaxCSP.of_tables(n, 2, pairs, tables, name=f"max_2_sat_{n}_{clauses}")


def planar_ising(rows: int, columns: int, seed: int | np.random.Generator) -> MaxCSP:
    """Max-Cut of a planar grid with weights ±1."""
    rng = generator_of(seed)
    at = np.arange(rows * columns).reshape(rows, columns)
    across = np.column_stack([at[:, :-1].ravel(), at[:, 1:].ravel()])
    down = np.column_stack([at[:-1].ravel(), at[1:].ravel()])
    edges = np.vstack([across, down])
    weights = rng.choice([-1.0, 1.0], size=len(edges))
    return cut_of(rows * columns, edges, weights, name=f"planar_ising_{rows}x{columns}")


def random_csp(n: int, k: int, density: float, seed: int | np.random.Generator) -> MaxCSP:
    """Random pairs, each allowing about 35 % of its k² pairs of values."""
    rng = generator_of(seed)
    pairs = _random_pairs(n, round(density * n * (n - 1) / 2.0), rng)
    tables = (rng.random((len(pairs), k, k)) < 0.35).astype(np.float64)
    return MaxCSP.of_tables(n, k, pairs, tables, name=f"random_{n}_{k}")


def _random_pairs(n: int, count: int, rng: np.random.Generator) -> Array:
    i, j = np.triu_indices(n, 1)
    chosen = np.sort(rng.choice(len(i), size=min(count, len(i)), replace=False))
    return np.column_stack([i[chosen], j[chosen]])
