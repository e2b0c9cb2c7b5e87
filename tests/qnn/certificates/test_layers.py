"""Certificates of layers: what they prove is true, and nothing tampered with passes."""

import itertools
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qnn
from qnn.certificates import read_certificate
from qnn.certificates.layers import (
    LayerCertificate,
    load_rows,
    rows_digest,
    save_rows,
    verify_layer,
)
from qnn.certificates.layers.gram import factor_below, gram_of, value_above
from qnn.errors import CertificateError, InputError, NotProvenAgainError, QnnError
from qnn.quantization.layers.certify import Effort, certify_layer
from qnn.quantization.layers.grids import Codes, limits
from qnn.quantization.layers.lattice import kbest
from qnn.quantization.layers.objective import layer_objective

Array = np.ndarray


@cache
def certified(
    level: str, d: int = 5, bits: int = 2, seed: int = 0, weighted: bool = False
) -> tuple[LayerCertificate, Array, Array | None]:
    rng = np.random.default_rng(seed)
    X = np.maximum(rng.standard_normal((40, d)) @ rng.standard_normal((d, d)), 0.0)
    X = X.astype(np.float32).astype(np.float64)
    W = rng.standard_normal((3, d))
    weights = rng.uniform(0.2, 2.0, (40, 3)) if weighted else None
    made = [
        layer_objective(X, X @ W.T[:, j : j + 1], W[j : j + 1], 1e-2, w)
        for j, w in enumerate([None] * 3 if weights is None else list(weights.T))
    ]
    parts = [kbest(o.H, o.W, bits) for o in made]
    s = np.concatenate([p.s for p in parts]).astype(np.float32).astype(float)
    codes = Codes(s, np.concatenate([p.q for p in parts]))
    targets, rho = np.concatenate([o.W for o in made]), np.array([o.rho for o in made])
    effort = Effort(level, 10**6)
    certificate, _ = certify_layer("one", X, targets, rho, codes, np.full(3, bits), effort, weights)
    return certificate, X, weights


def exact(X: Array, weights: Array | None, rho: float, w: Array, s: float, q: Array) -> Fraction:
    """f(s, q) in rational arithmetic."""
    share = [Fraction(1)] * len(X) if weights is None else [Fraction(float(v)) for v in weights]
    total = sum(share)
    z = [Fraction(float(s)) * int(k) - Fraction(float(v)) for k, v in zip(q, w, strict=True)]
    products = [sum(Fraction(float(x)) * c for x, c in zip(row, z, strict=True)) for row in X]
    mean = sum(a * b for a, b in zip(share, products, strict=True)) / total
    scatter = sum(a * (b - mean) ** 2 for a, b in zip(share, products, strict=True)) / total
    return scatter + Fraction(rho) * sum(c * c for c in z)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("level", ["bound", "scale", "joint"])
def test_bounds_lie_below_the_exact_optimum(level: str, weighted: bool) -> None:
    certificate, X, weights = certified(level, weighted=weighted)
    proof = verify_layer(certificate, X, weights)
    lo, hi = limits(2)
    for j in range(3):
        w, s, rho = certificate.target[j], certificate.scale[j], certificate.rho[j]
        own = None if weights is None else weights[:, j]
        value = exact(X, own, rho, w, s, certificate.codes[j])
        assert Fraction(proof.value[j]) >= value
        H = gram_of(X, own, float(rho)).H
        Q = np.array(list(itertools.product(range(lo, hi + 1), repeat=5)), float)
        near = np.argsort(((Q * s - w) @ H * (Q * s - w)).sum(axis=1))[:3]
        best = min(exact(X, own, rho, w, s, Q[k]) for k in near)
        assert Fraction(proof.bound[j]) <= best
        if level == "joint":
            above, below = np.maximum(Q @ H @ w, 0.0), np.einsum("ij,ij->i", Q @ H, Q)
            gain = np.divide(above**2, below, out=np.zeros_like(above), where=below > 0)
            assert proof.bound[j] <= (w @ H @ w - gain).min() * (1 + 1e-9)
    wanted = {"bound": "bounded", "scale": "optimal_at_scale", "joint": "optimal"}[level]
    assert proof.state == [wanted] * 3
    assert proof.gap >= 0.0


def test_a_certificate_and_its_rows_survive_their_files(tmp_path: Path) -> None:
    certificate, X, weights = certified("joint", weighted=True)
    certificate.save(tmp_path / "a.npz")
    save_rows(tmp_path / "rows.npz", X, weights)
    again, (rows, row_weights) = (
        LayerCertificate.load(tmp_path / "a.npz"),
        load_rows(tmp_path / "rows.npz"),
    )
    assert again.to_bytes() == certificate.to_bytes()
    assert verify_layer(again, rows, row_weights).state == ["optimal"] * 3
    assert rows_digest(rows, row_weights) == certificate.data_sha256
    assert qnn.verify(again, rows, row_weights) == certificate.bound.sum()
    read = read_certificate(again.arrays(), "here")
    said = read.check((tmp_path / "rows.npz").read_bytes())
    assert "3 optimal" in said
    for evidence in (None, b"", (tmp_path / "a.npz").read_bytes()):
        with pytest.raises(CertificateError):
            read.check(evidence)


