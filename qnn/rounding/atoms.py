"""Atoms `(u, v)` up to their symmetries, and the features they make."""

import numpy as np


def features(X: np.ndarray, U: np.ndarray, V: np.ndarray) -> np.ndarray:
    """`H[:, j] = (X u_j)(X v_j)`: X (n, d), U and V (d, m) → (n, m)."""
    return (X @ U.astype(np.float64)) * (X @ V.astype(np.float64))


def canonical(U: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One representative of each atom's class, and the sign between the two.

    (u, v), (v, u) and (−u, −v) make the same feature, (−u, v) its negative. The representative has
    u_0 = v_0 = 1 and u not behind v in lexicographic order. U, V: (d, m) signs, any numeric type.
    Returns U, V and s (m,) with `(Xu)(Xv) = s · (Xu')(Xv')`.
    """
    if U.shape[1] == 0:
        return U, V, np.zeros(0)
    s = (U[0] * V[0]).astype(np.float64)
    U = U * U[0]
    V = V * V[0]
    differs = U != V
    first = differs.argmax(axis=0)
    columns = np.arange(U.shape[1])
    swap = differs[first, columns] & (U[first, columns] < V[first, columns])
    return np.where(swap, V, U), np.where(swap, U, V), s


def keys(U: np.ndarray, V: np.ndarray) -> list[bytes]:
    """Hashable names of atoms in canonical form, by their packed bits."""
    packed = np.packbits(np.vstack([U, V]) > 0, axis=0)
    return [column.tobytes() for column in packed.T]


def unseen(U: np.ndarray, V: np.ndarray, U_new: np.ndarray, V_new: np.ndarray) -> list[int]:
    """Which of the new atoms are not among (U, V), each once; all (d, ·) in canonical form."""
    seen = set(keys(U, V))
    fresh = []
    for index, key in enumerate(keys(U_new, V_new)):
        if key not in seen:
            seen.add(key)
            fresh.append(index)
    return fresh


def merge(
    U: np.ndarray, V: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same function with each atom once, in canonical form, in order of first appearance.

    U, V: (d, m) signs, alpha (m,). `Σ|α|` does not rise. Atoms with alpha 0 are kept.
    """
    U, V, s = canonical(U, V)
    place: dict[bytes, int] = {}
    index = [place.setdefault(key, len(place)) for key in keys(U, V)]
    merged = np.zeros(len(place))
    np.add.at(merged, index, s * alpha)
    kept = np.unique(index, return_index=True)[1] if index else np.zeros(0, dtype=int)
    return U[:, kept], V[:, kept], merged
