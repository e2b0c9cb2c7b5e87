"""The checker of a layer's certificate: from the record and the rows to proven bounds.

It imports no maker: H is formed again from the rows with a bound of all roundings (`gram`), a
bounded neuron is proven by one bordered Cholesky factorization, an optimal one by a search of the
checker's own (`search`).

A bounded neuron, in code units: ``A = s^2 H``, ``c = w / s``, y = q - c. For numbers a_i, b_i and
``top_i >= max over the grid of a_i k^2 + b_i k``, every q of the grid has
``f >= y'Ay + sum_i (a_i q_i^2 + b_i q_i - top_i)``, and that is at least the bound if

    [[sum_i (a_i c_i^2 + b_i c_i - top_i) - bound,  (a c + b / 2)'], [a c + b / 2,  A + Diag(a)]]

is positive semidefinite: the form of (1, y).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qnn.certificates.layers.gram import Gram, factor_below, gram_of, value_above
from qnn.certificates.layers.layout import FORMAT, STATES, LayerClaim
from qnn.certificates.layers.search import prove_at, prove_over
from qnn.certificates.slack import prove_semidefinite
from qnn.errors import CertificateError, NotProvenAgainError
from qnn.numerics.floating import TINY, UNIT, gamma

Array = np.ndarray

# An "optimal" value may exceed its proven bound by this share.
TOLERANCE = 1e-5
# A search may take this many times the nodes that the record states, and some more.
_NODES_FACTOR, _NODES_MORE = 20, 1_000_000
# All searches of a certificate together, unless more are allowed: some minutes.
MOST_NODES = 10_000_000_000


@dataclass(frozen=True, eq=False)
class LayerProof:
    """What is proven, by neuron (m,): value at least attained, bound, and the state's name."""

    value: Array
    bound: Array
    state: list[str]

    @property
    def gap(self) -> float:
        """The relative gap of the whole layer: (sum of values - sum of bounds) / sum of values."""
        total = float(self.value.sum())
        return (total - float(self.bound.sum())) / total if total > 0.0 else 0.0


def verify_layer(
    certificate: LayerClaim,
    X: Array,
    row_weights: Array | None = None,
    fast: bool = False,
    most_nodes: int = MOST_NODES,
) -> LayerProof:
    """Prove every neuron's bound on the rows X (n, d) that the certificate speaks of.

    ``row_weights`` (n, 1) or (n, m). ``fast`` skips the searches of optimal neurons, checks all
    else, and raises NotProvenAgainError where there are any. ``most_nodes``: of all searches.

    Raises CertificateError where anything is not proven, the rows are others, or a field is odd.
    """
    X = np.ascontiguousarray(X, dtype=np.float64)
    # Sums of fewer digits round by more than is allowed for.
    row_weights = None if row_weights is None else np.asarray(row_weights, dtype=np.float64)
    _check_shapes(certificate, X, row_weights)
    _check_numbers(certificate, X, row_weights)
    if rows_digest(X, row_weights) != certificate.data_sha256:
        raise CertificateError("the rows are not those of the certificate (SHA-256 differs)")
    stated = sum(certificate.nodes[certificate.state > 0].tolist())
    if stated > most_nodes and not fast:
        raise CertificateError(
            f"its searches state {stated} nodes, and {most_nodes} are allowed: give "
            "verify_layer a larger most_nodes, or make it anew with a smaller one"
        )
    for indices, gram in _grams(certificate, X, row_weights):
        most_nodes -= _prove_neurons(certificate, indices, gram, fast, most_nodes)
    if fast and (certificate.state > 0).any():
        raise NotProvenAgainError(float(certificate.bound.sum()))
    return LayerProof(certificate.value, certificate.bound, certificate.states)


def rows_digest(X: Array, row_weights: Array | None) -> str:
    """SHA-256 of the shape and the rows [x, weights], little-endian float64, row after row."""
    digest = hashlib.sha256()
    extra = np.zeros((len(X), 0)) if row_weights is None else row_weights
    digest.update(np.array([*X.shape, extra.shape[1]], dtype="<i8").tobytes())
    for start in range(0, len(X), 4096):
        rows = slice(start, start + 4096)
        digest.update(np.hstack([X[rows], extra[rows]]).astype("<f8").tobytes())
    return digest.hexdigest()