NUMBERS = (
    "target",
    "rho",
    "scale",
    "value",
    "bound",
    "square",
    "linear",
    "edges",
)
ODD = (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 5e-324, 0.0, -1.0)


def refused_or_true(certificate: LayerCertificate, X: Array, weights: Array | None = None) -> bool:
    """Whether it is refused; where it is accepted, that its bounds are no more than its values."""
    try:
        proof = verify_layer(certificate, X, weights)
    except QnnError:
        return True
    assert (proof.bound <= proof.value).all()
    return False


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("level", ["bound", "scale", "joint"])
def test_odd_numbers_prove_nothing_more(level: str, name: str, value: float) -> None:
    certificate, X, _ = certified(level)
    array = getattr(certificate, name).copy()
    if not array.size:
        return
    array.flat[0] = value
    changed = replace(certificate, **{name: array})
    refused = refused_or_true(changed, X)
    if not np.isfinite(value) or name in ("target", "scale"):
        assert refused


@pytest.mark.parametrize("level", ["bound", "scale", "joint"])
def test_a_higher_bound_or_a_lower_value_is_refused(level: str) -> None:
    certificate, X, _ = certified(level)
    for j in range(3):
        bound = certificate.bound.copy()
        bound[j] = certificate.value[j] * (1.0 + 1e-9)
        with pytest.raises(CertificateError):
            verify_layer(replace(certificate, bound=bound), X)
        # All values raised as well: only the proof itself can tell.
        bound = certificate.bound * 1.01
        with pytest.raises(CertificateError):
            verify_layer(replace(certificate, bound=bound, value=certificate.value * 1.011), X)
        value = certificate.value.copy()
        value[j] *= 1.0 - 1e-6
        with pytest.raises(CertificateError):
            verify_layer(replace(certificate, value=value), X)


def test_a_state_cannot_be_raised() -> None:
    bounded, X, _ = certified("bound")
    for state in (1, 2, 3, -1):
        with pytest.raises(CertificateError):
            verify_layer(replace(bounded, state=np.full(3, state)), X)
    at_scale, X, _ = certified("scale", seed=3)
    with pytest.raises(CertificateError):
        verify_layer(replace(at_scale, state=np.full(3, 2)), X)


def test_a_worse_point_is_not_called_optimal() -> None:
    """The codes of one neuron moved, value and bound moved with them: the search finds better."""
    for level in ("scale", "joint"):
        certificate, X, _ = certified(level)
        q = certificate.codes.copy()
        q[0, 0] += 1 if q[0, 0] < 1 else -1
        gram = gram_of(X, None, float(certificate.rho[0]))
        value, bound = certificate.value.copy(), certificate.bound.copy()
        value[0] = 1.0001 * value_above(
            gram, certificate.scale[0], q[0] * 1.0, certificate.target[0]
        )
        bound[0] = value[0] * (1.0 - 3e-6)
        with pytest.raises(CertificateError, match="not proven"):
            verify_layer(replace(certificate, codes=q, value=value, bound=bound), X)


def test_cells_must_cover_all_steps() -> None:
    certificate, X, _ = certified("joint")
    ends = np.cumsum(certificate.edge_counts)
    keep = np.ones(len(certificate.edges), bool)
    keep[ends[0] - 3 : ends[0]] = False
    counts = certificate.edge_counts - np.array([3, 0, 0])
    with pytest.raises(CertificateError, match="beyond the last cell"):
        verify_layer(replace(certificate, edges=certificate.edges[keep], edge_counts=counts), X)
    moved = certificate.edges.copy()
    moved[0] = 1e-3
    with pytest.raises(CertificateError, match="do not cover"):
        verify_layer(replace(certificate, edges=moved), X)
    shuffled = certificate.edges.copy()
    shuffled[[1, 2]] = shuffled[[2, 1]]
    with pytest.raises(CertificateError, match="do not cover"):
        verify_layer(replace(certificate, edges=shuffled), X)


