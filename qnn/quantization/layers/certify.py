"""From codes to a certificate: search for the exact optimum, else bound by one diagonal.

Every neuron's proof is made with twice the allowances for rounding that the checker makes, so that
another machine's rounding cannot refuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from qnn.certificates.layers import LayerCertificate, rows_digest
from qnn.certificates.layers.checker import prove_bounded
from qnn.certificates.layers.gram import Gram, factor_below, gram_of, value_above
from qnn.certificates.layers.layout import STATES
from qnn.certificates.layers.search import prove_at, prove_over
from qnn.errors import CertificateError
from qnn.quantization.layers.bounds import diagonal_bound
from qnn.quantization.layers.diagonals import leading_diagonals
from qnn.quantization.layers.grids import Codes, limits
from qnn.quantization.layers.lattice import vblast_order
from qnn.quantization.layers.sphere import Searched, search_at, search_over_steps
from qnn.quantization.threads import in_threads

Array = np.ndarray

LEVELS = ("none", "bound", "scale", "joint")
_MARGIN = 2.0
# What the proof of an optimum stays below the value, relative; the search ends at 1e-6.
_BELOW = 3e-6
_NODES_FACTOR, _NODES_MORE = 20, 1_000_000


@dataclass(frozen=True)
class Effort:
    """How far to go: see `LEVELS`; nodes a neuron; up to how many inputs the searches are tried.

    Over all steps only grids of at most 4 bits are searched. Beyond ``newton_inputs`` the bound's
    diagonal is improved by Newton's method for the first neuron of each width alone.
    """

    level: str = "scale"
    most_nodes: int = 20_000_000
    search_inputs: int = 96
    joint_inputs: int = 64
    newton_inputs: int = 320


@dataclass(frozen=True, eq=False)
class _Neuron:
    """One neuron's codes with their proof."""

    s: float
    q: Array
    value: float
    bound: float
    state: int
    square: Array
    linear: Array
    edges: Array
    nodes: int