def _check_shapes(certificate: LayerClaim, X: Array, row_weights: Array | None) -> None:
    if certificate.format != FORMAT:
        raise CertificateError(f"unknown format {certificate.format} of a layer's certificate")
    if certificate.target.ndim != 2 or X.ndim != 2:
        raise CertificateError("the target and the rows must be tables")
    m, d = certificate.target.shape
    if X.shape[1] != d or len(X) < 1 or m < 1 or d < 1:
        raise CertificateError(f"it is for {d} inputs, the rows have {X.shape[1]}")
    for name in ("rho", "bits", "scale", "value", "bound", "state", "edge_counts", "nodes"):
        if getattr(certificate, name).shape != (m,):
            raise CertificateError(f"{name} must be {m} numbers")
    for name in ("codes", "square", "linear"):
        if getattr(certificate, name).shape != (m, d):
            raise CertificateError(f"{name} must have the shape of the target")
    columns = 1 if row_weights is None else row_weights.shape[-1]
    if row_weights is not None and row_weights.shape not in ((len(X), 1), (len(X), m)):
        raise CertificateError("the rows' weights must be one column, or one a neuron")
    if certificate.order.shape != (columns, d):
        raise CertificateError("the order must have a row for each matrix H")


def _check_numbers(certificate: LayerClaim, X: Array, row_weights: Array | None) -> None:
    real = ("target", "rho", "scale", "value", "bound", "square", "linear", "edges")
    if not all(np.isfinite(getattr(certificate, name)).all() for name in real):
        raise CertificateError("a number of the certificate is not finite")
    if not (np.isfinite(X).all() and (row_weights is None or np.isfinite(row_weights).all())):
        raise CertificateError("the rows or their weights are not finite")
    _check_ranges(certificate)
    shared = row_weights is None or row_weights.shape[1] == 1
    if shared and (certificate.rho != certificate.rho[0]).any():
        raise CertificateError("neurons that share H must share its damping")


def _check_ranges(certificate: LayerClaim) -> None:
    d = certificate.target.shape[1]
    bits = certificate.bits
    if bits.min() < 2 or bits.max() > 8:
        raise CertificateError("bits must be from 2 to 8")
    half = 1 << (bits - 1)
    codes = certificate.codes.astype(np.int64)
    if (codes < -half[:, None]).any() or (codes >= half[:, None]).any():
        raise CertificateError("a code does not fit its bits")
    if certificate.scale.min() <= 0.0 or certificate.rho.min() < 0.0:
        raise CertificateError("a step must be positive and the damping not negative")
    if certificate.state.min() < 0 or certificate.state.max() >= len(STATES):
        raise CertificateError("unknown state of a neuron")
    if not (np.sort(certificate.order, axis=1) == np.arange(d)).all():
        raise CertificateError("the order is no permutation of the inputs")
    counts, joint = certificate.edge_counts, certificate.state == STATES.index("optimal")
    if counts.min() < 0 or (counts[~joint] > 0).any() or counts.sum() != len(certificate.edges):
        raise CertificateError("the cells of steps do not belong to its optimal neurons")
    if certificate.nodes.min() < 0:
        raise CertificateError("a number of nodes is negative")


def _grams(
    certificate: LayerClaim, X: Array, row_weights: Array | None
) -> Iterator[tuple[Array, Gram]]:
    """Pairs of neurons and their H; made one after the other."""
    m = len(certificate.target)
    if row_weights is None or row_weights.shape[1] == 1:
        weights = None if row_weights is None else row_weights[:, 0]
        yield np.arange(m), gram_of(X, weights, float(certificate.rho[0]))
        return
    for j in range(m):
        yield np.array([j]), gram_of(X, row_weights[:, j], float(certificate.rho[j]))