def test_other_rows_other_weights_other_shapes_are_refused() -> None:
    certificate, X, weights = certified("bound", weighted=True)
    assert weights is not None
    other = X.copy()
    other[3, 2] += 1e-7
    changed = weights.copy()
    changed[0, 0] *= 1.0 + 1e-15
    for rows, row_weights in (
        (other, weights),
        (X, changed),
        (X, None),
        (X, weights[:, :2]),
        (X[:-1], weights[:-1]),
        (X[:, :-1], weights),
        (np.full_like(X, np.nan), weights),
        (X, np.full_like(weights, -1.0)),
    ):
        with pytest.raises(CertificateError):
            verify_layer(certificate, rows, row_weights)


def test_shapes_and_types_of_fields_are_checked(tmp_path: Path) -> None:
    certificate, X, _ = certified("joint")
    for field in fields(LayerCertificate):
        value = getattr(certificate, field.name)
        if isinstance(value, np.ndarray):
            with pytest.raises((CertificateError, InputError)):
                verify_layer(replace(certificate, **{field.name: value[:-1]}), X)
            broken: Any = replace(certificate, **{field.name: value.astype(np.complex128)})
            with pytest.raises(InputError):
                LayerCertificate.from_bytes(broken.to_bytes(), "here")
    with pytest.raises(CertificateError, match="unknown format"):
        verify_layer(replace(certificate, format=2), X)
    order = certificate.order.copy()
    order[0, 0] = order[0, 1]
    with pytest.raises(CertificateError, match="no permutation"):
        verify_layer(replace(certificate, order=order), X)
    (tmp_path / "cut.npz").write_bytes(certificate.to_bytes()[:-9])
    with pytest.raises(InputError, match="not a readable certificate file"):
        LayerCertificate.load(tmp_path / "cut.npz")


def test_every_byte_of_the_file_matters() -> None:
    certificate, X, _ = certified("scale")
    data = certificate.to_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(data), 150, replace=False):
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        try:
            again = LayerCertificate.from_bytes(bytes(broken), "here")
        except InputError:
            continue
        if again.to_bytes() != data:
            assert refused_or_true(again, X)


def test_a_stated_number_of_nodes_limits_the_search() -> None:
    certificate, X, _ = certified("joint", d=12, bits=3, seed=5)
    assert (certificate.state == 2).any()
    verify_layer(certificate, X)
    from qnn.certificates.layers import checker

    more = checker._NODES_MORE
    checker._NODES_MORE = 0
    try:
        with pytest.raises(CertificateError, match="more nodes"):
            verify_layer(replace(certificate, nodes=np.zeros(3, np.int64)), X)
    finally:
        checker._NODES_MORE = more


def test_fast_says_what_it_left_out() -> None:
    certificate, X, _ = certified("scale")
    with pytest.raises(NotProvenAgainError):
        verify_layer(certificate, X, fast=True)
    bounded, X, _ = certified("bound")
    assert verify_layer(bounded, X, fast=True).state == ["bounded"] * 3


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(-60, 60), st.floats(-8, 0))
def test_the_gram_matrix_and_its_factor_are_enclosed(
    seed: int, d: int, power: int, damp: float
) -> None:
    """Against rationals, on rows of any scale, also far from their mean."""
    rng = np.random.default_rng(seed)
    X = np.ldexp(rng.standard_normal((6, d)) + rng.choice([0.0, 1e6]), power)
    rho = float(10.0**damp * X.var())
    gram = gram_of(X, None, rho)
    for i in range(d):
        unit = np.eye(d)[i]
        true = exact(X, None, rho, np.zeros(d), 1.0, unit)
        assert abs(true - Fraction(float(gram.H[i, i]))) <= Fraction(float(gram.radius[i]))
    try:
        R = factor_below(gram, np.arange(d), 1.0)
    except CertificateError:
        return
    for _ in range(5):
        z = rng.integers(-4, 5, d).astype(float)
        product = [
            sum(Fraction(float(a)) * int(b) for a, b in zip(row, z, strict=True)) for row in R
        ]
        assert sum(p * p for p in product) <= exact(X, None, rho, np.zeros(d), 1.0, z)
        above = Fraction(value_above(gram, 1.0, z, np.zeros(d)))
        assert above >= exact(X, None, rho, np.zeros(d), 1.0, z)


@pytest.mark.parametrize("power", [-200, -100, -40, 40, 100, 200])
def test_extreme_scales_are_proven_or_refused(power: int) -> None:
    rng = np.random.default_rng(1)
    X = np.ldexp(rng.standard_normal((30, 4)), power)
    W = rng.standard_normal((2, 4))
    with np.errstate(all="ignore"):
        try:
            made = layer_objective(X, X @ W.T, W, 1e-2)
            codes = kbest(made.H, made.W, 2)
            certificate, _ = certify_layer(
                "x", X, made.W, np.full(2, made.rho), codes, np.full(2, 2), Effort("joint")
            )
            proof = verify_layer(certificate, X)
        except (QnnError, np.linalg.LinAlgError, ValueError):
            return
    for j in range(2):
        value = exact(X, None, made.rho, made.W[j], certificate.scale[j], certificate.codes[j])
        assert Fraction(float(proof.bound[j])) <= value <= Fraction(float(proof.value[j]))