def certify_layer(
    name: str,
    X: Array,
    targets: Array,
    rho: Array,
    codes: Codes,
    bits: Array,
    effort: Effort,
    row_weights: Array | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[LayerCertificate, Codes]:
    """The certificate of codes on rows X (n, d), and the codes, where the search found better ones.

    targets (m, d), rho (m,), bits (m,); row_weights (n, m) or None for equal ones. The steps must
    be numbers of 32 bits, as the exported file has them. progress is told the share that is done.
    """
    X = np.ascontiguousarray(X, dtype=np.float64)
    given = (targets, codes, bits, effort, progress)
    if row_weights is None:
        shared = _Shared.of(gram_of(X, None, float(rho[0])), {})
        neurons, orders = _of_one_matrix(shared, *given), [shared.order]
    else:
        neurons, orders = _of_own_matrices(X, rho, row_weights, *given)
    certificate = LayerCertificate(
        layer=name,
        data_sha256=rows_digest(X, row_weights),
        target=np.ascontiguousarray(targets),
        rho=np.asarray(rho, dtype=np.float64),
        bits=np.asarray(bits, dtype=np.int64),
        scale=np.array([n.s for n in neurons]),
        codes=np.array([n.q for n in neurons]).astype(np.int8),
        value=np.array([n.value for n in neurons]),
        bound=np.array([n.bound for n in neurons]),
        state=np.array([n.state for n in neurons], dtype=np.int64),
        square=np.array([n.square for n in neurons]),
        linear=np.array([n.linear for n in neurons]),
        order=np.array(orders, dtype=np.int64),
        edges=np.concatenate([n.edges for n in neurons]),
        edge_counts=np.array([len(n.edges) for n in neurons], dtype=np.int64),
        nodes=np.array([n.nodes for n in neurons], dtype=np.int64),
    )
    return certificate, Codes(certificate.scale, certificate.codes)


@dataclass(eq=False)
class _Shared:
    """What neurons with the same H share; ``starts``: where the next bound starts, by bits."""

    gram: Gram
    order: Array
    R: Array
    starts: dict[int, Array]
    leading: Array | None = None

    @classmethod
    def of(cls, gram: Gram, starts: dict[int, Array]) -> _Shared:
        order = vblast_order(gram.H)
        return cls(gram, order, factor_below(gram, order, _MARGIN), starts)

    def diagonals(self) -> Array:
        """Those below H in its order (2, d), made once."""
        if self.leading is None:
            self.leading = leading_diagonals(self.R)
        return self.leading


def _of_one_matrix(
    shared: _Shared,
    targets: Array,
    codes: Codes,
    bits: Array,
    effort: Effort,
    progress: Callable[[float], None],
) -> list[_Neuron]:
    """The neurons' proofs, of wide layers in threads once the first of each width has its own."""

    def certify(j: int) -> _Neuron:
        start = (float(codes.s[j]), codes.q[j].astype(np.int64))
        return _certify(shared, targets[j], *start, int(bits[j]), effort)

    wide = targets.shape[1] > max(effort.newton_inputs, effort.search_inputs)
    first = np.unique(bits, return_index=True)[1] if wide else np.arange(len(bits))
    made = {}
    for j in first:
        made[int(j)] = certify(int(j))
        progress(len(made) / len(bits))
    others = [j for j in range(len(bits)) if j not in made]
    found = in_threads(certify, others, lambda n: progress((len(first) + n) / len(bits)))
    made |= dict(zip(others, found, strict=True))
    return [made[j] for j in range(len(bits))]


def _of_own_matrices(
    X: Array,
    rho: Array,
    row_weights: Array,
    targets: Array,
    codes: Codes,
    bits: Array,
    effort: Effort,
    progress: Callable[[float], None],
) -> tuple[list[_Neuron], list[Array]]:
    neurons: list[_Neuron] = []
    orders: list[Array] = []
    starts: dict[int, Array] = {}
    for j in range(len(targets)):
        shared = _Shared.of(gram_of(X, row_weights[:, j], float(rho[j])), starts)
        orders.append(shared.order)
        start = (float(codes.s[j]), codes.q[j].astype(np.int64))
        neurons.append(_certify(shared, targets[j], *start, int(bits[j]), effort))
        progress((j + 1) / len(targets))
    return neurons, orders


def _certify(shared: _Shared, w: Array, s: float, q: Array, bits: int, effort: Effort) -> _Neuron:
    found = _Neuron(
        s, q, _value(shared, w, s, q), 0.0, 0, np.zeros(len(w)), np.zeros(len(w)), np.zeros(0), 0
    )
    d = len(w)
    if effort.level == "joint" and bits <= 4 and d <= effort.joint_inputs:
        found = _searched(shared, w, found, bits, effort.most_nodes, joint=True)
    if found.state == 0 and effort.level in ("scale", "joint") and d <= effort.search_inputs:
        found = _searched(shared, w, found, bits, effort.most_nodes, joint=False)
    if found.state == 0 and effort.level != "none":
        found = _bounded(shared, w, found, bits, effort)
    return found


def _value(shared: _Shared, w: Array, s: float, q: Array) -> float:
    """Above the exact error, with room for another machine's rounding."""
    value = value_above(shared.gram, s, q.astype(np.float64), w)
    nearby = float(shared.gram.radius @ (np.abs(s * q) + np.abs(w)) ** 2)
    return value * (1.0 + 1e-12) + nearby + 1e-300


def _searched(
    shared: _Shared, w: Array, start: _Neuron, bits: int, most_nodes: int, joint: bool
) -> _Neuron:
    """The optimum, if the search ends and its proof succeeds; else the better codes it came to."""
    order = shared.order
    at = (shared.R, w[order], start.s, start.q[order], bits, most_nodes)
    found = search_over_steps(*at) if joint else search_at(*at, shared.diagonals())
    better = _adopted(shared, w, start, found)
    if not found.proven:
        return better
    if not joint:
        square, linear = np.zeros((2, len(w)))
        square[order], linear[order] = -better.s * better.s * shared.diagonals()
        better = replace(better, square=square, linear=linear)
    lo, hi = limits(bits)
    bound = max(better.value * (1.0 - _BELOW), 0.0)
    most = _NODES_FACTOR * found.nodes + _NODES_MORE
    try:
        if joint:
            nodes = prove_over(shared.R, w[order], found.edges, lo, hi, bound, most, _MARGIN)
        else:
            rest = (better.square[order], better.linear[order])
            nodes = prove_at(shared.R, w[order], better.s, lo, hi, bound, most, _MARGIN, rest)
    except CertificateError:
        return replace(better, square=np.zeros(len(w)), linear=np.zeros(len(w)))
    state = STATES.index("optimal" if joint else "optimal_at_scale")
    return replace(better, bound=bound, state=state, edges=found.edges, nodes=nodes)


def _adopted(shared: _Shared, w: Array, start: _Neuron, found: Searched) -> _Neuron:
    q = np.empty_like(start.q)
    q[shared.order] = found.q
    s = float(np.float32(found.s))
    value = _value(shared, w, s, q)
    return replace(start, s=s, q=q, value=value) if value < start.value else start


def _bounded(shared: _Shared, w: Array, neuron: _Neuron, bits: int, effort: Effort) -> _Neuron:
    few, start = len(w) <= effort.newton_inputs, shared.starts.get(bits)
    steps = 100 if len(w) <= 96 else 30 if few or start is None else 0
    try:
        parabolas, end = diagonal_bound(
            shared.gram.H, w, neuron.s, bits, neuron.value, start, steps
        )
    except np.linalg.LinAlgError:
        return neuron
    if steps:
        shared.starts[bits] = end
    for share in 10.0 ** np.arange(-10, 0):
        bound = parabolas.bound - share * neuron.value
        proof = (parabolas.square, parabolas.linear, bound)
        if not 0.0 < bound <= neuron.value:
            continue
        try:
            prove_bounded(shared.gram, w, neuron.s, bits, *proof, _MARGIN)
        except CertificateError:
            continue
        return replace(neuron, bound=bound, square=proof[0], linear=proof[1])
    return neuron