def _prove_neurons(
    certificate: LayerClaim,
    indices: Array,
    gram: Gram,
    fast: bool,
    most_nodes: int,
    margin: float = 1.0,
) -> int:
    """Prove the neurons of one H; the nodes that their searches took, ``most_nodes`` at most."""
    order = certificate.order[min(int(indices[0]), len(certificate.order) - 1)]
    searched = (certificate.state[indices] > 0).any() and not fast
    R = factor_below(gram, order, margin) if searched else None
    nodes = 0
    for j in indices:
        check_value(certificate, int(j), gram)
        if certificate.state[j] == 0:
            neuron = (certificate.target[j], float(certificate.scale[j]), int(certificate.bits[j]))
            proof = (certificate.square[j], certificate.linear[j], float(certificate.bound[j]))
            prove_bounded(gram, *neuron, *proof, margin)
        elif R is not None:
            nodes += _prove_optimal(certificate, int(j), R, order, most_nodes - nodes, margin)
    return nodes


def check_value(certificate: LayerClaim, j: int, gram: Gram) -> None:
    """The stated value is reached by the codes, and an optimal one lies close to its bound."""
    q = certificate.codes[j].astype(np.float64)
    attained = value_above(gram, float(certificate.scale[j]), q, certificate.target[j])
    value, bound = float(certificate.value[j]), float(certificate.bound[j])
    if not attained <= value:
        raise CertificateError(
            f"neuron {j} states {value!r}, but its codes reach {float(attained)!r}"
        )
    if bound > value:
        raise CertificateError(f"neuron {j} states a bound above its own value")
    if certificate.state[j] > 0 and bound < value * (1.0 - TOLERANCE):
        raise CertificateError(f"neuron {j} is called optimal, but its bound is far below")


def _prove_optimal(
    certificate: LayerClaim, j: int, R: Array, order: Array, most_nodes: int, margin: float
) -> int:
    half = 1 << (int(certificate.bits[j]) - 1)
    w, bound = certificate.target[j][order], float(certificate.bound[j])
    most = min(_NODES_FACTOR * int(certificate.nodes[j]) + _NODES_MORE, most_nodes)
    if STATES[certificate.state[j]] == "optimal":
        return prove_over(R, w, certificate.cells(j), -half, half - 1, bound, most, margin)
    rest = (certificate.square[j][order], certificate.linear[j][order])
    scale = float(certificate.scale[j])
    return prove_at(R, w, scale, -half, half - 1, bound, most, margin, rest)


def prove_bounded(
    gram: Gram,
    w: Array,
    s: float,
    bits: int,
    square: Array,
    linear: Array,
    bound: float,
    margin: float,
) -> None:
    """Prove ``f(s, q) >= bound`` for all codes by the two numbers of each coordinate."""
    if bound <= 0.0:
        # f is never negative.
        return
    if not s * s >= TINY:
        raise CertificateError("a step is so small that its square underflows")
    d, half = len(w), 1 << (bits - 1)
    levels = np.arange(-half, half, dtype=np.float64)
    c = w / s
    with np.errstate(over="ignore", invalid="ignore"):
        curves = square[:, None] * levels**2 + linear[:, None] * levels
        sizes = np.abs(square) * half**2 + np.abs(linear) * half
        top = curves.max(axis=1) + margin * gamma(10) * sizes
        border = square * c + 0.5 * linear
        # A quotient c that underflows is off by less than TINY.
        lost = TINY * (4.0 + 3.0 * np.abs(square) + np.abs(linear))
        border_error = gamma(10) * (np.abs(square * c) + np.abs(linear)) + lost
        terms = np.concatenate([square * c * c, linear * c, -top, [-bound]])
        corner_error = gamma(4 * d + 20) * float(np.abs(terms).sum()) + lost.sum()
        N = np.zeros((d + 1, d + 1))
        N[1:, 1:] = (s * s) * gram.H
        N[0, 1:] = N[1:, 0] = border
        radius = np.zeros(d + 1)
        absolute = np.abs(N[1:, 1:]).sum(axis=1)
        radius[1:] = 1.01 * (s * s) * gram.radius + 8.0 * UNIT * absolute + border_error
        radius[1:] += 4.0 * UNIT * np.abs(square) + d * TINY
        radius[0] = border_error.sum() + corner_error
        diagonal = np.concatenate([[float(terms.sum())], square])
    if not all(np.isfinite(array).all() for array in (N, radius, diagonal)):
        raise CertificateError("the bordered matrix of a bounded neuron overflows")
    prove_semidefinite(diagonal, N, margin * radius, margin)