def test_a_better_neighbour_is_not_hidden_by_diagonals() -> None:
    certificate, X, _ = certified("scale", 6)
    assert certificate.square.any()
    assert verify_layer(certificate, X).state == ["optimal_at_scale"] * 3
    codes = certificate.codes.copy()
    codes[0, 0] = codes[0, 0] + 1 if codes[0, 0] < 1 else codes[0, 0] - 1
    H = gram_of(X, None, float(certificate.rho[0])).H
    z = certificate.scale[0] * codes[0] - certificate.target[0]
    value, bound = certificate.value.copy(), certificate.bound.copy()
    value[0] = float(z @ H @ z) * (1.0 + 1e-9)
    bound[0] = value[0] * (1.0 - 5e-6)
    for factor in (0.0, 1.0, 2.0, 1e3):
        false = replace(
            certificate,
            codes=codes,
            value=value,
            bound=bound,
            square=factor * certificate.square,
            linear=factor * certificate.linear,
        )
        with pytest.raises(CertificateError):
            verify_layer(false, X)
    # Without the diagonals the honest one is proven too, by more nodes.
    plain = replace(certificate, square=0.0 * certificate.square, linear=0.0 * certificate.linear)
    assert verify_layer(plain, X).state == ["optimal_at_scale"] * 3


def one_neuron(
    X: Array, rho: float, s: float, claimed: float, weights: Array | None = None
) -> LayerCertificate:
    """A neuron of one input half-way between two codes, where ``s^2 H`` is claimed to be so much.

    The parabola is the whole of it, so that the bound is a quarter of the claim.
    """
    return LayerCertificate(
        layer="one",
        data_sha256=rows_digest(X, weights),
        target=np.array([[0.5 * s]]),
        rho=np.array([rho]),
        bits=np.array([2]),
        scale=np.array([s]),
        codes=np.zeros((1, 1), np.int8),
        value=np.array([claimed]),
        bound=np.array([0.2499 * claimed]),
        state=np.array([0]),
        square=np.array([[-claimed * (1.0 - 1e-9)]]),
        linear=np.array([[claimed * (1.0 - 1e-9)]]),
        order=np.array([[0]]),
        edges=np.zeros(0),
        edge_counts=np.array([0]),
        nodes=np.array([1]),
    )


@pytest.mark.parametrize("s", [1.65e-162, 1e-161, 1e-160, 1e-155, 1e-154, 1e-100, 1.0, 1e100])
def test_a_step_whose_square_underflows_proves_nothing_more(s: float) -> None:
    x = 1e150 if s < 1e-50 else 1.0
    X = np.array([[x], [-x]] * 4)
    certificate = one_neuron(X, 0.0, s, s * s * x * x)
    refused = refused_or_true(certificate, X)
    assert refused == (s < 1e-153)
    if not refused:
        assert Fraction(certificate.bound[0]) <= Fraction(s) ** 2 * Fraction(x) ** 2 / 4


@pytest.mark.parametrize("least", [5e-324, 1.5e-323, 1e-320, 1e-310, 1e-305, 1e-290, 1e-100])
def test_weights_of_rows_whose_products_underflow_prove_nothing_more(least: float) -> None:
    X, weights = np.array([[0.6], [-0.6]] * 8), np.full((16, 1), least)
    weighted = weights * X
    claimed = float((weighted.T @ X)[0, 0] / weights.sum())
    certificate = one_neuron(X, 0.0, 1.0, claimed, weights)
    if not refused_or_true(certificate, X, weights):
        assert Fraction(certificate.bound[0]) <= Fraction(0.6) ** 2 / 4
        assert least > 1e-308


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int8])
def test_weights_of_rows_in_few_digits_are_summed_in_many(kind: type) -> None:
    X = np.array([[1.0], [-1.0]] * 400)
    weights = np.random.default_rng(0).uniform(0.5, 1.0, (800, 1))
    weights = (100.0 * weights).astype(kind) if kind is np.int8 else weights.astype(kind)
    share = [Fraction(float(v)) for v in weights[:, 0]]
    mean = sum(a * int(x) for a, x in zip(share, X[:, 0], strict=True)) / sum(share)
    true = float(1 - mean * mean)
    assert not refused_or_true(one_neuron(X, 0.0, 1.0, true, weights), X, weights)
    for more in (1e-9, 1e-7, 1e-5, 1e-3):
        tight = one_neuron(X, 0.0, 1.0, true * (1.0 + more), weights)
        assert refused_or_true(replace(tight, bound=0.25 * tight.value * (1.0 - 1e-8)), X, weights)
